/* kernel_calls.c - the table of slots: kernel_calls.h in both precisions. */
#include "kernel_cases.h"

#define T real
#define KERNELS struct kernels
#define GOUT struct gout
#define CALL(name) call_##name
#include "kernel_calls.h"
#undef T
#undef KERNELS
#undef GOUT
#undef CALL
#define T double
#define KERNELS struct kernels_f64
#define GOUT struct gout_f64
#define CALL(name) call_f64_##name
#include "kernel_calls.h"

#define FORWARD(name) {#name, make_##name, call_##name, call_f64_##name, NULL},
#define BACKWARD(name) {#name, make_##name, call_##name, call_f64_##name, fwd_##name},
const struct kernel_slot kernel_slot_table[] = {KERNEL_SLOTS(FORWARD, BACKWARD)};
const int kernel_slot_count = sizeof kernel_slot_table / sizeof *kernel_slot_table;

/* Every slot of the table has to be here: a name, six slots for memory, one for steps, and these. */
_Static_assert(sizeof(struct kernels) / sizeof(void *) == 8 + sizeof kernel_slot_table / sizeof *kernel_slot_table,
               "a slot of struct kernels has no case: add it to KERNEL_SLOTS, kernel_calls.h, kernel_make*.c and kernel_rows.c");
