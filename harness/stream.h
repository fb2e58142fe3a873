/* stream.h - feeding tokens to a model whose state is carried, on which tasks are written.
 *
 * Rows are independent. Tokens of a row that do not fill a segment stay pending: they are scored, but no memory has seen them; the
 * next feed computes the open segment again from its start, so that one token at a time gives what a prefill gives. */
#ifndef INFINIBENCH_STREAM_H
#define INFINIBENCH_STREAM_H

#include "model.h"

struct stream;
/* rows batch rows, up to `segments` segments a call. */
struct stream *stream_open(struct model *m, int64_t rows, int64_t segments, struct error *e);
void stream_close(struct stream *s);
/* Takes the memory of all heads out of what follows, or puts it back (KNOCK_NONE); of single heads: how [layers,heads]. A memory is
 * written as before; a model without gates does not notice. */
void stream_knock_out(struct stream *s, enum knock_out mode);
void stream_knock_out_heads(struct stream *s, const int32_t *how);
bool memory_to_knock_out(const struct model *m);  /* has the model a compressive memory? */
void stream_reset(struct stream *s, int64_t row); /* -1: all; the next token is the first of a document */
/* Feeds n[b] tokens of the document of row b (tokens[b]; n[b] may be 0) and scores each of them given all before it (the first from
 * BOS): nll[b] receives n[b] floats (NULL: not wanted). */
void stream_score(struct stream *s, const int32_t *const *tokens, const int64_t *n, float *const *nll);
/* The same, and logits: out[b] receives [n[b], vocab] floats, row i = the distribution from which token i of this feed was scored.
 */
void stream_logits(struct stream *s, const int32_t *const *tokens, const int64_t *n, float *const *out);
/* Distribution of the next token of every row: out [rows, vocab]. */
void stream_next(struct stream *s, float *out);
/* What a mixer shows on its way (infini: "query" and "key", [n, width] by head, before rotation and feature map): of `row`, inputs
 * `first` to first + n - 1 of its document (input 0 is BOS; token i is input i + 1), in host memory for the time of the call. Every
 * feed that computes shows; inputs of an open segment come again with the next one. watcher NULL: no more. */
typedef void stream_watcher(void *data, int64_t row, int layer, const char *what, int64_t first, int64_t n, int64_t width,
                            const real *values);
void stream_watch(struct stream *s, stream_watcher *watcher, void *data);
/* -1 with a sentence where streams over the model could not go on: a carried state, a score or logits that are no numbers, or a
 * document too long for the architecture. What is read from there on is NaN and costs nothing. The sentence is that of the first.
 */
int stream_trouble(const struct model *m, struct error *e);
int64_t stream_position(const struct stream *s, int64_t row); /* tokens fed since reset */
int64_t stream_writes(const struct stream *s, int64_t row);   /* whole segments so far: memory writes */
/* Rows of state: copy (fork) within a stream, and out of it. */
void stream_fork(struct stream *s, int64_t to, int64_t from);
struct snapshot *stream_snapshot(struct stream *s, int64_t row);
void stream_restore(struct stream *s, int64_t row, const struct snapshot *p);
void snapshot_free(struct snapshot *p);
/* For tests of streams that are too long to be read: as if `tokens` more (whole segments) had been read before, with what is
 * carried as it is. tokens of the order of rings whose capacities divide it. */
void stream_pretend(struct stream *s, int64_t row, int64_t tokens);
size_t stream_state_bytes(const struct stream *s);
/* What a row keeps beside its state: counters, the next input, the inputs of the open segment. */
size_t stream_counter_bytes(const struct stream *s, int64_t row);
const struct state *stream_state(const struct stream *s);

/* Differentiable: runs tokens [rows, segments*N] (whole segments) from carried tensors `in` (NULL: empty) on a tape that records,
 * and returns the carried tensors after them (array of model->state_count, owned by the tape); with op_axpby on them a task makes
 * states that no text of affordable length reaches. */
struct tensor **stream_unroll(struct tape *t, struct state *scratch, const int32_t *tokens, int64_t rows, int64_t segments,
                              struct tensor **in);

#endif
