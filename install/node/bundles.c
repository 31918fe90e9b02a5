/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Op bundles: which bundles lie in a folder of this node, and the exact bytes of one's bundle.json.
 * A file counts where its name is the id of what is in it and knode has verified it when it came:
 * mirrors serve it, and a delta may stand on it. Asks only, so no bundle need be accepted first.
 */
#include "install/node/node.h"

#include "bundle/bundle.h"
#include "core/file.h"

#include <dirent.h>
#include <errno.h>

#define SUFFIX ".tar.zst"
#define MARK ".verified" /* put there by op receive */
#define BUNDLES_MAX 64

static bool id_of(const char *name, struct kp_digest *id)
{
    size_t len = strlen(name);
    return len == KP_SHA256_HEX + strlen(SUFFIX) && kp_ends_with(name, SUFFIX) &&
           kp_digest_parse((struct kp_slice){name, KP_SHA256_HEX}, id);
}

static bool open_named(struct kp_bundle **out, const char *folder, const char *name)
{
    struct kp_digest id;
    struct kp_err ignored;
    kp_auto_free char *path = kp_path_join(folder, name);
    kp_auto_free char *mark = kp_asprintf("%s" MARK, path);
    return id_of(name, &id) && kp_file_exists(mark) &&
           kp_bundle_open_id(out, path, &id, &ignored) == 0;
}

static int list(const char *folder, json_t *out, struct kp_err *err)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return errno == ENOENT ? 0 : kp_fail_sys(err, errno, "open %s", folder);
    for (const struct dirent *item; (item = readdir(dir)) && json_array_size(out) < BUNDLES_MAX;) {
        kp_auto(kp_bundle) bundle = NULL;
        if (!open_named(&bundle, folder, item->d_name))
            continue;
        const struct kp_manifest *m = kp_bundle_manifest(bundle);
        json_array_append_new(out,
                              json_pack("{s:s, s:s, s:I, s:I}", "id", kp_digest_hex(&m->id).hex,
                                        "name", m->name, "serial", (json_int_t)m->serial, "size",
                                        (json_int_t)kp_bundle_size(bundle)));
    }
    closedir(dir);
    return 0;
}

static int send_manifest(struct kp_node_request *request, const char *folder, const char *id,
                         json_t **result, struct kp_err *err)
{
    kp_auto(kp_bundle) bundle = NULL;
    kp_auto_free char *name = kp_asprintf("%s" SUFFIX, id);
    if (!open_named(&bundle, folder, name))
        return kp_fail_as(err, KP_MISSING, "missing_bundle", "bundle %s is not here", id);
    struct kp_slice text = kp_bundle_manifest_bytes(bundle);
    *result = json_pack("{s:I}", "size", (json_int_t)text.len);
    return kp_node_write(request, 0, text.ptr, text.len, err);
}

int kp_node_op_bundles(struct kp_node_request *request, const json_t *args, json_t **result,
                       struct kp_err *err)
{
    const char *path, *id;
    if (kp_node_path(args, "folder", &path, err) < 0)
        return -1;
    kp_auto_free char *folder = kp_node_own(kp_node_request_state(request), path);
    if (json_object_get(args, "id"))
        return kp_node_text(args, "id", KP_SHA256_HEX, &id, err) < 0
                   ? -1
                   : send_manifest(request, folder, id, result, err);
    kp_auto_json found = json_array();
    if (list(folder, found, err) < 0)
        return -1;
    *result = json_pack("{s:O}", "bundles", found);
    return 0;
}
