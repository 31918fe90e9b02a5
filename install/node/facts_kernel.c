/* SPDX-License-Identifier: Apache-2.0 */
#include "install/node/node.h"

#include "core/file.h"

#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

static void add_cgroup(json_t *out)
{
    kp_auto_free char *unified = kp_facts_file("/sys/fs/cgroup/cgroup.controllers");
    kp_auto_free char *v1 = unified ? NULL : kp_facts_file("/proc/cgroups");
    json_t *names = json_array();
    struct kp_slice rest = kp_slice_of(unified ? unified : v1), line, word;
    while (unified && kp_facts_word(&rest, &word))
        json_array_append_new(names, kp_node_json_text(word));
    while (v1 && kp_slice_line(&rest, &line)) {
        struct kp_slice name, skipped, enabled = {0};
        if (!kp_facts_word(&line, &name) || name.ptr[0] == '#' || !kp_facts_word(&line, &skipped) ||
            !kp_facts_word(&line, &skipped) || !kp_facts_word(&line, &enabled) ||
            enabled.ptr[0] != '1')
            continue;
        json_array_append_new(names, kp_node_json_text(name));
    }
    json_object_set_new(out, "cgroup",
                        json_pack("{s:i, s:o}", "version", unified ? 2 : 1, "controllers", names));
}

static json_t *look_at_sysctl(const char *key)
{
    kp_auto_free char *path = kp_asprintf("/proc/sys/%s", key);
    for (char *p = path; *p; p++)
        if (*p == '.')
            *p = '/';
    char *value = strstr(key, "..") ? NULL : kp_facts_file(path);
    // access() takes root for able to write; a read-only mount or a foreign namespace shows on open
    // only.
    bool writable = value && access(path, W_OK) == 0;
    if (writable) {
        FILE *file = fopen(path, "r+e");
        writable = file != NULL;
        if (file)
            fclose(file);
    }
    return json_pack("{s:o, s:b}", "value", kp_facts_text(value), "writable", (int)writable);
}

void kp_facts_kernel(json_t *out, const json_t *args)
{
    struct utsname system;
    json_t *modules = json_object(), *sysctls = json_object();
    const json_t *names = json_object_get(args, "modules"),
                 *keys = json_object_get(args, "sysctls");
    uname(&system);
    kp_auto_free char *folder = kp_asprintf("/lib/modules/%s", system.release);
    add_cgroup(out);
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (name && *name && !strchr(name, '/'))
            json_object_set_new(modules, name, json_string(kp_node_module_state(name)));
    }
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const char *key = json_string_value(json_array_get(keys, i));
        if (key && *key && key[0] != '/')
            json_object_set_new(sysctls, key, look_at_sysctl(key));
    }
    json_object_set_new(out, "modules", modules);
    json_object_set_new(out, "sysctl", sysctls);
    json_object_set_new(out, "modules_folder", json_boolean(kp_file_exists(folder)));
}
