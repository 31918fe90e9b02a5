/* SPDX-License-Identifier: Apache-2.0 */
#include "core/chain.h"

#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE ((size_t)64 << 10)

struct kp_chain {
    char *path;
    int fd;
    uint64_t size; /* of the whole lines */
    struct kp_chain_head head;
};

struct reading {
    struct kp_chain_state *state;
    kp_chain_take *take;
    void *user;
    bool unreadable; /* the line before was no record: its successor cannot say which it was */
};

static void note_problem(struct kp_chain_state *state, uint64_t line, const char *fmt, ...)
    KP_PRINTF(3, 4);

static void note_problem(struct kp_chain_state *state, uint64_t line, const char *fmt, ...)
{
    va_list ap;
    if (state->problem_count < KP_CHAIN_PROBLEMS_MAX) {
        struct kp_chain_problem *problem = &state->problems[state->problem_count];
        problem->line = line;
        va_start(ap, fmt);
        vsnprintf(problem->text, sizeof(problem->text), fmt, ap);
        va_end(ap);
    }
    state->problem_count++;
}

/* Is it the record that belongs behind the head? Names what is wrong. */
static void check_place(struct kp_chain_state *state, const json_t *record)
{
    const json_t *n = json_object_get(record, "n");
    const char *text = json_string_value(json_object_get(record, "prev"));
    struct kp_digest prev;
    uint64_t here = state->head.count + 1;
    if (!json_is_integer(n) || !text || !kp_digest_parse(kp_slice_of(text), &prev)) {
        note_problem(state, here, "has no number or no \"prev\"");
        return;
    }
    uint64_t number = (uint64_t)json_integer_value(n);
    if (number != here) {
        note_problem(state, here, "says that it is number %llu: lines were %s before it",
                     (unsigned long long)number, number > here ? "taken out" : "put in");
        return;
    }
    if (kp_digest_equal(&prev, &state->head.digest))
        return;
    if (here == 1)
        note_problem(state, here, "says that a line was before it");
    else
        note_problem(state, here - 1,
                     "was changed after it was written (line %llu has its SHA-256 as %.12s…, it is "
                     "%.12s…)",
                     (unsigned long long)here, text, kp_digest_hex(&state->head.digest).hex);
}

static int take_line(struct reading *r, struct kp_slice line, struct kp_err *err)
{
    struct kp_chain_state *state = r->state;
    struct kp_err why = KP_ERR_INIT;
    kp_auto_json record = NULL;
    bool readable = kp_json_parse(&record, line, KP_CHAIN_LINE_MAX, "record", &why) == 0 &&
                    json_is_object(record);
    if (!readable)
        note_problem(state, state->head.count + 1, "is no record");
    else if (!r->unreadable)
        check_place(state, record);
    r->unreadable = !readable;
    state->head.count++;
    kp_sha256(line.ptr, line.len, &state->head.digest);
    return readable && r->take ? r->take(r->user, record, line, &state->head, err) : 0;
}

/* Whole lines off the front of text; *used: their bytes. */
static int take_lines(struct reading *r, struct kp_slice text, size_t *used, struct kp_err *err)
{
    *used = 0;
    for (;;) {
        const char *from = text.ptr + *used;
        size_t left = text.len - *used;
        const char *end = left ? memchr(from, '\n', left) : NULL;
        if (!end)
            return 0;
        *used += (size_t)(end - from) + 1;
        if (take_line(r, (struct kp_slice){from, (size_t)(end - from)}, err) < 0)
            return -1;
    }
}

int kp_chain_parse(struct kp_slice text, const struct kp_chain_head *after, kp_chain_take *take,
                   void *user, struct kp_chain_state *out, struct kp_err *err)
{
    struct reading r = {.state = out, .take = take, .user = user};
    size_t used;
    *out = (struct kp_chain_state){0};
    if (after)
        out->head = *after;
    if (take_lines(&r, text, &used, err) < 0)
        return -1;
    out->torn = text.len - used;
    return 0;
}

