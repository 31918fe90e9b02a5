/* SPDX-License-Identifier: Apache-2.0 */
#include "install/node/node.h"

#include "core/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define FACT_FILE_MAX ((size_t)4 << 20)

char *kp_facts_file(const char *path)
{
    struct kp_err ignored;
    char *text = NULL;
    size_t len;
    return kp_file_read(path, FACT_FILE_MAX, &text, &len, &ignored) < 0 ? NULL : text;
}

char *kp_facts_value(const char *text, const char *key, char separator)
{
    struct kp_slice rest = kp_slice_of(text), line;
    while (text && kp_slice_line(&rest, &line)) {
        struct kp_slice name, value = line;
        if (!kp_slice_cut(&value, separator, &name) || !kp_slice_equal(kp_slice_trim(name), key))
            continue;
        value = kp_slice_trim(value);
        if (value.len >= 2 && (value.ptr[0] == '"' || value.ptr[0] == '\'')) {
            value.ptr++;
            value.len -= 2;
        }
        return kp_strndup(value.ptr, value.len);
    }
    return NULL;
}

char *kp_facts_program(const char *name)
{
    static const char *const folders[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
                                          "/usr/bin",        "/sbin",          "/bin",
                                          "/opt/cni/bin"};
    for (size_t i = 0; i < KP_COUNT(folders) && *name && !strchr(name, '/'); i++) {
        kp_auto_free char *path = kp_path_join(folders[i], name);
        struct stat st;
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111))
            return kp_steal(&path);
    }
    return NULL;
}

bool kp_facts_word(struct kp_slice *line, struct kp_slice *word)
{
    *line = kp_slice_trim(*line);
    size_t n = 0;
    while (n < line->len && line->ptr[n] != ' ' && line->ptr[n] != '\t')
        n++;
    *word = (struct kp_slice){line->ptr, n};
    line->ptr += n;
    line->len -= n;
    return n > 0;
}

json_t *kp_facts_text(char *text)
{
    json_t *value = text ? kp_node_json_text(kp_slice_trim(kp_slice_of(text))) : json_null();
    kp_free(text);
    return value;
}

static const char *arch_name(const char *machine)
{
    static const struct {
        const char *machine, *arch;
    } table[] = {{"x86_64", "amd64"},    {"aarch64", "arm64"}, {"armv7l", "arm"},
                 {"ppc64le", "ppc64le"}, {"s390x", "s390x"},   {"riscv64", "riscv64"}};
    for (size_t i = 0; i < KP_COUNT(table); i++)
        if (strcmp(machine, table[i].machine) == 0)
            return table[i].arch;
    return machine;
}

static void add_os(json_t *out)
{
    static const char *const keys[] = {"ID", "VERSION_ID", "PRETTY_NAME", "ID_LIKE"};
    static const char *const names[] = {"id", "version_id", "pretty_name", "id_like"};
    json_t *os = json_object();
    kp_auto_free char *text = kp_facts_file("/etc/os-release");
    for (size_t i = 0; i < KP_COUNT(keys); i++)
        json_object_set_new(os, names[i], kp_facts_text(kp_facts_value(text, keys[i], '=')));
    json_object_set_new(out, "os", os);
}

static json_int_t kilobytes(const char *meminfo, const char *key)
{
    kp_auto_free char *value = kp_facts_value(meminfo, key, ':');
    uint64_t number = 0;
    if (value)
        kp_parse_u64((struct kp_slice){value, strspn(value, "0123456789")}, UINT64_MAX / 1024,
                     &number);
    return (json_int_t)(number * 1024);
}

static void add_memory(json_t *out)
{
    kp_auto_free char *text = kp_facts_file("/proc/meminfo"), *swaps = kp_facts_file("/proc/swaps");
    json_t *list = json_array();
    json_object_set_new(out, "memory",
                        json_pack("{s:I, s:I}", "total", kilobytes(text, "MemTotal"), "available",
                                  kilobytes(text, "MemAvailable")));
    struct kp_slice rest = kp_slice_of(swaps), line;
    kp_slice_line(&rest, &line);
    while (swaps && kp_slice_line(&rest, &line)) {
        struct kp_slice device, type, size, used;
        uint64_t bytes = 0, busy = 0;
        if (!kp_facts_word(&line, &device) || !kp_facts_word(&line, &type) ||
            !kp_facts_word(&line, &size) || !kp_facts_word(&line, &used))
            continue;
        kp_parse_u64(size, UINT64_MAX / 1024, &bytes);
        kp_parse_u64(used, UINT64_MAX / 1024, &busy);
        json_array_append_new(
            list, json_pack("{s:o, s:I, s:I}", "device", kp_node_json_text(device), "size",
                            (json_int_t)(bytes * 1024), "used", (json_int_t)(busy * 1024)));
    }
    json_object_set_new(out, "swap", list);
}

static void add_clock(json_t *out)
{
    struct timespec now;
    struct timex state = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    json_object_set_new(out, "utc_ns",
                        json_integer((json_int_t)now.tv_sec * 1000000000 + now.tv_nsec));
    int answer = adjtimex(&state);
    json_object_set_new(out, "time_synced",
                        answer < 0 ? json_null() : json_boolean(!(state.status & STA_UNSYNC)));
}

