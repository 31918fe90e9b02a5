/* SPDX-License-Identifier: Apache-2.0 */
/* Any headers of an upstream: texts end where they should, challenges and realms hold no surprise.
 */
#include "pack/fetch_rules.h"
#include "pack/oci_auth.h"

#include <stdlib.h>

#define NOW ((time_t)1795467600)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_challenge(const char *lines)
{
    kp_auto(kp_arena) arena = kp_arena_new();
    struct kp_challenge challenge;
    kp_challenge_parse(&challenge, arena, lines);
    const char *host = kp_https_authority(arena, challenge.realm);
    if (strpbrk(host, "@/\\ ?#"))
        abort();
    if (kp_realm_may_have_credentials("a.io", host, NULL) && strncmp(host, "a.io", 4) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_reply reply = {0};
    struct kp_slice rest = {(const char *)data, size}, line;
    kp_reply_reset(&reply);
    while (kp_slice_line(&rest, &line) && kp_reply_header(&reply, line, NOW))
        ;
    if (strlen(reply.etag) >= sizeof(reply.etag) ||
        strlen(reply.location) >= sizeof(reply.location))
        abort();
    if (reply.challenge.len)
        check_challenge(reply.challenge.data);
    kp_auto_free char *shown = kp_url_shown(reply.location);
    if (strchr(shown, '?') || strchr(shown, '#'))
        abort();
    kp_reply_release(&reply);
    return 0;
}