static int read_fd(int fd, struct reading *r, uint64_t *size, struct kp_err *err)
{
    kp_auto_value(kp_buf) pending = KP_BUF(KP_CHAIN_LINE_MAX + PIECE);
    for (*size = 0;;) {
        size_t used;
        char *room = kp_buf_reserve(&pending, PIECE);
        if (!room)
            return kp_fail_as(err, KP_DAMAGED, "too_large", "line %llu is longer than %zu bytes",
                              (unsigned long long)r->state->head.count + 1, KP_CHAIN_LINE_MAX);
        ssize_t n = read(fd, room, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kp_fail_sys(err, errno, "read");
        if (n == 0)
            break;
        pending.len += (size_t)n;
        if (take_lines(r, kp_buf_slice(&pending), &used, err) < 0)
            return -1;
        kp_buf_consume(&pending, used);
        *size += used;
        if (*size > KP_CHAIN_FILE_MAX)
            return kp_fail_as(err, KP_DAMAGED, "too_large", "longer than %llu bytes",
                              (unsigned long long)KP_CHAIN_FILE_MAX);
    }
    r->state->torn = pending.len;
    return 0;
}

int kp_chain_read(const char *path, kp_chain_take *take, void *user, struct kp_chain_state *out,
                  struct kp_err *err)
{
    struct reading r = {.state = out, .take = take, .user = user};
    uint64_t size;
    *out = (struct kp_chain_state){0};
    kp_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : kp_fail_sys(err, errno, "open %s", path);
    return read_fd(fd, &r, &size, err) < 0 ? kp_wrap(err, "%s", path) : 0;
}

char *kp_chain_head_text(const struct kp_chain_head *head)
{
    return kp_asprintf("%llu %s", (unsigned long long)head->count,
                       kp_digest_hex(&head->digest).hex);
}

bool kp_chain_head_parse(struct kp_slice text, struct kp_chain_head *out)
{
    struct kp_slice count;
    struct kp_chain_head head;
    if (text.len && text.ptr[text.len - 1] == '\n')
        text.len--;
    if (!kp_slice_cut(&text, ' ', &count) || text.len != KP_SHA256_HEX ||
        !kp_parse_u64(count, INT64_MAX, &head.count) || !kp_digest_parse(text, &head.digest))
        return false;
    *out = head;
    return true;
}

static int open_end(struct kp_chain *chain, struct reading *r, struct kp_err *err)
{
    chain->fd = open(chain->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (chain->fd < 0)
        return kp_fail_sys(err, errno, "open");
    while (flock(chain->fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return kp_fail_sys(err, errno, "lock");
    if (read_fd(chain->fd, r, &chain->size, err) < 0)
        return -1;
    if (r->state->torn && ftruncate(chain->fd, (off_t)chain->size) < 0)
        return kp_fail_sys(err, errno, "drop the torn line");
    chain->head = r->state->head;
    return kp_sync_parent(chain->path, err);
}

int kp_chain_open(struct kp_chain **out, const char *path, kp_chain_take *take, void *user,
                  struct kp_chain_state *state, struct kp_err *err)
{
    struct reading r = {.state = state, .take = take, .user = user};
    kp_auto(kp_chain) chain = kp_alloc(sizeof(*chain));
    *state = (struct kp_chain_state){0};
    chain->fd = -1;
    chain->path = kp_strdup(path);
    if (open_end(chain, &r, err) < 0)
        return kp_wrap(err, "%s", path);
    *out = kp_steal(&chain);
    return 0;
}

void kp_chain_free(struct kp_chain *chain)
{
    if (!chain)
        return;
    kp_cleanup_fd_(&chain->fd);
    kp_free(chain->path);
    kp_free(chain);
}

static char *line_of(const json_t *record, size_t *len)
{
    char *text = kp_json_dump(record, true);
    *len = strlen(text) - 1;
    text[*len] = '\0';
    return text;
}

static int write_line(struct kp_chain *chain, char *text, size_t len, struct kp_err *err)
{
    text[len] = '\n';
    int failed = kp_write_full(chain->fd, text, len + 1, err);
    text[len] = '\0';
    if (failed == 0 && fdatasync(chain->fd) < 0)
        failed = kp_fail_sys(err, errno, "sync");
    if (failed < 0) {
        // Half a line must not stand before the next one.
        if (ftruncate(chain->fd, (off_t)chain->size) < 0)
            kp_hint(err, "its last line is torn");
        return -1;
    }
    chain->size += len + 1;
    chain->head.count++;
    kp_sha256(text, len, &chain->head.digest);
    return 0;
}

int kp_chain_append(struct kp_chain *chain, const json_t *record, kp_chain_seal *seal, void *user,
                    char **line, struct kp_err *err)
{
    size_t len;
    kp_auto_json whole = json_pack("{s:I, s:s}", "n", (json_int_t)(chain->head.count + 1), "prev",
                                   kp_digest_hex(&chain->head.digest).hex);
    json_object_update(whole, (json_t *)(uintptr_t)record);
    kp_auto_free char *text = line_of(whole, &len);
    if (seal) {
        const char *member = NULL;
        json_t *value = NULL;
        if (seal(user, (struct kp_slice){text, len}, &member, &value, err) < 0)
            return -1;
        json_object_set_new(whole, member, value);
        kp_free(text);
        text = line_of(whole, &len);
    }
    if (len > KP_CHAIN_LINE_MAX)
        return kp_fail_as(err, KP_FAILED, "too_large", "%s: a record of %zu bytes", chain->path,
                          len);
    if (write_line(chain, text, len, err) < 0)
        return kp_wrap(err, "%s", chain->path);
    if (line)
        *line = kp_steal(&text);
    return 0;
}

struct kp_chain_head kp_chain_head(const struct kp_chain *chain)
{
    return chain->head;
}
