/* train_loop.c - trains to the configured number of steps, resuming from and saving checkpoints. Shows progress unless the caller's
 * log does. */
#include "checkpoint.h"
#include "faults.h"

int train(struct trainer *t, const char *folder, int64_t save_every, const struct tokenizer *tok, const struct train_log *log,
          struct error *e) {
    if (folder) {
        if (make_folders(folder, e)) return -1;
        if (training_load(folder, t, tok, e) < 0) return -1;
    }
    struct progress p;
    struct step_result r = {0};
    int64_t first = t->step;
    double start = now(), tokens = (double)t->tokens;
    bool saved = t->step > 0;
    bool show = !log;
    if (show) progress_begin(&p, "train", t->config.steps - first);
    while (t->step < t->config.steps / (FAULT(half_tokens) ? 2 : 1)) {
        if (trainer_step(t, &r, e)) return -1;
        saved = false;
        if (log && log->line && (t->step % log->every == 0 || t->step == t->config.steps)) log->line(log->data, t, &r);
        if (show)
            progress_update(&p, t->step - first, "step %lld  loss %.4f  %.0f tokens/s", (long long)t->step, r.loss,
                            ((double)t->tokens - tokens) / (now() - start));
        if (folder && save_every > 0 && t->step % save_every == 0) {
            if (training_save(folder, t, tok, e)) return -1;
            saved = true;
        }
    }
    if (show) progress_end(&p);
    return folder && !saved ? training_save(folder, t, tok, e) : 0;
}
