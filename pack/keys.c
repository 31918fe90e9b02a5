/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/keys.h"

#include "bundle/names.h"
#include "core/file.h"
#include "core/secret.h"
#include "pack/token.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PASSPHRASE_TRIES 3

void kp_signing_key_release(struct kp_signing_key *key)
{
    kp_key_free(key->key);
    kp_free(key->path);
    kp_free(key->name);
}

static char *config_folder(const char *name)
{
    kp_auto_free char *config = kp_xdg_dir("config");
    return kp_asprintf("%s/kpack/%s", config, name);
}

char *kp_signing_key_name(void)
{
    char host[65] = "";
    struct tm now;
    time_t seconds = time(NULL);
    gmtime_r(&seconds, &now);
    gethostname(host, sizeof(host) - 1);
    host[strcspn(host, ".")] = '\0';
    return kp_asprintf("%s-%d", kp_name_ok(host) ? host : "key", now.tm_year + 1900);
}

void kp_fingerprint(const struct kp_digest *id, char buf[80])
{
    struct kp_digest_text hex = kp_digest_hex(id);
    size_t n = 0;
    for (size_t i = 0; i < KP_SHA256_HEX; i++) {
        if (i && i % 4 == 0)
            buf[n++] = ' ';
        buf[n++] = hex.hex[i];
    }
    buf[n] = '\0';
}

/* The public half into trusted.d, so that this host verifies what it makes. */
static int trust_here(const char *folder, const char *name, struct kp_err *err)
{
    kp_auto_free char *from = kp_asprintf("%s/%s.pub", folder, name);
    kp_auto_free char *trusted = config_folder("trusted.d");
    kp_auto_free char *to = kp_asprintf("%s/%s.pub", trusted, name);
    kp_auto_free char *pem = NULL;
    size_t len;
    if (kp_file_read(from, KP_KEY_FILE_MAX, &pem, &len, err) < 0 ||
        kp_mkdirs(trusted, 0700, err) < 0)
        return -1;
    return kp_file_write_atomic(to, (struct kp_slice){pem, len}, 0644, err);
}

int kp_signing_key_make(const char *folder, const char *name, const char *passphrase,
                        struct kp_digest *id, char **path, struct kp_err *err)
{
    kp_auto_free char *owned = folder ? kp_strdup(folder) : config_folder("keys");
    if (!kp_name_ok(name))
        return kp_fail(err, KP_USAGE, "'%s' is no key name (letters, digits, . _ -)", name);
    if (kp_key_generate_encrypted(owned, name, passphrase, id, err) < 0 ||
        trust_here(owned, name, err) < 0)
        return -1;
    *path = kp_asprintf("%s/%s.key", owned, name);
    return 0;
}

static size_t list_keys(const char *folder, char *names[KP_KEYS_LISTED_MAX])
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    for (const struct dirent *e; dir && (e = readdir(dir));)
        if (kp_ends_with(e->d_name, ".key") && count < KP_KEYS_LISTED_MAX)
            names[count++] = kp_strndup(e->d_name, strlen(e->d_name) - 4);
    if (dir)
        closedir(dir);
    return count;
}

static int fail_several(char *const *names, size_t count, struct kp_err *err)
{
    char text[512] = "";
    size_t len = 0;
    for (size_t i = 0; i < count && len < sizeof(text); i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i ? ", " : "", names[i]);
    return kp_fail(err, KP_USAGE, "there are several signing keys (%s); name one by --key", text);
}

static int choose_only(struct kp_signing_key *out, const char *folder, bool make,
                       struct kp_err *err)
{
    char *names[KP_KEYS_LISTED_MAX];
    int result = 0;
    size_t count = list_keys(folder, names);
    if (count > 1)
        result = fail_several(names, count, err);
    else if (count == 1)
        out->name = kp_strdup(names[0]);
    else if (!make)
        result = kp_fail(err, KP_USAGE, "there is no signing key in %s; make one by kpack keygen",
                         folder);
    for (size_t i = 0; i < count; i++)
        kp_free(names[i]);
    if (result < 0)
        return -1;
    if (out->name) {
        out->path = kp_asprintf("%s/%s.key", folder, out->name);
        return 0;
    }
    struct kp_digest id;
    out->name = kp_signing_key_name();
    out->made = true;
    return kp_signing_key_make(folder, out->name, NULL, &id, &out->path, err);
}

static char *name_of_path(const char *path)
{
    const char *base = kp_path_base(path);
    return kp_strndup(base, strlen(base) - (kp_ends_with(base, ".key") ? 4 : 0));
}

/* On a terminal a slip of the finger may be corrected. */
static int load_encrypted(struct kp_signing_key *out, int fd, struct kp_err *err)
{
    kp_auto_free char *prompt = kp_asprintf("passphrase of %s: ", out->path);
    struct kp_secret_question question = {"the passphrase", prompt, "--passphrase-fd"};
    int result = -1;
    for (int tries = fd < 0 ? PASSPHRASE_TRIES : 1; tries > 0 && result < 0; tries--) {
        char *passphrase = NULL;
        if (kp_secret_read(&passphrase, fd, &question, err) < 0)
            return -1;
        struct kp_err wrong = KP_ERR_INIT;
        result = kp_key_load(&out->key, out->path, passphrase, &wrong);
        kp_secret_free(passphrase);
        if (result < 0 && err)
            *err = wrong;
    }
    return result;
}

static int load_file(struct kp_signing_key *out, int fd, struct kp_err *err)
{
    struct kp_err first = KP_ERR_INIT;
    if (kp_key_load(&out->key, out->path, NULL, &first) == 0)
        return 0;
    if (first.reason && strcmp(first.reason, "key_encrypted") == 0)
        return load_encrypted(out, fd, err);
    if (err)
        *err = first;
    return -1;
}

int kp_signing_key_unlock(struct kp_signing_key *out, const char *wanted, int fd, bool make,
                          struct kp_err *err)
{
    kp_auto_free char *folder = config_folder("keys");
    if (wanted && kp_starts_with(wanted, KP_TOKEN_SCHEME)) {
        out->path = kp_strdup(wanted);
        return kp_token_key(&out->key, &out->name, wanted, fd, err);
    }
    if (!wanted) {
        if (choose_only(out, folder, make, err) < 0)
            return -1;
    } else if (strchr(wanted, '/') || kp_file_exists(wanted)) {
        out->path = kp_path_expand(wanted);
        out->name = name_of_path(wanted);
    } else {
        out->path = kp_asprintf("%s/%s.key", folder, wanted);
        out->name = kp_strdup(wanted);
        if (!kp_file_exists(out->path))
            return kp_fail(err, KP_USAGE, "--key %s: neither a file nor a key in %s", wanted,
                           folder);
    }
    return load_file(out, fd, err);
}

int kp_signing_key_find(struct kp_signing_key *out, const char *wanted, bool make,
                        struct kp_err *err)
{
    return kp_signing_key_unlock(out, wanted, -1, make, err);
}
