/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/commands.h"

int kp_load_trust(struct kp_trust **out, const struct kp_text_list *keys, struct kp_err *err)
{
    kp_auto(kp_trust) trust = kp_trust_new();
    if (kp_trust_add_default(trust, err) < 0)
        return -1;
    for (size_t i = 0; i < keys->count; i++)
        if (kp_trust_add_file(trust, keys->items[i], err) < 0)
            return kp_wrap(err, "--key");
    *out = kp_steal(&trust);
    return 0;
}

int kp_open_trusted(struct kp_bundle **out, const char *path, const struct kp_text_list *keys,
                    struct kp_trust **trust, struct kp_signers *signers, struct kp_err *err)
{
    if (kp_load_trust(trust, keys, err) < 0)
        return -1;
    return kp_bundle_open(out, path, *trust, signers, err);
}

void kp_signers_text(const struct kp_signers *signers, struct kp_buf *buf)
{
    for (size_t i = 0; i < signers->count; i++) {
        const struct kp_signer *signer = &signers->items[i];
        struct kp_digest_text id = kp_digest_hex(&signer->key_id);
        kp_buf_addf(buf, "%s%s (key %.4s…%s)", i ? ", " : "",
                    signer->name ? signer->name : "an unknown key, unchecked", id.hex, id.hex + 60);
    }
}

json_t *kp_signers_json(const struct kp_signers *signers)
{
    json_t *out = json_array();
    for (size_t i = 0; i < signers->count; i++) {
        const struct kp_signer *signer = &signers->items[i];
        json_t *item = json_object();
        json_object_set_new(item, "key", json_string(kp_digest_hex(&signer->key_id).hex));
        json_object_set_new(item, "name", signer->name ? json_string(signer->name) : json_null());
        json_object_set_new(item, "state", json_string(kp_signature_state_text(signer->state)));
        json_array_append_new(out, item);
    }
    return out;
}
