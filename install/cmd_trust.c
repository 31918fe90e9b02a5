/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/trust.h"
#include "core/file.h"
#include "core/json.h"
#include "install/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

struct options {
    bool system, json;
};

static const struct kp_option option_table[] = {
    {"system", 0, KP_OPT_FLAG, offsetof(struct options, system), NULL,
     "for everybody on this host (/etc/kpack/trusted.d)", 0},
    {"json", 0, KP_OPT_FLAG, offsetof(struct options, json), NULL, "one JSON document", 0},
    {.name = NULL},
};

static char *trust_folder(const struct options *options)
{
    kp_auto_free char *config = kp_xdg_dir("config");
    return options->system ? kp_strdup("/etc/kpack/trusted.d")
                           : kp_path_join(config, "kpack/trusted.d");
}

static int add_key(const struct options *options, const char *path, struct kp_err *err)
{
    kp_auto(kp_trust) trust = kp_trust_new();
    if (kp_trust_add_file(trust, path, err) < 0)
        return -1;
    const struct kp_trust_key *key = kp_trust_at(trust, 0);
    kp_auto_free char *folder = trust_folder(options);
    kp_auto_free char *name = kp_asprintf("%s.pub", key->name);
    kp_auto_free char *target = kp_path_join(folder, name);
    kp_auto_free char *pem = kp_trust_pem(trust, 0);
    if (kp_file_exists(target)) {
        kp_auto(kp_trust) there = kp_trust_new();
        if (kp_trust_add_file(there, target, err) < 0)
            return -1;
        if (!kp_digest_equal(&kp_trust_at(there, 0)->id, &key->id))
            return kp_fail(err, KP_USAGE, "%s is there already and is another key", target);
    }
    if (kp_mkdirs(folder, options->system ? 0755 : 0700, err) < 0 ||
        kp_file_write_atomic(target, kp_slice_of(pem), 0644, err) < 0)
        return -1;
    printf("trusted   %s  %s\n          compare the fingerprint by another way than the bundle "
           "came\n",
           key->name, kp_digest_hex(&key->id).hex);
    return 0;
}

static int list_keys(const struct options *options, struct kp_err *err)
{
    kp_auto(kp_trust) trust = kp_trust_new();
    if (kp_trust_add_default(trust, err) < 0)
        return -1;
    kp_auto_json keys = json_array();
    for (size_t i = 0; i < kp_trust_count(trust); i++) {
        const struct kp_trust_key *key = kp_trust_at(trust, i);
        const char *id = kp_digest_hex(&key->id).hex;
        json_array_append_new(keys, json_pack("{s:s, s:s}", "name", key->name, "id", id));
        if (!options->json)
            printf("%s  %s\n", kp_digest_hex(&key->id).hex, key->name);
    }
    if (options->json)
        kp_json_print(keys);
    else if (!kp_trust_count(trust))
        printf("no trusted keys; add one: kinstall trust add FILE.pub\n");
    return 0;
}

static int remove_key(const struct options *options, const char *name, struct kp_err *err)
{
    kp_auto_free char *folder = trust_folder(options);
    kp_auto_free char *file = kp_asprintf("%s.pub", name);
    kp_auto_free char *path = kp_path_join(folder, file);
    if (strchr(name, '/') || !kp_file_exists(path))
        return kp_fail(err, KP_USAGE, "no trusted key %s in %s", name, folder);
    if (unlink(path) < 0)
        return kp_fail_sys(err, errno, "remove %s", path);
    printf("removed   %s\n", path);
    return 0;
}

static int run_trust(void *user, int argc, char **argv, struct kp_err *err)
{
    const struct options *options = user;
    bool one = argc == 2;
    if (strcmp(argv[0], "list") == 0 && argc == 1)
        return list_keys(options, err);
    if (strcmp(argv[0], "add") == 0 && one)
        return add_key(options, argv[1], err);
    if (strcmp(argv[0], "remove") == 0 && one)
        return remove_key(options, argv[1], err);
    return kp_fail(err, KP_USAGE, "add FILE.pub, remove NAME or list is needed");
}

const struct kp_command kp_cmd_trust = {
    "trust",
    "add FILE.pub | remove NAME | list",
    1,
    2,
    "the keys whose signatures are accepted here",
    NULL,
    option_table,
    sizeof(struct options),
    run_trust,
};
