/* SPDX-License-Identifier: Apache-2.0 */
#include "install/resumable.h"

#include "core/file.h"
#include "install/steps/common.h"

#include <errno.h>
#include <unistd.h>

#define DOCUMENT_MAX ((size_t)4096)

int kp_resumable_read(json_t **out, const struct kp_site *site, const char *name,
                      struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(site->state_folder, name);
    kp_auto_free char *text = NULL;
    size_t len;
    *out = NULL;
    if (!kp_file_exists(path))
        return 0;
    if (kp_file_read(path, DOCUMENT_MAX, &text, &len, err) < 0)
        return -1;
    return kp_json_parse(out, (struct kp_slice){text, len}, DOCUMENT_MAX, path, err);
}

bool kp_resumable_text(const json_t *document, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(document, key));
    if (!text || strlen(text) >= size)
        return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

int kp_resumable_keep(const struct kp_site *site, const char *name, const json_t *document,
                      struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(site->state_folder, name);
    kp_auto_free char *text = kp_json_dump(document, false);
    return kp_file_write_atomic(path, kp_slice_of(text), 0600, err);
}

int kp_resumable_end(const struct kp_site *site, const char *name, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(site->state_folder, name);
    if (unlink(path) < 0 && errno != ENOENT)
        return kp_fail_sys(err, errno, "remove %s", path);
    return 0;
}

int kp_resumable_done(struct kp_site *site, struct kp_site_node *node, const char *step,
                      const char *id, bool *done, struct kp_err *err)
{
    bool begun, finished;
    if (kp_recorded(site, node, step, &begun, &finished, err) < 0)
        return -1;
    const char *by =
        json_string_value(json_object_get(json_object_get(node->record, "finished"), step));
    *done = finished && by && strcmp(by, id) == 0;
    return 0;
}

int kp_resumable_mark(struct kp_site *site, struct kp_site_node *node, const char *step,
                      const char *id, bool finished, struct kp_err *err)
{
    return kp_session_mark(node->session, site->inventory->cluster, step, finished,
                           finished ? id : NULL, err);
}
