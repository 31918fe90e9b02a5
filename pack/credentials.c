/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/credentials.h"

#include "core/base64.h"
#include "core/file.h"
#include "core/json.h"
#include "core/proc.h"

#include <stdlib.h>

#define HELPER_SECONDS 20
#define HELPER_NAME_MAX 64

struct kp_credentials {
    char *path; /* of config.json; NULL: no home, so none */
    json_t *config;
    bool loaded;
};

static void wipe(char *text)
{
    kp_free_secret(text, text ? strlen(text) : 0);
}

void kp_credential_release(struct kp_credential *credential)
{
    kp_free(credential->username);
    wipe(credential->password);
    wipe(credential->identity);
    *credential = (struct kp_credential){0};
}

struct kp_credentials *kp_credentials_new(const char *folder)
{
    struct kp_credentials *credentials = kp_alloc(sizeof(*credentials));
    const char *set = getenv("DOCKER_CONFIG");
    const char *home = getenv("HOME");
    if (folder)
        credentials->path = kp_path_join(folder, "config.json");
    else if (set && *set)
        credentials->path = kp_path_join(set, "config.json");
    else if (home && *home)
        credentials->path = kp_path_join(home, ".docker/config.json");
    return credentials;
}

void kp_credentials_free(struct kp_credentials *credentials)
{
    if (!credentials)
        return;
    kp_free(credentials->path);
    json_decref(credentials->config);
    kp_free(credentials);
}

static int load(struct kp_credentials *credentials, struct kp_err *err)
{
    if (credentials->loaded)
        return 0;
    if (credentials->path && kp_file_exists(credentials->path)) {
        kp_auto_free char *text = NULL;
        size_t len = 0;
        if (kp_file_read(credentials->path, KP_CREDENTIALS_FILE_MAX, &text, &len, err) < 0)
            return -1;
        int parsed = kp_json_parse(&credentials->config, (struct kp_slice){text, len},
                                   KP_CREDENTIALS_FILE_MAX, credentials->path, err);
        explicit_bzero(text, len);
        if (parsed < 0)
            return -1;
    }
    credentials->loaded = true;
    return 0;
}

/* Docker writes the Hub as the URL of its old index, and others now and then with a scheme. */
static json_t *find_registry(const json_t *map, const char *registry)
{
    json_t *found = json_object_get(map, registry);
    if (!found && strcmp(registry, "docker.io") == 0) {
        found = json_object_get(map, "https://index.docker.io/v1/");
        found = found ? found : json_object_get(map, "index.docker.io");
    }
    if (!found) {
        kp_auto_free char *url = kp_asprintf("https://%s", registry);
        found = json_object_get(map, url);
    }
    return found;
}

static const char *helper_address(const char *registry)
{
    return strcmp(registry, "docker.io") == 0 ? "https://index.docker.io/v1/" : registry;
}

static bool is_helper_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t len = strlen(name);
    return len && len <= HELPER_NAME_MAX && strspn(name, allowed) == len && name[0] != '.';
}

static void take(struct kp_credential *out, const char *username, const char *password)
{
    /* The name that marks a refresh token in Docker's credential helper protocol. */
    if (strcmp(username, "<token>") == 0)
        out->identity = kp_strdup(password);
    else
        out->password = kp_strdup(password);
    out->username = kp_strdup(username);
}

static int parse_helper_answer(const char *program, const struct kp_buf *answer,
                               struct kp_credential *out, struct kp_err *err)
{
    kp_auto_json document = NULL;
    if (kp_json_parse(&document, kp_buf_slice(answer), KP_SECRET_MAX, program, err) < 0)
        return kp_fail(err, KP_FAILED, "%s: its answer is not JSON", program);
    const char *username = json_string_value(json_object_get(document, "Username"));
    const char *secret = json_string_value(json_object_get(document, "Secret"));
    if (!username || !secret)
        return kp_fail(err, KP_FAILED, "%s: its answer lacks Username or Secret", program);
    take(out, username, secret);
    return 0;
}

static int ask_helper(const char *name, const char *registry, struct kp_credential *out,
                      struct kp_err *err)
{
    if (!is_helper_name(name))
        return kp_fail(err, KP_USAGE, "docker config.json: '%s' is no name of a credential helper",
                       name);
    kp_auto_free char *program = kp_asprintf("docker-credential-%s", name);
    const char *argv[] = {program, "get", NULL};
    kp_auto_value(kp_buf) answer = KP_BUF_SECRET(KP_SECRET_MAX);
    kp_auto_value(kp_buf) complaint = KP_BUF(4096);
    int status = 0;
    if (kp_proc_run(argv, NULL, kp_slice_of(helper_address(registry)), HELPER_SECONDS,
                    KP_SECRET_MAX, &answer, &complaint, &status, err) < 0)
        return kp_wrap(err, "credentials for %s", registry);
    if (status == 0)
        return parse_helper_answer(program, &answer, out, err);
    if (answer.len && strstr(answer.data, "credentials not found"))
        return 0;
    struct kp_slice said =
        kp_slice_trim(complaint.len ? kp_buf_slice(&complaint) : kp_buf_slice(&answer));
    kp_fail(err, KP_FAILED, "credentials for %s: %s get failed (exit %d): %.*s", registry, program,
            status, (int)said.len, said.ptr);
    return kp_hint(err, "log in again, or take the helper out of docker's config.json");
}

static int take_entry(const char *path, const char *registry, const json_t *entry,
                      struct kp_credential *out, struct kp_err *err)
{
    const char *identity = json_string_value(json_object_get(entry, "identitytoken"));
    const char *packed = json_string_value(json_object_get(entry, "auth"));
    const char *username = json_string_value(json_object_get(entry, "username"));
    const char *password = json_string_value(json_object_get(entry, "password"));
    if (identity && *identity) {
        take(out, "<token>", identity);
        return 0;
    }
    if (username && password) {
        take(out, username, password);
        return 0;
    }
    if (!packed || !*packed)
        return 0; // docker login through a helper leaves empty entries
    char *plain = NULL;
    size_t len = 0;
    if (!kp_base64_parse(kp_slice_of(packed), &plain, &len))
        return kp_fail(err, KP_USAGE, "%s: auths[%s].auth is not Base64", path, registry);
    char *colon = memchr(plain, ':', len);
    int result = 0;
    if (colon) {
        *colon = '\0';
        take(out, plain, colon + 1);
    } else {
        result = kp_fail(err, KP_USAGE, "%s: auths[%s].auth is not user:password", path, registry);
    }
    kp_free_secret(plain, len);
    return result;
}

int kp_credentials_find(struct kp_credentials *credentials, const char *registry,
                        struct kp_credential *out, struct kp_err *err)
{
    kp_auto_value(kp_credential) found = {0};
    if (load(credentials, err) < 0)
        return -1;
    const json_t *config = credentials->config;
    const char *helper =
        json_string_value(find_registry(json_object_get(config, "credHelpers"), registry));
    const json_t *entry = find_registry(json_object_get(config, "auths"), registry);
    if (!helper)
        helper = json_string_value(json_object_get(config, "credsStore"));
    int result = 0;
    if (helper && *helper)
        result = ask_helper(helper, registry, &found, err);
    if (result == 0 && !found.username && entry)
        result = take_entry(credentials->path, registry, entry, &found, err);
    if (result < 0)
        return -1;
    *out = found;
    found = (struct kp_credential){0};
    return 0;
}
