// sentencepiece_shim.cc - see sentencepiece_shim.h. The only C++ of the program; it holds no decisions of its own.
#include "sentencepiece_shim.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sentencepiece_processor.h>

struct spm {
    sentencepiece::SentencePieceProcessor processor;
    std::vector<int> ids; // kept between calls, so that encoding a word allocates nothing of ours
};

extern "C" {

struct spm *spm_open(const char *contents, size_t size, char *why, size_t room) {
    try {
        auto m = std::make_unique<struct spm>();
        auto status = m->processor.LoadFromSerializedProto(std::string_view(contents, size));
        if (status.ok()) return m.release();
        snprintf(why, room, "%s", status.ToString().c_str());
    } catch (const std::exception &x) {
        snprintf(why, room, "%s", x.what());
    } catch (...) {
        snprintf(why, room, "unknown failure");
    }
    return nullptr;
}

void spm_close(struct spm *m) { delete m; }

int64_t spm_vocab(const struct spm *m) { return m->processor.GetPieceSize(); }

int64_t spm_bos(const struct spm *m) { return m->processor.bos_id(); }

enum piece_kind spm_piece(const struct spm *m, int64_t id, const char **spelling, size_t *size) {
    const std::string &piece = m->processor.IdToPiece(static_cast<int>(id));
    *spelling = piece.data();
    *size = piece.size();
    if (m->processor.IsByte(static_cast<int>(id))) return PIECE_BYTE;
    if (m->processor.IsControl(static_cast<int>(id))) return PIECE_CONTROL;
    return m->processor.IsUnknown(static_cast<int>(id)) ? PIECE_UNKNOWN : PIECE_TEXT;
}

int64_t spm_encode(const struct spm *m, const char *text, size_t n, int32_t *ids, int64_t room) {
    try {
        auto &found = const_cast<struct spm *>(m)->ids;
        if (!m->processor.Encode(std::string_view(text, n), &found).ok()) return -1;
        std::copy_n(found.begin(), std::min<int64_t>(room, static_cast<int64_t>(found.size())), ids);
        return static_cast<int64_t>(found.size());
    } catch (...) {
        return -1;
    }
}
}
