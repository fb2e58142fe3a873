/* experiment_job.c - several (row, seed) pairs at once: each in a process of its own with its share of the threads.
 *
 * A job is this program started anew (OpenMP does not survive a fork) with `run --only ROW --seed N` and a results folder of its
 * own under FOLDER/jobs.tmp; the parent takes over its cells when it ends. Jobs die with the parent; what they finished is taken
 * over by the next run. Only the parent writes to the results folder. */
#include "experiment_private.h"
#include "run_info.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct job {
    const struct row_spec *row;
    int64_t seed;
    char *folder, *log;
    pid_t pid;
};

/* Removes a job's folder: files, runs/, itself. */
static void remove_folder(const char *folder, int depth) {
    DIR *d = opendir(folder);
    if (!d) return;
    for (struct dirent *f; (f = readdir(d));) {
        if (strcmp(f->d_name, ".") == 0 || strcmp(f->d_name, "..") == 0) continue;
        char *path = xprintf("%s/%s", folder, f->d_name);
        if (unlink(path) != 0 && depth > 0) remove_folder(path, depth - 1);
        free(path);
    }
    closedir(d);
    rmdir(folder);
}

/* What a job says of a run goes before what is known of it; stages and tasks of earlier jobs stay. */
static void keep_earlier(const struct results *r, const char *run, json_t *j) {
    static const char *const parts[] = {"stages", "tasks"};
    char *path = xprintf("%s/runs/%s.json", results_folder(r), run);
    json_t *before = json_load_file(path, 0, NULL);
    for (int i = 0; i < 2 && before; i++) {
        json_t *old = json_object_get(before, parts[i]), *now = json_object_get(j, parts[i]);
        if (json_is_object(old) && json_is_object(now)) json_object_update_missing(now, old);
    }
    json_decref(before);
    free(path);
}

static int take_runs(struct results *r, const char *from, struct error *e) {
    char *folder = xprintf("%s/runs", from);
    DIR *d = opendir(folder);
    int result = 0;
    for (struct dirent *f; d && result == 0 && (f = readdir(d));) {
        size_t n = strlen(f->d_name);
        if (n < 6 || strcmp(f->d_name + n - 5, ".json") != 0) continue;
        char *path = xprintf("%s/%s", folder, f->d_name), *run = xprintf("%.*s", (int)n - 5, f->d_name);
        json_t *j = json_load_file(path, 0, NULL);
        if (j) keep_earlier(r, run, j);
        if (j) result = results_save_run(r, run, j, e);
        json_decref(j);
        free(path);
        free(run);
    }
    if (d) closedir(d);
    free(folder);
    return result;
}

static int collect(struct results *r, const char *folder, struct error *e) {
    struct results *job = results_open(folder, e);
    if (!job) return -1;
    int result = take_runs(r, folder, e);
    if (result == 0) result = results_merge(r, job, e);
    results_close(job);
    if (result == 0) remove_folder(folder, 1);
    return result;
}

int jobs_collect(struct results *r, struct error *e) {
    char *all = xprintf("%s/jobs.tmp", results_folder(r));
    DIR *d = opendir(all);
    int result = 0;
    for (struct dirent *f; d && result == 0 && (f = readdir(d));) {
        struct stat st;
        char *path = xprintf("%s/%s", all, f->d_name);
        if (f->d_name[0] != '.' && stat(path, &st) == 0) {
            if (S_ISDIR(st.st_mode))
                result = collect(r, path, e);
            else
                unlink(path);
        }
        free(path);
    }
    if (d) closedir(d);
    rmdir(all);
    free(all);
    return result;
}

static int start(struct session *s, struct job *job, int threads, struct error *e) {
    static char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0) return fail(e, "cannot find this program to start jobs (/proc/self/exe): %s; use --jobs 1", strerror(errno));
    exe[n] = 0;
    pid_t parent = getpid();
    char seed[24], count[16];
    snprintf(seed, sizeof seed, "%lld", (long long)job->seed);
    snprintf(count, sizeof count, "%d", threads);
    fflush(NULL);
    job->pid = fork();
    if (job->pid < 0) return fail(e, "cannot start a job: %s", strerror(errno));
    if (job->pid > 0) return 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(2);
    int fd = open(job->log, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0) _exit(2);
    setenv("OMP_NUM_THREADS", count, 1);
    setenv(JOB_VARIABLE, results_folder(s->r), 1);
    const char *words[16] = {exe,  "run",   s->x->path,  "--only",        job->row->name,   "--seed",
                             seed, "--out", job->folder, "--checkpoints", s->x->checkpoints};
    int count_words = 11;
    if (s->o->seeds) words[count_words++] = "--seeds", words[count_words++] = s->o->seeds;
    if (s->o->tasks) words[count_words++] = "--tasks", words[count_words++] = s->o->tasks;
    execv(exe, (char **)words);
    dprintf(2, "cannot start %s: %s\n", exe, strerror(errno));
    _exit(2);
}

