/* SPDX-License-Identifier: Apache-2.0 */
#include "install/journal.h"

#include "core/file.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOST_MAX 256

struct kp_journal {
    char *folder;
    char *run_id;
    int lock, file;
    double begun;
    pthread_mutex_t mutex;
    struct kp_err failure;
};

static int prepare_folder(const char *folder, struct kp_err *err)
{
    kp_auto_free char *logs = kp_path_join(folder, "log");
    kp_auto_free char *ignore = kp_path_join(folder, ".gitignore");
    if (kp_mkdirs(folder, 0700, err) < 0 || kp_mkdirs(logs, 0700, err) < 0)
        return -1;
    if (chmod(folder, 0700) < 0)
        return kp_fail_sys(err, errno, "chmod %s", folder);
    // Secrets lie here: a state folder inside a repository must not be committed by accident.
    return kp_file_exists(ignore) ? 0 : kp_file_write_atomic(ignore, kp_slice_of("*\n"), 0600, err);
}

static int take_lock(struct kp_journal *journal, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(journal->folder, "lock");
    kp_auto_free char *holder = NULL;
    bool held = false;
    char host[HOST_MAX] = "";
    if (kp_file_lock(path, &journal->lock, &held, &holder, err) < 0)
        return -1;
    if (held) {
        kp_fail_as(err, KP_FAILED, "locked", "another run works on this cluster: %s", holder);
        return kp_hint(err, "wait for it to end, or end it; then run the same command again");
    }
    gethostname(host, sizeof(host) - 1);
    const char *user = getenv("USER");
    kp_auto_free char *line =
        kp_asprintf("run %s, pid %d on %s by %s since %s\n", journal->run_id, (int)getpid(), host,
                    user ? user : "?", kp_text_utc(time(NULL)).s);
    if (ftruncate(journal->lock, 0) < 0)
        return kp_fail_sys(err, errno, "write %s", path);
    return kp_pwrite_full(journal->lock, line, strlen(line), 0, err);
}

int kp_journal_open(struct kp_journal **out, const char *state_folder, const char *run_id,
                    struct kp_err *err)
{
    kp_auto(kp_journal) journal = kp_alloc(sizeof(*journal));
    journal->lock = journal->file = -1;
    journal->folder = kp_strdup(state_folder);
    journal->run_id = kp_strdup(run_id);
    journal->begun = kp_now();
    pthread_mutex_init(&journal->mutex, NULL);
    if (prepare_folder(state_folder, err) < 0 || take_lock(journal, err) < 0)
        return -1;
    kp_auto_free char *path = kp_path_join(state_folder, "journal.jsonl");
    journal->file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (journal->file < 0)
        return kp_fail_sys(err, errno, "open %s", path);
    *out = kp_steal(&journal);
    return 0;
}

void kp_journal_free(struct kp_journal *journal)
{
    if (!journal)
        return;
    kp_cleanup_fd_(&journal->lock);
    kp_cleanup_fd_(&journal->file);
    pthread_mutex_destroy(&journal->mutex);
    kp_free(journal->folder);
    kp_free(journal->run_id);
    kp_free(journal);
}

void kp_journal_note(struct kp_journal *journal, const char *event, const char *node,
                     const char *step, const char *text)
{
    if (!journal)
        return;
    kp_auto_json line =
        json_pack("{s:s, s:f, s:s, s:s, s:s*, s:s*, s:s*}", "time", kp_text_utc(time(NULL)).s,
                  "after", round((kp_now() - journal->begun) * 1000) / 1000, "run", journal->run_id,
                  "event", event, "node", node, "step", step, "text", text);
    kp_auto_free char *dump = kp_json_dump(line, true);
    struct kp_err err = KP_ERR_INIT;
    pthread_mutex_lock(&journal->mutex);
    int result = kp_write_full(journal->file, dump, strlen(dump), &err);
    if (result == 0 && fdatasync(journal->file) < 0)
        result = kp_fail_sys(&err, errno, "sync");
    if (result < 0 && journal->failure.code == KP_OK)
        journal->failure = err;
    pthread_mutex_unlock(&journal->mutex);
}

int kp_journal_check(struct kp_journal *journal, struct kp_err *err)
{
    if (!journal || journal->failure.code == KP_OK)
        return 0;
    *err = journal->failure;
    return kp_wrap(err, "%s/journal.jsonl", journal->folder);
}

char *kp_journal_log_path(const struct kp_journal *journal, const char *node)
{
    return kp_asprintf("%s/log/%s.log", journal->folder, node);
}

void kp_journal_log(struct kp_journal *journal, const char *node, const char *data, size_t len)
{
    if (!journal)
        return;
    kp_auto_free char *path = kp_journal_log_path(journal, node);
    kp_auto_fd int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct kp_err ignored = KP_ERR_INIT;
    if (fd >= 0 && kp_write_full(fd, data, len, &ignored) < 0)
        return; // a full disk here must not stop the node's work
}
