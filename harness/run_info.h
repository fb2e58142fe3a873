/* run_info.h - what runs/ID.json says about program, machine and configuration. */
#ifndef INFINIBENCH_RUN_INFO_H
#define INFINIBENCH_RUN_INFO_H

#include "experiment_private.h"

#define JOB_VARIABLE "INFINIBENCH_JOB_OF" /* set for job processes: the results folder whose cells need not be done */

struct json_t;
/* The run's JSON: an existing file is taken up (earlier stages stay), facts of this process are set anew. Owned by the caller. */
struct json_t *run_describe(const struct session *s, const struct row_spec *row, int64_t seed, const char *run);
/* Sets date, commit, dirty, compiler and flags: what is known of the program itself. */
void run_program(struct json_t *j);
struct json_t *run_option_object(const struct options *o); /* {"key": "value"}; owned by the caller */
const char *run_hex(uint64_t value);                       /* 16 digits, static memory */

#endif
