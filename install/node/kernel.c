/* SPDX-License-Identifier: Apache-2.0 */
/* Ops sysctl and modules: now and after the next boot. */
#include "install/node/node.h"

#include "core/file.h"
#include "core/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#define SYSCTL_FILE "/etc/sysctl.d/90-kpack.conf"
#define MODULES_FILE "/etc/modules-load.d/kpack.conf"
#define SETTINGS_MAX 128
#define SMALL_FILE_MAX ((size_t)4 << 20)

static bool all_of(const char *text, const char *allowed)
{
    return text[strspn(text, allowed)] == '\0';
}

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

/* Splits "key=value"; the key becomes a path below /proc/sys. */
static int read_setting(const char *setting, char **path, const char **value, struct kp_err *err)
{
    const char *equals = strchr(setting, '=');
    kp_auto_free char *key = kp_strndup(setting, equals ? (size_t)(equals - setting) : 0);
    if (!equals || !*key || strstr(key, "..") || key[0] == '.' ||
        !all_of(key, NAME_CHARACTERS ".") || !all_of(equals + 1, NAME_CHARACTERS ". \t,:/"))
        return kp_fail_as(err, KP_USAGE, "bad_request", "sysctl setting \"%s\" is not key=value",
                          setting);
    for (char *p = key; *p; p++)
        if (*p == '.')
            *p = '/';
    *path = kp_asprintf("/proc/sys/%s", key);
    *value = equals + 1;
    return 0;
}

static bool same_value(struct kp_slice a, struct kp_slice b)
{
    a = kp_slice_trim(a);
    b = kp_slice_trim(b);
    size_t i = 0, j = 0;
    while (i < a.len && j < b.len) {
        bool blank = a.ptr[i] == ' ' || a.ptr[i] == '\t';
        if (blank != (b.ptr[j] == ' ' || b.ptr[j] == '\t') || (!blank && a.ptr[i] != b.ptr[j]))
            return false;
        for (i++; blank && (a.ptr[i] == ' ' || a.ptr[i] == '\t'); i++)
            ;
        for (j++; blank && (b.ptr[j] == ' ' || b.ptr[j] == '\t'); j++)
            ;
    }
    return i == a.len && j == b.len;
}

static int set_now(const char *setting, bool dry_run, struct kp_buf *diff, struct kp_err *err)
{
    kp_auto_free char *path = NULL, *text = NULL;
    const char *value = NULL;
    size_t len;
    if (read_setting(setting, &path, &value, err) < 0)
        return -1;
    if (kp_file_read(path, 4096, &text, &len, err) < 0) {
        kp_wrap(err, "sysctl %s", setting);
        return kp_hint(err, "the kernel does not know it: a module may be missing");
    }
    struct kp_slice now = kp_slice_trim((struct kp_slice){text, len});
    if (same_value(now, kp_slice_of(value)))
        return 0;
    kp_buf_addf(diff, "sysctl %s (was %.*s)\n", setting, (int)now.len, now.ptr);
    if (dry_run)
        return 0;
    // With its line end: nothing written would not set an empty value (ip_local_reserved_ports).
    kp_auto_free char *line = kp_asprintf("%s\n", value);
    kp_auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line))
        return kp_fail_sys(err, errno, "set sysctl %s (it is %.*s)", setting, (int)now.len,
                           now.ptr);
    return 0;
}

/* Puts a file of ours, with its diff. */
static int keep_file(struct kp_node_state *state, const char *path, struct kp_slice text,
                     bool dry_run, struct kp_buf *diff, struct kp_err *err)
{
    kp_auto_free char *real = kp_node_own(state, path), *before = NULL;
    kp_auto_free char *folder = kp_path_dir(real);
    size_t len = 0;
    if (kp_file_exists(real) && kp_file_read(real, SMALL_FILE_MAX, &before, &len, err) < 0)
        return -1;
    kp_auto_free char *changes = kp_diff(path, (struct kp_slice){before ? before : "", len}, text);
    if (!changes)
        return 0;
    kp_buf_adds(diff, changes);
    if (dry_run)
        return 0;
    if (kp_mkdirs(folder, 0755, err) < 0)
        return -1;
    return kp_file_write_atomic(real, text, 0644, err);
}

/* The file that keep_file has put, or found as it should be. */
static int note_kept(struct kp_node_state *state, const char *path, struct kp_slice text,
                     bool dry_run, json_t *result, struct kp_err *err)
{
    struct kp_node_placed placed = {.op = "put",
                                    .path = path,
                                    .mode = 0644,
                                    .size = text.len,
                                    .changed = json_is_true(json_object_get(result, "changed"))};
    kp_sha256(text.ptr, text.len, &placed.sha256);
    return dry_run ? 0 : kp_node_note_placed(state, &placed, result, err);
}

int kp_node_op_sysctl(struct kp_node_request *request, const json_t *args, json_t **result,
                      struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    kp_auto_free const char **settings = NULL;
    kp_auto_value(kp_buf) diff = KP_BUF(KP_DIFF_MAX + 65536), file = KP_BUF(65536);
    bool dry_run = kp_node_flag(args, "dry_run");
    size_t n;
    if (kp_node_texts(args, "settings", SETTINGS_MAX, &settings, &n, err) < 0 ||
        kp_node_commit(state, dry_run, err) < 0)
        return -1;
    kp_buf_adds(&file, "# written by kpack\n");
    for (size_t i = 0; i < n; i++) {
        if (set_now(settings[i], dry_run, &diff, err) < 0)
            return -1;
        kp_buf_addf(&file, "%s\n", settings[i]);
    }
    if (keep_file(state, SYSCTL_FILE, kp_buf_slice(&file), dry_run, &diff, err) < 0)
        return -1;
    *result = kp_node_change(diff.len > 0, diff.len ? diff.data : NULL);
    return note_kept(state, SYSCTL_FILE, kp_buf_slice(&file), dry_run, *result, err);
}

