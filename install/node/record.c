/* SPDX-License-Identifier: Apache-2.0 */
/* Ops record, mark, lock: what this node knows of its own cluster, and who works on it. */
#include "install/node/catch_up_unit.h"
#include "install/node/node.h"

#include "core/file.h"
#include "core/text.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define RECORD_FILE "/var/lib/kpack/cluster"
#define RECORD_MAX ((size_t)1 << 20)
#define LOCK_PATIENCE 10.0 /* seconds; the hand of a killed kinstall ends in that time */
#define LOCK_PATIENCE_OWN                                                                          \
    75.0 /* where the holder is this very run, cut off: KP_SILENCE_MAX and some; or the mirror */

static int read_record(struct kp_node_state *state, json_t **out, struct kp_err *err)
{
    kp_auto_free char *path = kp_node_own(state, RECORD_FILE), *text = NULL;
    size_t len;
    if (!kp_file_exists(path)) {
        *out = json_object();
        return 0;
    }
    kp_auto_json record = NULL;
    if (kp_file_read(path, RECORD_MAX, &text, &len, err) < 0 ||
        kp_json_parse(&record, (struct kp_slice){text, len}, RECORD_MAX, RECORD_FILE, err) < 0)
        return -1;
    if (!json_is_object(record))
        return kp_fail_as(err, KP_DAMAGED, "bad_document", "%s is not an object", RECORD_FILE);
    *out = kp_steal(&record);
    return 0;
}

int kp_node_op_record(struct kp_node_request *request, const json_t *args, json_t **result,
                      struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    (void)args;
    pthread_mutex_lock(&state->lock);
    int failed = read_record(state, result, err);
    pthread_mutex_unlock(&state->lock);
    return failed;
}

static json_t *member(json_t *record, const char *key, json_t *fresh)
{
    json_t *value = json_object_get(record, key);
    if (value && json_typeof(value) == json_typeof(fresh)) {
        json_decref(fresh);
        return value;
    }
    json_object_set_new(record, key, fresh);
    return fresh;
}

static void note_step(json_t *record, const char *step, bool finished, const char *digest)
{
    json_t *begun = member(record, "begun", json_array());
    json_t *done = member(record, "finished", json_object());
    bool known = false;
    for (size_t i = 0; i < json_array_size(begun); i++) {
        const char *name = json_string_value(json_array_get(begun, i));
        known = known || (name && strcmp(name, step) == 0);
    }
    if (!known)
        json_array_append_new(begun, json_string(step));
    if (finished)
        json_object_set_new(done, step, json_string(digest));
    else
        json_object_del(done, step);
}

static int update_record(struct kp_node_state *state, const char *cluster, const char *step,
                         bool finished, const char *digest, struct kp_err *err)
{
    kp_auto_json record = NULL;
    kp_auto_free char *path = kp_node_own(state, RECORD_FILE);
    kp_auto_free char *folder = kp_path_dir(path);
    if (read_record(state, &record, err) < 0)
        return -1;
    const char *owner = json_string_value(json_object_get(record, "cluster"));
    if (owner && strcmp(owner, cluster) != 0) {
        kp_fail_as(err, KP_FAILED, "held", "this node belongs to cluster \"%s\"", owner);
        return kp_hint(err, "take it out of that cluster first (kinstall remove or reset)");
    }
    json_object_set_new(record, "cluster", json_string(cluster));
    json_object_set_new(record, "run", json_string(state->run_id));
    note_step(record, step, finished, digest);
    kp_auto_free char *text = kp_json_dump(record, false);
    if (kp_mkdirs(folder, 0700, err) < 0)
        return -1;
    return kp_file_write_atomic(path, kp_slice_of(text), 0600, err);
}

int kp_node_op_mark(struct kp_node_request *request, const json_t *args, json_t **result,
                    struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    const char *cluster, *step, *digest;
    if (kp_node_text(args, "cluster", 255, &cluster, err) < 0 ||
        kp_node_text(args, "step", 128, &step, err) < 0 ||
        kp_node_text(args, "digest", 256, &digest, err) < 0 ||
        kp_node_commit(state, false, err) < 0)
        return -1;
    pthread_mutex_lock(&state->lock);
    int failed = update_record(state, cluster, step, kp_node_flag(args, "finished"), digest, err);
    pthread_mutex_unlock(&state->lock);
    *result = json_object();
    return failed;
}

static int write_holder(int fd, const char *who, const char *run, struct kp_err *err)
{
    kp_auto_free char *text = kp_asprintf("%s, run %s\n", who, run);
    if (ftruncate(fd, 0) < 0)
        return kp_fail_sys(err, errno, "write %s", KP_NODE_LOCK);
    return kp_pwrite_full(fd, text, strlen(text), 0, err);
}

static int take_lock(struct kp_node_request *request, const char *who, const char *run,
                     struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    kp_auto_free char *path = kp_node_own(state, KP_NODE_LOCK);
    kp_auto_free char *folder = kp_path_dir(path), *mine = kp_asprintf(", run %s", run);
    if (kp_mkdirs(folder, 0700, err) < 0)
        return -1;
    for (double began = kp_now();;) {
        kp_auto_free char *holder = NULL;
        kp_auto_fd int fd = -1;
        bool held;
        if (kp_file_lock(path, &fd, &held, &holder, err) < 0)
            return -1;
        if (!held) {
            state->lock_fd = kp_steal_fd(&fd);
            snprintf(state->run_id, sizeof(state->run_id), "%s", run);
            return write_holder(state->lock_fd, who, run, err);
        }
        // It goes on by itself when the run is over, if there is anything left to do.
        bool mirror = kp_starts_with(holder, KP_CATCH_UP_HOLDER);
        const char *stop[] = {"systemctl", "stop", KP_CATCH_UP_SERVICE, NULL};
        if (mirror)
            kp_free(kp_node_output(stop, NULL));
        double patience = mirror || kp_ends_with(holder, mine) ? LOCK_PATIENCE_OWN : LOCK_PATIENCE;
        if (kp_now() - began > patience || kp_node_cancelled(request)) {
            kp_fail_as(err, KP_FAILED, "held", "another run works on this node: %s", holder);
            return kp_hint(err, "wait for it to end, or end it");
        }
        usleep(200000);
    }
}

int kp_node_op_lock(struct kp_node_request *request, const json_t *args, json_t **result,
                    struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    const char *run, *who;
    if (kp_node_text(args, "run", sizeof(state->run_id) - 1, &run, err) < 0 ||
        kp_node_text(args, "who", 128, &who, err) < 0)
        return -1;
    if (!kp_text_plain(run, 64) || !kp_text_plain(who, 128))
        return kp_fail_as(err, KP_USAGE, "bad_request", "run and who are plain text");
    *result = json_object();
    pthread_mutex_lock(&state->lock);
    bool mine = state->lock_fd >= 0 && strcmp(state->run_id, run) == 0;
    bool other = state->lock_fd >= 0 && !mine;
    pthread_mutex_unlock(&state->lock);
    if (mine)
        return 0;
    if (other)
        return kp_fail_as(err, KP_USAGE, "bad_request",
                          "this connection holds the lock for another run");
    return take_lock(request, who, run, err);
}
