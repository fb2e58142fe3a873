/* train_loop.c - trains to the configured number of steps, resuming from and saving checkpoints, in a folder that one process has
 * to itself. Shows progress unless the caller's log does. */
#include "checkpoint.h"
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Two runs with results folders of their own may train the same stage: the second one is refused. -1, or the lock to close. */
static int lock_folder(const char *folder, struct error *e) {
    char *path = xprintf("%s/.lock", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        fail(e, "cannot write %s: %s", path, strerror(errno));
    else if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) { /* file systems without locks: as before */
        fail(e, "%s: another process is training there; wait until it has ended, or start from another working folder", folder);
        close(fd);
        fd = -1;
    }
    free(path);
    return fd;
}

static int loop(struct trainer *t, const char *folder, int64_t save_every, const struct tokenizer *tok, const struct train_log *log,
                struct error *e) {
    if (folder && training_load(folder, t, tok, e) < 0) return -1;
    struct progress p;
    struct step_result r = {0};
    double start = now(), tokens = (double)t->tokens_read;
    bool saved = t->step > 0;
    bool show = !log;
    progress_begin(&p, "train", t->config.steps);
    p.first = t->step;
    while (t->step < t->config.steps / (FAULT(half_tokens) ? 2 : 1)) {
        if (trainer_step(t, &r, e)) return -1;
        saved = false;
        bool due = log && log->line && (t->step % log->every == 0 || t->step == t->config.steps);
        if (due && log->line(log->data, t, &r, e)) return -1;
        if (show)
            progress_update(&p, t->step, "loss %.4f  %.0f tokens/s", r.loss, ((double)t->tokens_read - tokens) / (now() - start));
        if (folder && save_every > 0 && t->step % save_every == 0) {
            if (training_save(folder, t, tok, e)) return -1;
            saved = true;
        }
    }
    if (show) progress_end(&p);
    return folder && !saved ? training_save(folder, t, tok, e) : 0;
}

int train(struct trainer *t, const char *folder, int64_t save_every, const struct tokenizer *tok, const struct train_log *log,
          struct error *e) {
    int lock = -1;
    if (folder && (make_folders(folder, e) || (lock = lock_folder(folder, e)) < 0)) return -1;
    int status = loop(t, folder, save_every, tok, log, e);
    if (lock >= 0) close(lock);
    return status;
}
