/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service kpack-mirrors, for containerd before 2.1: a mirror that is gone costs each pull its
 * whole time-out, for such a containerd knows no dial_timeout. While one does not answer, a copy of
 * hosts.toml with that mirror at the end stands in /run, where containerd looks first; what
 * kinstall placed stays as it is. containerd reads these files at each pull.
 */
#include "install/node/node.h"

#include "core/file.h"
#include "core/interrupt.h"
#include "core/text.h"
#include "net/net.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PLACED_FOLDER "/etc/containerd/certs.d"
#define PLACED PLACED_FOLDER "/_default/hosts.toml"
#define OWN_FOLDER "/run/kpack/certs.d"
#define CA_FILE "/etc/kpack/mirror-ca.pem"
#define TEXT_MAX ((size_t)1 << 20)
#define PAUSE_S 3
#define ANSWER_S 1.0

static const char host_start[] = "[host.\"", server_start[] = "server = \"";

static bool url_of(struct kp_slice line, const char *start, struct kp_slice *url)
{
    if (!kp_slice_starts(line, start))
        return false;
    url->ptr = line.ptr + strlen(start);
    const char *end = memchr(url->ptr, '"', line.len - strlen(start));
    url->len = end ? (size_t)(end - url->ptr) : 0;
    return url->len > 0;
}

size_t kp_node_mirrors_read(struct kp_slice text, struct kp_slice *urls, size_t max)
{
    struct kp_slice line, url, last = {0};
    size_t n = 0;
    while (kp_slice_line(&text, &line)) {
        if (url_of(line, host_start, &url) && n + 1 < max)
            urls[n++] = url;
        else if (url_of(line, server_start, &url))
            last = url;
    }
    if (last.len)
        urls[n++] = last;
    return n;
}

/* Each line that names a mirror gets the one whose turn it is; all else is the same for each. */
char *kp_node_mirrors_write(struct kp_slice text, const struct kp_slice *order, size_t n)
{
    kp_auto_value(kp_buf) out = KP_BUF(TEXT_MAX);
    struct kp_slice line, url;
    size_t next = 0;
    while (kp_slice_line(&text, &line)) {
        bool host = url_of(line, host_start, &url);
        if (!host && !url_of(line, server_start, &url)) {
            kp_buf_addf(&out, "%.*s\n", (int)line.len, line.ptr);
            continue;
        }
        const struct kp_slice *use = host && next + 1 < n ? &order[next++] : &order[n - 1];
        kp_buf_addf(&out, "%s%.*s%s\n", host ? host_start : server_start, (int)use->len, use->ptr,
                    host ? "\"]" : "\"");
    }
    return kp_buf_steal(&out);
}

bool kp_node_mirrors_sort(struct kp_slice *urls, const bool *answers, size_t n)
{
    struct kp_slice sorted[KP_NODE_MIRRORS_MAX];
    size_t count = 0;
    bool moved = false;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < n; i++)
            if (answers[i] == (pass == 0)) {
                moved = moved || count != i;
                sorted[count++] = urls[i];
            }
    memcpy(urls, sorted, n * sizeof(*urls));
    return moved;
}

static bool answers(struct kp_slice url, struct kp_slice ca)
{
    static const char scheme[] = "https://";
    char host[KP_NET_HOST_MAX];
    uint16_t port;
    struct kp_net_probe_result found;
    struct kp_err ignored = KP_ERR_INIT;
    if (!kp_slice_starts(url, scheme))
        return true; // nothing of ours: left where it is
    kp_auto_free char *target = kp_strndup(url.ptr + strlen(scheme), url.len - strlen(scheme));
    if (kp_net_split(target, host, &port, &ignored) < 0)
        return true;
    struct kp_net_probe probe = {
        .host = host, .port = port, .timeout = ANSWER_S, .tls = true, .ca = ca};
    return kp_net_probe(&probe, &found, &ignored) == 0;
}

/* The folder appears whole, with its file in it. */
static int put_aside(const char *text, struct kp_err *err)
{
    static const char file[] = OWN_FOLDER "/_default/hosts.toml";
    static const char fresh[] = OWN_FOLDER "/.new";
    if (kp_file_exists(file))
        return kp_file_write_atomic(file, kp_slice_of(text), 0644, err);
    if (kp_remove_tree(fresh, err) < 0 || kp_mkdirs(fresh, 0755, err) < 0 ||
        kp_file_write_atomic(OWN_FOLDER "/.new/hosts.toml", kp_slice_of(text), 0644, err) < 0)
        return -1;
    if (rename(fresh, OWN_FOLDER "/_default") < 0)
        return kp_fail_sys(err, errno, "rename %s", fresh);
    return 0;
}

