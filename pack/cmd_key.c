/* SPDX-License-Identifier: Apache-2.0 */
#include "core/secret.h"
#include "pack/commands.h"
#include "pack/keys.h"

#include <stddef.h>
#include <stdio.h>

#define FIELD(member) offsetof(struct kp_signing_options, member)

const struct kp_option kp_keygen_options[] = {
    {"folder", 0, KP_OPT_TEXT, FIELD(folder), "DIR",
     "where to put it (default ~/.config/kpack/keys)", 0},
    {"encrypt", 0, KP_OPT_FLAG, FIELD(encrypt), NULL,
     "encrypt it; the passphrase is asked for twice", 0},
    {"passphrase-fd", 0, KP_OPT_TEXT, FIELD(passphrase_fd), "FD",
     "read the passphrase there; means --encrypt", 0},
    {"json", 0, KP_OPT_FLAG, FIELD(json), NULL, "one JSON document on stdout", 0},
    {0},
};

/* Makes the key; the passphrase of an encrypted one is overwritten before this returns. */
static int make_key(const struct kp_signing_options *o, const char *name, struct kp_digest *id,
                    char **path, struct kp_err *err)
{
    static const struct kp_secret_question question = {"the passphrase",
                                                       "new passphrase: ", "--passphrase-fd"};
    char *passphrase = NULL;
    int fd;
    if (kp_secret_fd(o->passphrase_fd, "--passphrase-fd", &fd, err) < 0)
        return -1;
    if ((o->encrypt || fd >= 0) &&
        kp_secret_new(&passphrase, fd, &question, KP_PASSPHRASE_LEAST, err) < 0)
        return -1;
    int result = kp_signing_key_make(o->folder, name, passphrase, id, path, err);
    kp_secret_free(passphrase);
    return result;
}

int kp_cmd_keygen(void *options, int argc, char **argv, struct kp_err *err)
{
    const struct kp_signing_options *o = options;
    kp_auto_free char *name = argc ? kp_strdup(argv[0]) : kp_signing_key_name();
    kp_auto_free char *path = NULL;
    struct kp_digest id;
    char fingerprint[80];
    if (make_key(o, name, &id, &path, err) < 0)
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
