/* cli_help.c - `infinibench help COMMAND`: a line a flag, and the variables of the environment. Usage and summary are in cli.c; a
 * test holds that every flag of a usage has its line here. */
#include "cli.h"
#include <string.h>

static const struct {
    const char *command, *flag, *text;
} lines[] = {
    {"list", "architectures [NAME]", "all, or one, with its options"},
    {"list", "tasks [NAME]", "all, or one, with its protocol, metrics and options"},
    {"list", "experiments", "the files in tasks/experiments, with rows and tasks"},
    {"list", "presets", "named shapes, and shapes of public models"},
    {"list", "keys", "keys of an experiment file: of its sections, of the shape, of training"},
    {"run", "--only ROW[,ROW]", "these rows only (default: all)"},
    {"run", "--tasks TASK[,TASK]", "measure these sections only, and train no stage that they do not need (default: all)"},
    {"run", "--seed N", "one of the seeds of the file only (default: all of them)"},
    {"run", "--seeds LIST", "these seeds in place of those of the file, as in 1-20 or 1,2,5-8"},
    {"run", "--jobs J", "J models at once, a process each, with its share of the threads (default 1)"},
    {"run", "--dry-run", "say what would be trained and measured, what is there already, and what memory it takes; write nothing"},
    {"run", "--out DIR", "folder of the results; what is there is not done again (default: results/NAME of NAME.ini)"},
    {"run", "--checkpoints DIR", "folder of the models in training, so that a run can go on (default: build/checkpoints)"},
    {"train", "--row ROW", "the row of the file that is trained; needed"},
    {"train", "--out CKPT", "the model file; needed without --dry-run"},
    {"train", "--seed N", "one of the row's seeds (default: its first)"},
    {"train", "--stage NAME", "the stage after which the model is saved (default: the last that the row goes through; init: none)"},
    {"train", "--dry-run", "say what would be trained and what memory it takes; write nothing"},
    {"eval", "--model CKPT", "the model file; needed"},
    {"eval", "--OPTION VALUE", "an option of the task; `infinibench eval TASK --help` prints them"},
    {"eval", "--csv FILE", "the measurements as CSV too"},
    {"eval", "--out DIR", "keep them in a results folder, samples too (default: none); measured once, they are printed again"},
    {"eval", "--row NAME", "what the model is called there (default: the name of its file)"},
    {"eval", "--seed N", "the task's own seed, of what it draws at random (default: the task's); refused where it draws nothing"},
    {"score", "--nll FOLDER", "the foreign model's negative log-likelihoods, an array a text (docs/scoring.md); needed"},
    {"score", "--row NAME", "what its row is called; needed"},
    {"score", "--out DIR", "results folder that the row is added to; needed"},
    {"score", "--tokenizer T", "tokenizer of the arrays (default: bytes)"},
    {"score", "--segment N", "tokens of a segment, for what is given by segment (default 128)"},
    {"score", "--seed N", "a label: the seed that the model was trained with (default 1); changes no number"},
    {"score", "--replace", "in place of what was scored as this row before"},
    {"score", "--OPTION VALUE", "an option of the task; `infinibench score TASK --help` prints them"},
    {"logits", "--model CKPT", "the model file; needed"},
    {"logits", "--input FILE", "the text; needed"},
    {"logits", "--output X.npy", "the array, float32; needed"},
    {"logits", "--nll", "negative log-likelihood of each token in nats, instead of all logits"},
    {"logits", "--last K", "of the last K tokens only (default: all)"},
    {"logits", "--segments S", "segments computed at once: time and memory, not the numbers (default: 2048 tokens' worth)"},
    {"generate", "--model CKPT", "the model file; needed"},
    {"generate", "--prompt FILE", "the text that is continued; needed"},
    {"generate", "--tokens N", "at most so many tokens (default 256); fewer where the model says the end of the document"},
    {"generate", "--temperature T", "divides the logits; 0 takes the most probable token (default 1)"},
    {"generate", "--top-p P", "draw from the most probable tokens that hold this share together (default 1: all)"},
    {"generate", "--seed N", "of the drawing (default 1)"},
    {"generate", "--segments S", "segments of the prompt computed at once (default: 2048 tokens' worth)"},
    {"rouge", "--candidate FILE", "the text that is judged"},
    {"rouge", "--reference FILE", "what it is held against; further files after it are further references"},
    {"rouge", "--lines", "each line of the files is a text of its own"},
    {"rouge", "--jsonl FILE", "pairs as JSON objects, one a line, instead of --candidate and --reference"},
    {"rouge", "--candidate-key K", "key of the candidate in them (default: prediction)"},
    {"rouge", "--reference-key K", "key of the reference or the list of references (default: summary)"},
    {"rouge", "--no-stem", "words as they stand (default: Porter's stemmer, as rouge_score with use_stemmer)"},
    {"rouge", "--csv FILE", "the scores of each pair"},
    {"rouge", "--seed N", "of the bootstrap (default 1)"},
    {"memory", "--context LIST", "tokens of the text, as in 8K,128K,1M; needed"},
    {"memory", "--preset P", "the shape (default: paper); `infinibench list presets` prints them"},
    {"memory", "--layers N", "in place of the preset's; so are the next six"},
    {"memory", "--d-model N", "width of the model"},
    {"memory", "--heads N", "query heads"},
    {"memory", "--kv-heads N", "key and value heads"},
    {"memory", "--head-dim N", "width of a head; heads and KV heads follow, in the preset's ratio, unless they are given"},
    {"memory", "--segment N", "tokens of a segment"},
    {"memory", "--bytes N", "bytes of a number"},
    {"memory", "--batch N", "texts at once (default 1)"},
    {"memory", "--OPTION VALUE", "an option of an architecture that moves its memory"},
    {"memory", "--csv FILE", "the table as CSV"},
    {"compare", "--row ROW", "this row only (default: all rows of equal name)"},
    {"compare", "--with ROW", "the row of the second folder that --row is compared with (default: of the same name)"},
    {"check", "--against FILE", "the expectations; needed"},
    {"check", "--partial", "the folder is a part of a run: what it lacks does not fail"},
    {"check", "--seed N", "of this seed of the folder only (default: all)"},
    {"check", "--all", "print all cells, not only those that fail or pass narrowly"},
    {"check", "--rules FILE", "which measurements are cells (default: rules.csv beside the expectations)"},
    {"check", "--junit FILE", "the verdict for a CI's page (default: DIR/junit.xml)"},
    {"check", "--json FILE", "every cell with its figures (default: DIR/check.json)"},
    {"check", "--update", "write new expectations instead of judging"},
    {"check", "--seed-cells", "update: only counts that are exact for one training seed; the rest stays"},
    {"check", "--reason TEXT", "why they move; needed where one leaves its tolerance"},
    {"bench", "--preset P", "the shape (default: micro)"},
    {"bench", "--only ARCHITECTURE", "train, stream: this one only"},
    {"bench", "--batch N", "rows of a training step (default: the preset's)"},
    {"bench", "--segments N", "segments of a training step (default: the preset's)"},
    {"bench", "--context LIST", "stream: tokens after which the rate is printed (default: 4K,16K,64K)"},
    {"bench", "--jsonl FILE", "rouge: pairs of this file (default: made-up ones)"},
    {"bench", "--csv FILE", "the lines as CSV too"},
};

