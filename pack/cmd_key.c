/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/writer.h"
#include "pack/commands.h"
#include "pack/keys.h"

#include <stddef.h>
#include <stdio.h>

#define FIELD(member) offsetof(struct kp_signing_options, member)

const struct kp_option kp_keygen_options[] = {
    {"folder", 0, KP_OPT_TEXT, FIELD(folder), "DIR",
     "where to put it (default ~/.config/kpack/keys)", 0},
    {"json", 0, KP_OPT_FLAG, FIELD(json), NULL, "one JSON document on stdout", 0},
    {0},
};

const struct kp_option kp_sign_options[] = {
    {"key", 0, KP_OPT_TEXT, FIELD(key), "KEY",
     "signing key: a file, or a name in ~/.config/kpack/keys", 0},
    {"json", 0, KP_OPT_FLAG, FIELD(json), NULL, "one JSON document on stdout", 0},
    {0},
};

int kp_cmd_keygen(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct kp_signing_options *o = options;
    kp_auto_free char *name = argc ? kp_strdup(argv[0]) : kp_signing_key_name();
    kp_auto_free char *path = NULL;
    struct kp_digest id;
    char fingerprint[80];
    if (kp_signing_key_make(o->folder, name, &id, &path, err) < 0)
        return -1;
    kp_auto_free char *public = kp_asprintf("%.*s.pub", (int)strlen(path) - 4, path);
    kp_fingerprint(&id, fingerprint);
    if (o->json) {
        kp_auto_json out = json_pack("{s:s, s:s, s:s, s:s}", "name", name, "key",
                                     kp_digest_hex(&id).hex, "private", path, "public", public);
        kp_json_print(out);
        return 0;
    }
    printf("key       %s\nprivate   %s   keep it here; who has it can sign\n"
           "public    %s   give it to the site by another way than the bundle\n"
           "compare   %s\n",
           name, path, public, fingerprint);
    return 0;
}

int kp_cmd_sign(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct kp_signing_options *o = options;
    kp_auto_value(kp_signing_key) key = {0};
    (void)argc;
    if (kp_signing_key_find(&key, o->key, false, err) < 0 ||
        kp_bundle_sign_file(argv[0], key.key, err) < 0)
        return -1;
    struct kp_digest_text id = kp_digest_hex(kp_key_id(key.key));
    if (o->json) {
        kp_auto_json out =
            json_pack("{s:s, s:s, s:s}", "bundle", argv[0], "key", id.hex, "name", key.name);
        kp_json_print(out);
        return 0;
    }
    printf("signed    %s   key %.4s…%s (%s)\n", argv[0], id.hex, id.hex + 60, key.name);
    return 0;
}
