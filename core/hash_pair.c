/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One SHA-256 is a chain in which each step waits for the last, so that a core's SHA unit idles
 * half the time; a second message fills the gaps. FIPS 180-4 with the SHA extensions of x86.
 */
#include "core/hash.h"

#include <stdlib.h>

#define BLOCK 64 /* bytes of a message that one compression takes */

struct kp_hash_pair {
    struct kp_hash *plain[2]; /* NULL: the instructions are used */
    uint32_t state[2][8];
    uint64_t len; /* of each message */
};

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define LANES __attribute__((target("sha,sse4.1")))

static const uint32_t constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static bool has_instructions(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

/* One message's part of the work: the state as the instructions want it, and 16 words. */
struct lane {
    __m128i abef, cdgh;
    __m128i words[4];
};

LANES static inline void lane_load(struct lane *lane, const uint32_t state[8])
{
    __m128i low = _mm_loadu_si128((const __m128i *)state);        // d c b a
    __m128i high = _mm_loadu_si128((const __m128i *)(state + 4)); // h g f e
    low = _mm_shuffle_epi32(low, 0xB1);
    high = _mm_shuffle_epi32(high, 0x1B);
    lane->abef = _mm_alignr_epi8(low, high, 8);
    lane->cdgh = _mm_blend_epi16(high, low, 0xF0);
}

LANES static inline void lane_store(const struct lane *lane, uint32_t state[8])
{
    __m128i feba = _mm_shuffle_epi32(lane->abef, 0x1B), dchg = _mm_shuffle_epi32(lane->cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

LANES static inline void lane_words(struct lane *lane, const uint8_t *block)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    for (int i = 0; i < 4; i++)
        lane->words[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)block + i), big_endian);
}

/* Rounds 4i … 4i+3. The words of rounds to come take the place of those that are used up. */
LANES static inline void lane_rounds(struct lane *lane, int i)
{
    __m128i *w = lane->words;
    __m128i now = w[i & 3], *next = &w[(i + 1) & 3], *last = &w[(i - 1) & 3];
    __m128i sum = _mm_add_epi32(now, _mm_load_si128((const __m128i *)constants + i));
    lane->cdgh = _mm_sha256rnds2_epu32(lane->cdgh, lane->abef, sum);
    if (i >= 3 && i < 15)
        *next = _mm_sha256msg2_epu32(_mm_add_epi32(*next, _mm_alignr_epi8(now, *last, 4)), now);
    lane->abef = _mm_sha256rnds2_epu32(lane->abef, lane->cdgh, _mm_shuffle_epi32(sum, 0x0E));
    if (i >= 1 && i < 13)
        *last = _mm_sha256msg1_epu32(*last, now);
}

LANES static void compress(uint32_t state[2][8], const uint8_t *a, const uint8_t *b, size_t blocks)
{
    struct lane x, y;
    lane_load(&x, state[0]);
    lane_load(&y, state[1]);
    for (; blocks; blocks--, a += BLOCK, b += BLOCK) {
        __m128i before[] = {x.abef, x.cdgh, y.abef, y.cdgh};
        lane_words(&x, a);
        lane_words(&y, b);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            lane_rounds(&x, i);
            lane_rounds(&y, i);
        }
        x.abef = _mm_add_epi32(x.abef, before[0]);
        x.cdgh = _mm_add_epi32(x.cdgh, before[1]);
        y.abef = _mm_add_epi32(y.abef, before[2]);
        y.cdgh = _mm_add_epi32(y.cdgh, before[3]);
    }
    lane_store(&x, state[0]);
    lane_store(&y, state[1]);
}
#else
static bool has_instructions(void)
{
    return false;
}

static void compress(uint32_t state[2][8], const uint8_t *a, const uint8_t *b, size_t blocks)
{
    (void)state, (void)a, (void)b, (void)blocks;
    abort(); // never without has_instructions()
}
#endif

static void begin(struct kp_hash_pair *pair)
{
    static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(pair->state[0], first, sizeof(first));
    memcpy(pair->state[1], first, sizeof(first));
    pair->len = 0;
}

struct kp_hash_pair *kp_hash_pair_new(bool plain)
{
    struct kp_hash_pair *pair = kp_alloc(sizeof(*pair));
    for (int i = 0; i < 2 && (plain || !has_instructions()); i++)
        pair->plain[i] = kp_hash_new();
    begin(pair);
    return pair;
}

void kp_hash_pair_free(struct kp_hash_pair *pair)
{
    if (!pair)
        return;
    kp_hash_free(pair->plain[0]);
    kp_hash_free(pair->plain[1]);
    kp_free(pair);
}

void kp_hash_pair_update(struct kp_hash_pair *pair, const void *a, const void *b, size_t len)
{
    if (len % BLOCK)
        abort(); // the caller's contract
    if (pair->plain[0]) {
        kp_hash_update(pair->plain[0], a, len);
        kp_hash_update(pair->plain[1], b, len);
        return;
    }
    compress(pair->state, a, b, len / BLOCK);
    pair->len += len;
}

static void put_digest(struct kp_digest *out, const uint32_t state[8])
{
    for (size_t i = 0; i < KP_SHA256_LEN; i++)
        out->bytes[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

void kp_hash_pair_finish(struct kp_hash_pair *pair, struct kp_digest *a, struct kp_digest *b)
{
    if (pair->plain[0]) {
        kp_hash_finish(pair->plain[0], a);
        kp_hash_finish(pair->plain[1], b);
        return;
    }
    uint8_t end[BLOCK] = {0x80};
    for (int i = 0; i < 8; i++)
        end[BLOCK - 1 - i] = (uint8_t)(pair->len * 8 >> 8 * i);
    compress(pair->state, end, end, 1);
    put_digest(a, pair->state[0]);
    put_digest(b, pair->state[1]);
    begin(pair);
}
