/* passkey_prompt.c - lays needles into a haystack: exact lengths, where everything lies, memory writes in between; and judges
 * answers. */
#include "passkey.h"

#include <math.h>
#include <string.h>

static int64_t needle_tokens(const struct passkey_text *x, int name) {
    return x->said[name].n + x->remember.n + x->again[name].n + x->stop.n + 2 * (1 + x->shape.value_length);
}

/* Everything but the filler, with the introduction, without BOS. */
static int64_t fixed_tokens(const struct passkey_text *x, const struct passkey_sample *s) {
    int64_t n = x->introduction.n + x->asked[s->name[0]].n + 1 + x->shape.value_length + x->stop.n;
    for (int i = 0; i < x->shape.needles; i++) n += needle_tokens(x, s->name[i]);
    return n;
}

int64_t passkey_minimum(const struct passkey_text *x) {
    int64_t longest = 0, query = 0;
    if (x->shape.needles == 1)
        return 1 + x->introduction.n + needle_tokens(x, PASSKEY_NAMES) + x->asked[PASSKEY_NAMES].n + 1 + x->shape.value_length +
               x->stop.n;
    for (int i = 0; i < PASSKEY_NAMES; i++) {
        if (needle_tokens(x, i) > longest) longest = needle_tokens(x, i);
        if (x->asked[i].n > query) query = x->asked[i].n;
    }
    return 1 + x->introduction.n + x->shape.needles * longest + query + 1 + x->shape.value_length + x->stop.n;
}

/* ---- laying out ---- */

struct writer {
    struct prompt *p;
    const struct passkey_text *x;
    int64_t used; /* of p->own */
};

static void add(struct writer *w, struct stretch s) {
    if (!s.n) return;
    CHECK(w->p->count < (int)(sizeof w->p->stretch / sizeof *w->p->stretch), "more stretches than a prompt may have");
    w->p->stretch[w->p->count++] = s;
    w->p->n += s.n;
}

static void own(struct writer *w, struct stretch s) {
    CHECK(w->used + s.n <= (int64_t)(sizeof w->p->own / sizeof *w->p->own), "needles of more tokens than a prompt has room for");
    memcpy(w->p->own + w->used, s.tokens, (size_t)s.n * sizeof *s.tokens);
    w->used += s.n;
}

/* The space and the symbols of a value. */
static void own_value(struct writer *w, const char *value) {
    own(w, (struct stretch){&w->x->space, 1});
    for (int i = 0; value[i]; i++) own(w, (struct stretch){&w->x->symbol[value[i] - (w->x->shape.letters ? 'a' : '0')], 1});
}

static void add_needle(struct writer *w, const struct passkey_sample *s, int i) {
    const struct passkey_text *x = w->x;
    int64_t from = w->used;
    own(w, x->said[s->name[i]]);
    own_value(w, s->value[i]);
    own(w, x->stop);
    own(w, x->remember);
    own_value(w, s->value[i]);
    own(w, x->again[s->name[i]]);
    w->p->needle[i] = w->p->n;
    add(w, (struct stretch){w->p->own + from, w->used - from});
    w->p->needle_end[i] = w->p->n;
}

void prompt_make(struct prompt *p, const struct passkey_text *x, const struct haystack *h, const struct passkey_sample *s,
                 int64_t length, double depth, bool anywhere) {
    struct writer w = {.p = p, .x = x};
    int needles = x->shape.needles, order[PASSKEY_NEEDLES];
    int64_t room = length - 1 - fixed_tokens(x, s), count = 0, before[PASSKEY_NEEDLES];
    CHECK(room >= 0, "a prompt of %lld tokens is too short", (long long)length);
    CHECK(h->s.n >= room, "a haystack of %lld tokens, %lld are needed", (long long)h->s.n, (long long)room);
    for (int64_t low = 0, high = h->s.count; low < high;) { /* the largest count of sentences that fit */
        int64_t middle = (low + high + 1) / 2;
        if (h->s.end[middle - 1] <= room)
            count = low = middle;
        else
            high = middle - 1;
    }
    p->count = 0;
    p->n = 0;
    p->needles = needles;
    p->sentences = count;
    int64_t units = anywhere ? room : count; /* tokens or sentences */
    for (int i = 0; i < needles; i++) {
        before[i] = i ? (int64_t)(s->place[i] * (double)(units + 1)) : llround(depth * (double)units);
        if (before[i] > units) before[i] = units;
        int j = i;
        for (; j > 0 && before[order[j - 1]] > before[i]; j--) order[j] = order[j - 1];
        order[j] = i;
    }
    add(&w, x->introduction);
    int64_t at = 0;
    for (int i = 0; i <= needles; i++) {
        int64_t unit = i < needles ? before[order[i]] : units, to = anywhere || !unit ? unit : h->s.end[unit - 1];
        add(&w, (struct stretch){h->s.tokens + at, to - at});
        at = to;
        if (i < needles) add_needle(&w, s, order[i]);
    }
    int64_t from = w.used;
    p->query = p->n;
    own(&w, x->asked[s->name[0]]);
    own_value(&w, s->value[0]);
    own(&w, x->stop);
    add(&w, (struct stretch){p->own + from, w.used - from});
    p->answer = p->n - x->stop.n - x->shape.value_length;
}

void stretches_read(const struct stretch *s, int count, int64_t from, int64_t n, int32_t *out) {
    for (int i = 0; i < count && n; i++) {
        if (from >= s[i].n) {
            from -= s[i].n;
            continue;
        }
        int64_t k = s[i].n - from < n ? s[i].n - from : n;
        memcpy(out, s[i].tokens + from, (size_t)k * sizeof *out);
        out += k;
        n -= k;
        from = 0;
    }
}

void prompt_read(const struct prompt *p, int64_t from, int64_t n, int32_t *out) {
    CHECK(from >= 0 && n >= 0 && from + n <= p->n, "tokens %lld to %lld of a prompt of %lld", (long long)from,
          (long long)(from + n), (long long)p->n);
    stretches_read(p->stretch, p->count, from, n, out);
}

/* Token i is input i + 1, and the answer's first symbol is predicted at the input of its own number. */
int64_t prompt_writes(const struct prompt *p, int64_t n) { return p->answer / n - p->needle_end[0] / n; }

/* ---- judging ---- */

void passkey_judge(struct passkey_judgement *j, const float *logits, int64_t vocab, const int32_t *answer, int n) {
    *j = (struct passkey_judgement){.until = n};
    for (int i = 0; i < n; i++) {
        const float *x = logits + i * vocab;
        j->said[i] = largest_token(x, vocab);
        bool right = j->said[i] == answer[i];
        j->right += right;
        if (!right && j->until == n) j->until = i;
        double largest = j->said[i] >= 0 ? (double)x[j->said[i]] : NAN, sum = 0;
        for (int64_t k = 0; k < vocab; k++) sum += exp((double)x[k] - largest);
        j->nats += largest + log(sum) - (double)x[answer[i]];
    }
    j->exact = j->until == n;
}