/* Where a module's work is seen though no module of that name is: kernels without module support.
 */
static bool seen_working(const char *name)
{
    static const struct {
        const char *name, *trace;
    } traces[] = {
        {"br_netfilter", "/proc/sys/net/bridge/bridge-nf-call-iptables"},
        {"nf_conntrack", "/proc/sys/net/netfilter/nf_conntrack_max"},
        {"ip_vs", "/proc/net/ip_vs"},
        {"ip_vs_rr", "/proc/net/ip_vs"},
        {"ip_vs_wrr", "/proc/net/ip_vs"},
        {"ip_vs_sh", "/proc/net/ip_vs"},
        {"ip_tables", "/proc/net/ip_tables_names"},
        {"ip6_tables", "/proc/net/ip6_tables_names"},
    };
    static const char *const nft[] = {"nft", "list", "tables", NULL};
    int status;
    for (size_t i = 0; i < KP_COUNT(traces); i++)
        if (strcmp(name, traces[i].name) == 0)
            return kp_file_exists(traces[i].trace);
    if (strcmp(name, "nf_tables") == 0) { // leaves nothing in /proc
        kp_free(kp_node_output(nft, &status));
        return status == 0;
    }
    struct kp_err ignored;
    kp_auto_free char *text = NULL;
    size_t len;
    if (kp_file_read("/proc/filesystems", SMALL_FILE_MAX, &text, &len, &ignored) < 0)
        return false;
    struct kp_slice rest = {text, len}, line;
    while (kp_slice_line(&rest, &line)) {
        const char *tab = memchr(line.ptr, '\t', line.len);
        struct kp_slice type =
            tab ? (struct kp_slice){tab + 1, line.len - (size_t)(tab + 1 - line.ptr)} : line;
        if (kp_slice_equal(type, name))
            return true;
    }
    return false;
}

/* Does modules.builtin or modules.dep list /NAME.ko? File names may have '-' for '_'. */
static bool listed_in(const char *file, const char *name)
{
    struct utsname system;
    struct kp_err ignored;
    kp_auto_free char *text = NULL;
    size_t len;
    uname(&system);
    kp_auto_free char *path = kp_asprintf("/lib/modules/%s/%s", system.release, file);
    if (kp_file_read(path, SMALL_FILE_MAX, &text, &len, &ignored) < 0)
        return false;
    kp_auto_free char *word = kp_asprintf("/%s.ko", name);
    for (size_t i = 0; i < len; i++)
        if (text[i] == '-')
            text[i] = '_';
    for (char *p = word; *p; p++)
        if (*p == '-')
            *p = '_';
    return strstr(text, word) != NULL;
}

const char *kp_node_module_state(const char *name)
{
    kp_auto_free char *folder = kp_asprintf("/sys/module/%s", name);
    for (char *p = folder; *p; p++)
        if (*p == '-')
            *p = '_';
    kp_auto_free char *initialised = kp_asprintf("%s/initstate", folder);
    if (kp_file_exists(initialised))
        return "loaded";
    if (kp_file_exists(folder) || listed_in("modules.builtin", name) || seen_working(name))
        return "builtin";
    return listed_in("modules.dep", name) ? "available" : "missing";
}

static int load_module(const char *name, bool dry_run, struct kp_buf *diff, struct kp_err *err)
{
    if (!all_of(name, NAME_CHARACTERS) || !*name || name[0] == '-')
        return kp_fail_as(err, KP_USAGE, "bad_request", "\"%s\" is no module's name", name);
    const char *state = kp_node_module_state(name);
    if (strcmp(state, "loaded") == 0 || strcmp(state, "builtin") == 0)
        return 0;
    kp_buf_addf(diff, "load module %s\n", name);
    if (dry_run && strcmp(state, "available") == 0)
        return 0;
    int status = 1;
    kp_auto_free char *said = NULL;
    if (!dry_run) {
        const char *argv[] = {"modprobe", "--", name, NULL};
        said = kp_node_output(argv, &status);
    }
    // br_netfilter and others may show only by what they do.
    if (status == 0 || strcmp(kp_node_module_state(name), "missing") != 0)
        return 0;
    return kp_fail_as(err, KP_MISSING, "not_found",
                      "module %s is not in this kernel and cannot be loaded%s%s", name,
                      said && *said ? ": " : "", said ? said : "");
}

int kp_node_op_modules(struct kp_node_request *request, const json_t *args, json_t **result,
                       struct kp_err *err)
{
    struct kp_node_state *state = kp_node_request_state(request);
    kp_auto_free const char **names = NULL;
    kp_auto_value(kp_buf) diff = KP_BUF(KP_DIFF_MAX + 65536), file = KP_BUF(65536);
    bool dry_run = kp_node_flag(args, "dry_run");
    size_t n;
    if (kp_node_texts(args, "names", SETTINGS_MAX, &names, &n, err) < 0 ||
        kp_node_commit(state, dry_run, err) < 0)
        return -1;
    kp_buf_adds(&file, "# written by kpack\n");
    for (size_t i = 0; i < n; i++) {
        if (load_module(names[i], dry_run, &diff, err) < 0)
            return -1;
        kp_buf_addf(&file, "%s\n", names[i]);
    }
    if (keep_file(state, MODULES_FILE, kp_buf_slice(&file), dry_run, &diff, err) < 0)
        return -1;
    *result = kp_node_change(diff.len > 0, diff.len ? diff.data : NULL);
    return note_kept(state, MODULES_FILE, kp_buf_slice(&file), dry_run, *result, err);
}
