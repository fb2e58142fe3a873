/* cli.h - the commands of the program and how their arguments are read. Private to main.c, cli*.c and bench*.c. */
#ifndef INFINIBENCH_CLI_H
#define INFINIBENCH_CLI_H

#include "experiment.h"

#define VERSION "0.1.0"

/* A --name of a command: with a value unless it is a switch. */
struct flag {
    const char *name;
    bool is_switch;
    const char *value; /* NULL: not given; switches: "" when given */
};
struct arguments {
    int count;
    const char *word[8]; /* what is no flag: command's operands */
    struct flag *flags;  /* ends with name NULL */
    /* Flags that no table of the command knows go here when take_unknown is set (task options of eval). */
    bool take_unknown;
    int extra_count;
    struct {
        char key[64]; /* '-' turned into '_' */
        const char *value;
    } extra[OPTION_LIMIT];
};
/* Reads argv[0..count) after the command's name. usage is shown in the sentence of an error. */
int arguments_read(struct arguments *a, int count, char **argv, const char *usage, int min_words, int max_words, struct error *e);
const char *flag_value(const struct arguments *a, const char *name); /* NULL: not given */
int flag_int(const struct arguments *a, const char *name, int64_t fallback, int64_t min, int64_t *value, struct error *e);
int check_row_name(const char *row, struct error *e); /* may it be a row of an experiment, and a word of a picture's table? */
int flag_real(const struct arguments *a, const char *name, double fallback, double min, double max, double *value, struct error *e);

#define LIST_USAGE "list [architectures [NAME]|tasks [NAME]|experiments|presets|keys]"

#define RUN_USAGE                                                                                                                  \
    "run X.ini [--only ROW[,ROW]] [--tasks TASK[,TASK]] [--seed N] [--seeds LIST] [--jobs J] [--dry-run] [--out DIR] "             \
    "[--checkpoints DIR]"

#define TRAIN_USAGE "train X.ini --row ROW --out CKPT [--seed N] [--stage NAME] [--dry-run]"

#define EVAL_USAGE "eval TASK --model CKPT [--OPTION VALUE ...] [--csv FILE] [--out DIR] [--row NAME] [--seed N]"

#define CHECK_USAGE                                                                                                                \
    "check DIR --against FILE [--partial] [--seed N] [--all] [--rules FILE] [--junit FILE] [--json FILE] | "                       \
    "--update [--seed-cells] [--reason TEXT]"

#define SCORE_USAGE                                                                                                                \
    "score TASK --nll FOLDER --row NAME --out DIR [--tokenizer T] [--segment N] [--seed N] [--replace] [--OPTION VALUE ...]"

#define ROUGE_USAGE                                                                                                                \
    "rouge --candidate FILE --reference FILE [FILE ...] [--lines] | --jsonl FILE [--candidate-key K] [--reference-key K]; "        \
    "[--no-stem] [--csv FILE] [--seed N]"

#define LOGITS_USAGE "logits --model CKPT --input FILE --output X.npy [--nll] [--last K] [--segments S]"

#define GENERATE_USAGE "generate --model CKPT --prompt FILE [--tokens N] [--temperature T] [--top-p P] [--seed N] [--segments S]"

#define COMPARE_USAGE "compare DIR DIR [--row ROW] [--with ROW]"

#define BENCH_USAGE                                                                                                                \
    "bench [kernels|train|stream|rouge] [--preset P] [--only ARCHITECTURE] [--batch N] [--segments N] "                            \
    "[--context LIST] [--jsonl FILE] [--csv FILE]"

#define MEMORY_USAGE                                                                                                               \
    "memory --context LIST [--preset P] [--layers N] [--d-model N] [--heads N] [--kv-heads N] [--head-dim N] [--segment N] "       \
    "[--bytes N] [--batch N] [--OPTION VALUE ...] [--csv FILE]"

struct setting { /* of the whole program */
    int threads;
    const char *backend, *products; /* NULL: cpu; tf32 */
};
/* The backend, started on first use. */
const struct kernels *backend(const struct setting *s, struct backend_info *info);
/* Whether the backend that was asked for can be had, and what the environment says of it is known. */
int backend_check(const struct setting *s, struct error *e);

struct command {
    const char *name, *usage, *summary;
    int (*run)(int count, char **argv, const struct setting *s, struct error *e); /* exit status, or -1 with e filled */
};
extern const struct command commands[]; /* ends with name NULL */

/* ---- cli_help.c, cli_list.c ---- */
/* Usage, summary, a line for each flag; of eval and score with a task (NULL: none) also the task's options. */
int print_command_help(const struct command *c, const char *task, struct error *e);
void print_environment(FILE *out); /* the variables that the program reads */
void print_task(const struct task *t);

/* The measurements of a run as a table on standard output. */
void print_results(const struct result_row *rows, int64_t count, const char *run);

int command_list(int count, char **argv, const struct setting *s, struct error *e);
int command_run(int count, char **argv, const struct setting *s, struct error *e);
int command_train(int count, char **argv, const struct setting *s, struct error *e);
int command_eval(int count, char **argv, const struct setting *s, struct error *e);
int command_score(int count, char **argv, const struct setting *s, struct error *e);
int command_logits(int count, char **argv, const struct setting *s, struct error *e);
int command_generate(int count, char **argv, const struct setting *s, struct error *e);
int command_rouge(int count, char **argv, const struct setting *s, struct error *e);
int command_memory(int count, char **argv, const struct setting *s, struct error *e);
int command_report(int count, char **argv, const struct setting *s, struct error *e);
int command_compare(int count, char **argv, const struct setting *s, struct error *e);
int command_check(int count, char **argv, const struct setting *s, struct error *e);
int command_bench(int count, char **argv, const struct setting *s, struct error *e);
int command_info(int count, char **argv, const struct setting *s, struct error *e);

#endif
