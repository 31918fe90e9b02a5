/* SPDX-License-Identifier: Apache-2.0 */
#include "core/hash.h"

#include <criterion/criterion.h>
#include <sys/random.h>

#define SIZE_MAX_TRIED ((size_t)1 << 20)

/* Against OpenSSL's, fed in pieces of step bytes. */
static void try_pair(struct kp_hash_pair *pair, const uint8_t *a, const uint8_t *b, size_t len,
                     size_t step)
{
    struct kp_digest seen[2], wanted[2];
    for (size_t at = 0; at < len; at += step)
        kp_hash_pair_update(pair, a + at, b + at, len - at < step ? len - at : step);
    kp_hash_pair_finish(pair, &seen[0], &seen[1]);
    kp_sha256(a, len, &wanted[0]);
    kp_sha256(b, len, &wanted[1]);
    for (int i = 0; i < 2; i++)
        cr_assert(kp_digest_equal(&seen[i], &wanted[i]), "message %d of %zu bytes by %zu: %s", i,
                  len, step, kp_digest_hex(&seen[i]).hex);
}

Test(hash_pair, as_openssl)
{
    static const size_t sizes[] = {0, 64, 128, 192, 4096, 131072, SIZE_MAX_TRIED};
    static const size_t steps[] = {64, 128, 131072, SIZE_MAX_TRIED};
    uint8_t *data = kp_alloc(2 * SIZE_MAX_TRIED + 2);
    for (size_t at = 0; at < 2 * SIZE_MAX_TRIED; at += 256)
        cr_assert_eq(getrandom(data + at, 256, 0), 256);
    for (int plain = 0; plain < 2; plain++) {
        struct kp_hash_pair *pair = kp_hash_pair_new(plain != 0);
        for (size_t i = 0; i < KP_COUNT(sizes); i++)
            for (size_t j = 0; j < KP_COUNT(steps); j++)
                for (size_t odd = 0; odd < 2; odd++) // no alignment is asked for
                    try_pair(pair, data + odd, data + SIZE_MAX_TRIED + 1, sizes[i], steps[j]);
        kp_hash_pair_free(pair);
    }
    kp_free(data);
}

/* One differing bit in any word of either message is seen. */
Test(hash_pair, every_word_counts)
{
    uint8_t a[256] = {0}, b[256] = {0};
    struct kp_hash_pair *pair = kp_hash_pair_new(false);
    for (size_t i = 0; i < sizeof(a); i++) {
        a[i] ^= 1;
        try_pair(pair, a, b, sizeof(a), sizeof(a));
        try_pair(pair, b, a, sizeof(a), 64);
        a[i] ^= 1;
    }
    kp_hash_pair_free(pair);
}
