/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/report.h"

json_t *kp_bundle_signers_json(const struct kp_signers *signers)
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