static void add_security(json_t *out)
{
    kp_auto_free char *enforce = kp_facts_file("/sys/fs/selinux/enforce");
    kp_auto_free char *apparmor = kp_facts_file("/sys/module/apparmor/parameters/enabled");
    kp_auto_free char *status = kp_facts_file("/proc/self/status");
    kp_auto_free char *bounding = kp_facts_value(status, "CapBnd", ':');
    uint8_t raw[8] = {0};
    const char *selinux = enforce ? (enforce[0] == '1' ? "enforcing" : "permissive")
                                  : (kp_file_exists("/etc/selinux/config") ? "disabled" : "none");
    json_object_set_new(out, "selinux", json_string(selinux));
    json_object_set_new(out, "apparmor", json_boolean(apparmor && apparmor[0] == 'Y'));
    json_object_set_new(out, "capabilities", json_string(bounding ? bounding : ""));
    // CAP_SYS_RESOURCE is bit 24: byte 4 from the right.
    bool known = bounding && kp_parse_hex(kp_slice_of(bounding), raw, sizeof(raw));
    json_object_set_new(out, "cap_sys_resource", json_boolean(known && (raw[4] & 1)));
}

static void add_virtualization(json_t *out)
{
    const char *container[] = {"systemd-detect-virt", "--container", NULL};
    const char *any[] = {"systemd-detect-virt", NULL};
    const char *version[] = {"systemctl", "--version", NULL};
    int status;
    kp_free(kp_node_output(container, &status));
    json_object_set_new(out, "container", json_boolean(status == 0));
    kp_auto_free char *kind = kp_node_output(any, &status),
                      *systemd = kp_node_output(version, NULL);
    bool spoken = status == 0 || strcmp(kind, "none") == 0;
    json_object_set_new(out, "virtualization", json_string(spoken ? kind : "unknown"));
    uint64_t number = 0;
    if (kp_node_has_systemd() && kp_starts_with(systemd, "systemd "))
        kp_parse_u64((struct kp_slice){systemd + 8, strspn(systemd + 8, "0123456789")}, 100000,
                     &number);
    json_object_set_new(out, "systemd", json_integer((json_int_t)number));
}

/* The mount that holds a device number: its source and type. */
static void add_mount(json_t *disk, dev_t device)
{
    kp_auto_free char *text = kp_facts_file("/proc/self/mountinfo");
    kp_auto_free char *number = kp_asprintf("%u:%u", major(device), minor(device));
    struct kp_slice rest = kp_slice_of(text), line;
    while (text && kp_slice_line(&rest, &line)) {
        struct kp_slice word = {0}, type, source;
        for (int i = 0; i < 3; i++)
            kp_facts_word(&line, &word);
        if (!kp_slice_equal(word, number))
            continue;
        while (kp_facts_word(&line, &word) && !kp_slice_equal(word, "-"))
            ;
        if (kp_facts_word(&line, &type) && kp_facts_word(&line, &source)) {
            json_object_set_new(disk, "type", kp_node_json_text(type));
            json_object_set_new(disk, "device", kp_node_json_text(source));
        }
        return;
    }
}

static json_t *measure_disk(const char *path)
{
    kp_auto_free char *at = kp_strdup(path);
    struct statvfs vfs;
    struct stat st;
    while ((statvfs(at, &vfs) < 0 || stat(at, &st) < 0) && strcmp(at, "/") != 0) {
        char *up = kp_path_dir(at);
        kp_free(at);
        at = up;
    }
    if (statvfs(at, &vfs) < 0 || stat(at, &st) < 0)
        return json_null();
    json_t *disk = json_pack(
        "{s:I, s:I, s:i}", "free", (json_int_t)((uint64_t)vfs.f_bavail * vfs.f_frsize), "size",
        (json_int_t)((uint64_t)vfs.f_blocks * vfs.f_frsize), "number", (int)st.st_dev);
    add_mount(disk, st.st_dev);
    return disk;
}

static void add_asked(json_t *out, const json_t *args)
{
    json_t *disks = json_object(), *programs = json_object();
    const json_t *paths = json_object_get(args, "paths"),
                 *names = json_object_get(args, "programs");
    for (size_t i = 0; i < json_array_size(paths); i++) {
        const char *path = json_string_value(json_array_get(paths, i));
        if (path && path[0] == '/')
            json_object_set_new(disks, path, measure_disk(path));
    }
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (name)
            json_object_set_new(programs, name, kp_facts_text(kp_facts_program(name)));
    }
    json_object_set_new(out, "disks", disks);
    json_object_set_new(out, "programs", programs);
}

void kp_facts_system(json_t *out, const json_t *args)
{
    struct utsname system;
    uname(&system);
    const char *sudo_user = getenv("SUDO_USER");
    json_object_set_new(out, "hostname", kp_node_json_text(kp_slice_of(system.nodename)));
    json_object_set_new(out, "machine_id", kp_facts_text(kp_facts_file("/etc/machine-id")));
    json_object_set_new(out, "kernel", kp_node_json_text(kp_slice_of(system.release)));
    json_object_set_new(out, "arch", json_string(arch_name(system.machine)));
    json_object_set_new(out, "cpus", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(out, "sudo_user",
                        kp_node_json_text(kp_slice_of(sudo_user ? sudo_user : "")));
    json_object_set_new(out, "cloud_init", json_boolean(kp_file_exists("/etc/cloud/cloud.cfg")));
    add_os(out);
    add_memory(out);
    add_clock(out);
    add_security(out);
    add_virtualization(out);
    add_asked(out, args);
}
