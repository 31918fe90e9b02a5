/* SPDX-License-Identifier: Apache-2.0 */
/* What an audit finds beside the files that were placed: whom a node trusts, and strange bundles.
 */
#include "bundle/trust_list.h"
#include "core/file.h"
#include "install/audit/audit.h"

#include <errno.h>
#include <fcntl.h>

static bool is_list(const char *name)
{
    return kp_starts_with(name, "trust.") && kp_ends_with(name, ".json");
}

/* Their signatures were checked by the node, which believes no list without them. */
static bool needs_no_look(const char *name)
{
    return strcmp(name, "revoked.json") == 0 ||
           (kp_starts_with(name, "trust.") && kp_ends_with(name, ".sig"));
}

static int hash_file(const char *path, struct kp_digest *out, struct kp_err *err)
{
    uint64_t size;
    kp_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? kp_fail_sys(err, errno, "open %s", path) : kp_sha256_fd(fd, out, &size, err);
}

static int judge_list(json_t *list, const struct kp_trust *trust, const json_t *file,
                      struct kp_err *err)
{
    const char *path = kp_json_string(file, "path"), *folder = kp_trust_list_folder(trust);
    kp_auto_free char *ours = folder ? kp_path_join(folder, kp_path_base(path)) : NULL;
    struct kp_digest digest;
    if (!ours || !kp_file_exists(ours)) {
        kp_audit_differ(list, "extra", path, "is a trust list that the site does not have");
        return 0;
    }
    if (hash_file(ours, &digest, err) < 0)
        return -1;
    if (strcmp(kp_digest_hex(&digest).hex, kp_json_string(file, "sha256")) != 0)
        kp_audit_differ(list, "changed", path, "is another trust list than the site's");
    return 0;
}

static size_t find_key(const struct kp_trust *trust, const char *name)
{
    size_t i = 0;
    while (i < kp_trust_count(trust)) {
        struct kp_digest_text id = kp_digest_hex(&kp_trust_at(trust, i)->id);
        if (kp_starts_with(name, id.hex) && strcmp(name + KP_SHA256_HEX, ".pub") == 0)
            break;
        i++;
    }
    return i;
}

static void judge_key(json_t *list, const struct kp_trust *trust, const json_t *file)
{
    const char *path = kp_json_string(file, "path");
    size_t i = find_key(trust, kp_path_base(path));
    struct kp_digest digest;
    if (i == kp_trust_count(trust)) {
        kp_audit_differ(list, "extra", path, "the node trusts it, the site does not");
        return;
    }
    kp_auto_free char *pem = kp_trust_pem(trust, i);
    kp_sha256(pem, strlen(pem), &digest);
    if (strcmp(kp_digest_hex(&digest).hex, kp_json_string(file, "sha256")) != 0)
        kp_audit_differ(list, "changed", path, "is not the key that its name says");
}

int kp_audit_keys(json_t *list, const struct kp_trust *trust, const json_t *found,
                  struct kp_err *err)
{
    bool listed = false;
    size_t i;
    const json_t *file;
    json_array_foreach(found, i, file)
    {
        const char *name = kp_path_base(kp_json_string(file, "path"));
        listed = listed || is_list(name);
        if (is_list(name) && judge_list(list, trust, file, err) < 0)
            return -1;
    }
    json_array_foreach(found, i, file)
    {
        const char *path = kp_json_string(file, "path"), *name = kp_path_base(path);
        bool key = kp_ends_with(name, ".pub") || kp_ends_with(name, ".pem");
        if (is_list(name) || needs_no_look(name) || (key && listed))
            continue;
        if (key)
            judge_key(list, trust, file);
        else
            kp_audit_differ(list, "extra", path, "was not placed by kinstall");
    }
    return 0;
}

static bool was_sent(const json_t *files, const char *path)
{
    static const char *const marks[] = {".verified", ".partial"};
    if (json_object_get(files, path))
        return true;
    for (size_t i = 0; i < KP_COUNT(marks); i++) {
        kp_auto_free char *whole = kp_strdup(path);
        if (!kp_ends_with(path, marks[i]))
            continue;
        whole[strlen(path) - strlen(marks[i])] = '\0';
        if (json_object_get(files, whole))
            return true;
    }
    return false;
}

void kp_audit_stray_bundles(json_t *list, const char *folder, const json_t *files,
                            const json_t *entries)
{
    size_t i, len = strlen(folder);
    const json_t *entry;
    json_array_foreach(entries, i, entry)
    {
        const char *path = kp_json_string(entry, "path");
        if (strncmp(path, folder, len) == 0 && path[len] == '/' && !was_sent(files, path))
            kp_audit_differ(list, "extra", path, "was not sent there by kinstall");
    }
}