static bool is_as_default(const char *name, struct kp_slice placed)
{
    kp_auto_free char *path = kp_asprintf(PLACED_FOLDER "/%s/hosts.toml", name);
    kp_auto_free char *text = NULL;
    size_t len;
    struct kp_err ignored = KP_ERR_INIT;
    return kp_file_read(path, TEXT_MAX, &text, &len, &ignored) == 0 && len == placed.len &&
           memcmp(text, placed.ptr, len) == 0;
}

/* containerd looks into the first folder for _default as well before it looks into the second at
 * all: what has hosts of its own there (a registry of the site) must be found here, too. */
static int link_others(struct kp_slice placed, struct kp_err *err)
{
    DIR *dir = opendir(PLACED_FOLDER);
    int result = 0;
    for (const struct dirent *e; dir && result == 0 && (e = readdir(dir));) {
        if (e->d_name[0] == '.' || strcmp(e->d_name, "_default") == 0 ||
            is_as_default(e->d_name, placed))
            continue;
        kp_auto_free char *from = kp_asprintf(OWN_FOLDER "/%s", e->d_name);
        kp_auto_free char *to = kp_asprintf(PLACED_FOLDER "/%s", e->d_name);
        if (symlink(to, from) < 0 && errno != EEXIST)
            result = kp_fail_sys(err, errno, "link %s", from);
    }
    if (dir)
        closedir(dir);
    return result;
}

static int take_away(struct kp_err *err)
{
    static const char folder[] = OWN_FOLDER "/_default", old[] = OWN_FOLDER "/.old";
    if (!kp_file_exists(folder))
        return 0;
    if (kp_remove_tree(old, err) < 0)
        return -1;
    if (rename(folder, old) < 0)
        return kp_fail_sys(err, errno, "rename %s", folder);
    return kp_remove_tree(old, err);
}

static void say(const struct kp_slice *urls, const bool *up, size_t n, bool moved)
{
    for (size_t i = 0; i < n; i++)
        if (!up[i])
            fprintf(stderr, "%.*s does not answer\n", (int)urls[i].len, urls[i].ptr);
    if (!moved)
        fputs("the order is as placed\n", stderr);
}

/* One look at all; state: what was said last, one bit for each mirror that is gone. */
static int look(uint64_t *state, struct kp_err *err)
{
    kp_auto_free char *text = NULL, *ca = NULL, *changed = NULL;
    struct kp_slice urls[KP_NODE_MIRRORS_MAX], sorted[KP_NODE_MIRRORS_MAX];
    bool up[KP_NODE_MIRRORS_MAX] = {false};
    size_t len, ca_len;
    uint64_t gone = 0;
    if (kp_file_read(PLACED, TEXT_MAX, &text, &len, err) < 0 ||
        kp_file_read(CA_FILE, TEXT_MAX, &ca, &ca_len, err) < 0)
        return -1;
    struct kp_slice placed = {text, len};
    size_t n = kp_node_mirrors_read(placed, urls, KP_NODE_MIRRORS_MAX);
    for (size_t i = 0; i < n && !kp_interrupted(); i++) {
        up[i] = answers(urls[i], (struct kp_slice){ca, ca_len});
        gone |= up[i] ? 0 : (uint64_t)1 << i;
    }
    if (kp_interrupted())
        return 0;
    memcpy(sorted, urls, sizeof(urls));
    bool moved = kp_node_mirrors_sort(sorted, up, n);
    if (gone != *state)
        say(urls, up, n, moved);
    *state = gone;
    if (!moved)
        return take_away(err);
    changed = kp_node_mirrors_write(placed, sorted, n);
    return put_aside(changed, err) < 0 ? -1 : link_others(placed, err);
}

int kp_node_mirrors_watch(struct kp_err *err)
{
    uint64_t state = 0;
    char said[KP_ERR_MESSAGE_MAX] = "";
    while (!kp_interrupted()) {
        struct kp_err failure = KP_ERR_INIT;
        if (look(&state, &failure) < 0 && strcmp(said, failure.message) != 0) {
            snprintf(said, sizeof(said), "%s", failure.message);
            fprintf(stderr, "%s\n", said);
        }
        struct timespec pause = {.tv_sec = PAUSE_S};
        nanosleep(&pause, NULL);
    }
    return take_away(err);
}
