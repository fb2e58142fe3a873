/* sentencepiece_shim.h - the SentencePiece library as C sees it: a model from memory, its pieces, encoding. No exception crosses
 * it. What a token is worth in bytes, caching and files are the business of tokenizer_sentencepiece.c. */
#ifndef INFINIBENCH_SENTENCEPIECE_SHIM_H
#define INFINIBENCH_SENTENCEPIECE_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct spm; /* a loaded model */
enum piece_kind { PIECE_TEXT, PIECE_BYTE, PIECE_CONTROL, PIECE_UNKNOWN };

/* The model whose file has these contents; NULL with a reason in `why` (room characters) if they are none. */
struct spm *spm_open(const char *contents, size_t size, char *why, size_t room);
void spm_close(struct spm *m);
int64_t spm_vocab(const struct spm *m);
/* The number of the piece that begins a text, -1 if the model has none. */
int64_t spm_bos(const struct spm *m);
/* Spelling and kind of piece `id` in [0, vocab); the spelling belongs to the model. */
enum piece_kind spm_piece(const struct spm *m, int64_t id, const char **spelling, size_t *size);
/* Token numbers of text[0..n) into ids; returns how many there are, of which at most `room` are written; -1 if the library fails.
 */
int64_t spm_encode(const struct spm *m, const char *text, size_t n, int32_t *ids, int64_t room);

#ifdef __cplusplus
}
#endif
#endif