static const struct {
    const char *name, *text;
} variables[] = {
    {"INFINIBENCH_DATA",
     "folder of corpora: NAME is looked for in it first; then kjv in build/data, others in ../shared/data (docs/data.md)"},
    {"INFINIBENCH_ISA", "base, v3 or v4: the most that the kernels may use (default: what the processor has)"},
    {"INFINIBENCH_PLOTS", "folder of gnuplot scripts, in place of plots/ here or beside the program"},
    {"OPENBLAS_CORETYPE", "kernels of OpenBLAS; without it the program takes AVX-512 where OpenBLAS does not (docs/kernels.md)"},
    {"OMP_NUM_THREADS", "threads, where --threads says nothing"},
    {"TMPDIR", "where eval without --out keeps what it measures until it has printed it (default: /tmp)"},
};

void print_environment(FILE *out) {
    fprintf(out, "Environment:\n");
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        fprintf(out, "  %-18s %s\n", variables[i].name, variables[i].text);
}

int print_command_help(const struct command *c, const char *task, struct error *e) {
    bool takes_task = !strcmp(c->name, "eval") || !strcmp(c->name, "score");
    const struct task *t = takes_task && task ? task_find(task, e) : NULL;
    if (takes_task && task && !t) return -1;
    printf("infinibench %s\n    %s\n", c->usage, c->summary);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strcmp(lines[i].command, c->name)) printf("  %-20s %s\n", lines[i].flag, lines[i].text);
    if (!t) return 0;
    printf("\nThe task and its options (option, default, values, meaning)\n");
    print_task(t);
    return 0;
}