/* The last line that a job printed. */
static void last_words(const char *log, char *out, size_t size) {
    size_t n;
    char *text = read_file(log, &n, NULL);
    snprintf(out, size, "nothing printed");
    if (!text) return;
    while (n && (text[n - 1] == '\n' || text[n - 1] == '\r')) text[--n] = 0;
    char *line = text + n;
    while (line > text && line[-1] != '\n' && line[-1] != '\r') line--;
    if (*line) snprintf(out, size, "%s", line);
    free(text);
}

static int finish(struct session *s, struct job *job, int status, int *failed, struct error *first, struct error *e) {
    struct stat st;
    char words[400] = "";
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!good) {
        last_words(job->log, words, sizeof words);
        char how[48];
        if (WIFSIGNALED(status))
            snprintf(how, sizeof how, "ended by signal %d", WTERMSIG(status));
        else
            snprintf(how, sizeof how, "exit code %d", WEXITSTATUS(status));
        fprintf(stderr, "%s seed %lld: %s: %s\n", job->row->name, (long long)job->seed, how, words);
        if ((*failed)++ == 0) fail(first, "row %s, seed %lld: %s: %s", job->row->name, (long long)job->seed, how, words);
    }
    if (stat(job->folder, &st) == 0 && collect(s->r, job->folder, e) != 0) return -1;
    if (good) unlink(job->log);
    return 0;
}

int jobs_run(struct session *s, struct error *e) {
    const struct experiment *x = s->x;
    struct job *jobs = xcalloc((size_t)x->row_count * (size_t)x->seeds.count, sizeof *jobs);
    int count = 0, next = 0, running = 0, done = 0, failed = 0, result = 0;
    int threads = s->o->threads > 0 ? s->o->threads : s->o->info ? s->o->info->threads : (int)sysconf(_SC_NPROCESSORS_ONLN);
    struct error first = {""};
    for (int k = 0; k < x->seeds.count && result == 0; k++)
        for (int i = 0; i < x->row_count && result == 0; i++) {
            bool missing;
            if (!pair_wanted(s, &x->rows[i], x->seeds.seed[k])) continue;
            if (!pair_missing(s, &x->rows[i], x->seeds.seed[k], &missing, e))
                result = -1;
            else if (missing)
                jobs[count++] = (struct job){.row = &x->rows[i], .seed = x->seeds.seed[k]};
        }
    for (int i = 0; i < count; i++) {
        jobs[i].folder = xprintf("%s/jobs.tmp/%s-s%lld", results_folder(s->r), jobs[i].row->name, (long long)jobs[i].seed);
        jobs[i].log = xprintf("%s.log", jobs[i].folder);
    }
    char *all = xprintf("%s/jobs.tmp", results_folder(s->r));
    if (result == 0 && count) result = make_folders(all, e);
    struct progress progress;
    progress_begin(&progress, x->name, count);
    while (result == 0 && (next < count || running)) {
        while (result == 0 && next < count && running < s->o->jobs) {
            result = start(s, &jobs[next], threads / s->o->jobs > 0 ? threads / s->o->jobs : 1, e);
            if (result == 0) next++, running++;
        }
        int status, which = -1;
        pid_t pid = result == 0 ? wait(&status) : -1;
        for (int i = 0; i < next; i++)
            if (pid > 0 && jobs[i].pid == pid) which = i;
        if (which < 0) {
            if (pid < 0 && result == 0 && errno != EINTR) result = fail(e, "cannot wait for jobs: %s", strerror(errno));
            continue;
        }
        running--;
        jobs[which].pid = 0;
        result = finish(s, &jobs[which], status, &failed, &first, e);
        progress_update(&progress, ++done, "%s seed %lld ended, %d running", jobs[which].row->name, (long long)jobs[which].seed,
                        running);
    }
    progress_end(&progress);
    for (int i = 0; i < next; i++)
        if (jobs[i].pid > 0) { /* only after an error of our own */
            kill(jobs[i].pid, SIGTERM);
            waitpid(jobs[i].pid, NULL, 0);
        }
    for (int i = 0; i < count; i++) {
        free(jobs[i].folder);
        free(jobs[i].log);
    }
    rmdir(all);
    free(all);
    free(jobs);
    if (result == 0 && failed)
        result = failed == 1 ? fail(e, "%s", first.text)
                             : fail(e, "%d of %d models failed; the first: %.600s", failed, count, first.text);
    return result;
}
