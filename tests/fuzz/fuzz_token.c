/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a token server's answer: refused with a word, or a token that fits one header line.
 */
#include "pack/oci_auth.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_slice text = {(const char *)data, size};
    const char *token = NULL;
    struct kp_err err = KP_ERR_INIT;
    if (kp_token_parse(&token, arena, text, "https://a.io/token", "a.io", &err) < 0) {
        if (token || !err.message[0] || err.code == KP_OK)
            abort();
        return 0;
    }
    if (!token || !*token || strlen(token) > KP_TOKEN_MAX)
        abort();
    for (const char *p = token; *p; p++)
        if (*p < ' ' || *p > '~')
            abort();
    return 0;
}
