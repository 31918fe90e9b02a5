/* SPDX-License-Identifier: Apache-2.0 */
#include "install/previous.h"

#include "core/file.h"
#include "core/text.h"

#define FILE_NAME "previous"
#define LINE_LEN (KP_SHA256_LEN * 2 + 1)

int kp_previous_load(struct kp_previous *out, const char *state_folder, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(state_folder, FILE_NAME), *text = NULL;
    size_t len;
    out->count = 0;
    if (!kp_file_exists(path))
        return 0;
    if (kp_file_read(path, (size_t)KP_PREVIOUS_MAX * LINE_LEN, &text, &len, err) < 0)
        return -1;
    struct kp_slice rest = {text, len}, line;
    while (out->count < KP_PREVIOUS_MAX && kp_slice_line(&rest, &line))
        if (!kp_parse_hex(line, out->ids[out->count++].bytes, KP_SHA256_LEN))
            return kp_fail_as(err, KP_DAMAGED, "bad_document", "%s:%zu: not the id of a bundle",
                              path, out->count);
    return 0;
}

int kp_previous_keep(struct kp_previous *out, const char *state_folder,
                     const struct kp_manifest *manifest, struct kp_err *err)
{
    kp_auto_free char *path = kp_path_join(state_folder, FILE_NAME);
    kp_auto_value(kp_buf) text = KP_BUF((size_t)KP_PREVIOUS_MAX * LINE_LEN + 1);
    out->count = 0;
    out->ids[out->count++] = manifest->id;
    for (size_t i = 0; i < manifest->base_count; i++)
        out->ids[out->count++] = manifest->bases[i].id;
    for (size_t i = 0; i < out->count; i++)
        kp_buf_addf(&text, "%s\n", kp_digest_hex(&out->ids[i]).hex);
    return kp_file_write_atomic(path, kp_buf_slice(&text), 0600, err);
}
