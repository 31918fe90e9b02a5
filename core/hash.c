/* SPDX-License-Identifier: Apache-2.0 */
#include "core/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_BLOCK ((size_t)1 << 20)

struct kp_hash {
    EVP_MD_CTX *ctx;
};

static EVP_MD *sha256_method(void)
{
    static EVP_MD *method;
    EVP_MD *have = __atomic_load_n(&method, __ATOMIC_ACQUIRE);
    if (have)
        return have;
    EVP_MD *fetched = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!fetched)
        abort(); // no SHA-256 in libcrypto: nothing of ours can work
    if (__atomic_compare_exchange_n(&method, &have, fetched, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return fetched;
    EVP_MD_free(fetched);
    return have;
}

static void require(int ok)
{
    if (ok != 1)
        abort();
}

bool kp_digest_equal(const struct kp_digest *a, const struct kp_digest *b)
{
    return CRYPTO_memcmp(a->bytes, b->bytes, KP_SHA256_LEN) == 0;
}

struct kp_digest_text kp_digest_hex(const struct kp_digest *digest)
{
    struct kp_digest_text text;
    kp_hex(text.hex, digest->bytes, KP_SHA256_LEN);
    return text;
}

bool kp_digest_parse(struct kp_slice text, struct kp_digest *out)
{
    if (kp_slice_starts(text, "sha256:")) {
        text.ptr += 7;
        text.len -= 7;
    }
    return kp_parse_hex(text, out->bytes, KP_SHA256_LEN);
}

void kp_sha256(const void *data, size_t len, struct kp_digest *out)
{
    require(EVP_Digest(data, len, out->bytes, NULL, sha256_method(), NULL));
}

struct kp_hash *kp_hash_new(void)
{
    struct kp_hash *hash = kp_alloc(sizeof(*hash));
    hash->ctx = EVP_MD_CTX_new();
    require(hash->ctx != NULL);
    require(EVP_DigestInit_ex2(hash->ctx, sha256_method(), NULL));
    return hash;
}

void kp_hash_free(struct kp_hash *hash)
{
    if (!hash)
        return;
    EVP_MD_CTX_free(hash->ctx);
    kp_free(hash);
}

void kp_hash_update(struct kp_hash *hash, const void *data, size_t len)
{
    require(EVP_DigestUpdate(hash->ctx, data, len));
}

void kp_hash_finish(struct kp_hash *hash, struct kp_digest *out)
{
    require(EVP_DigestFinal_ex(hash->ctx, out->bytes, NULL));
    require(EVP_DigestInit_ex2(hash->ctx, sha256_method(), NULL));
}

struct kp_hash *kp_hash_copy(const struct kp_hash *hash)
{
    struct kp_hash *copy = kp_hash_new();
    require(EVP_MD_CTX_copy_ex(copy->ctx, hash->ctx));
    return copy;
}

int kp_sha256_fd(int fd, struct kp_digest *out, uint64_t *size, struct kp_err *err)
{
    kp_auto_free char *block = kp_alloc(READ_BLOCK);
    kp_auto(kp_hash) hash = kp_hash_new();
    uint64_t total = 0;
    for (;;) {
        ssize_t n = read(fd, block, READ_BLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kp_fail_sys(err, errno, "read");
        if (n == 0)
            break;
        kp_hash_update(hash, block, (size_t)n);
        total += (uint64_t)n;
    }
    kp_hash_finish(hash, out);
    if (size)
        *size = total;
    return 0;
}

int kp_sha256_file(const char *path, struct kp_digest *out, uint64_t *size, struct kp_err *err)
{
    kp_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kp_fail_sys(err, errno, "open %s", path);
    if (kp_sha256_fd(fd, out, size, err) < 0)
        return kp_wrap(err, "%s", path);
    return 0;
}

void kp_hmac_sha256(struct kp_slice key, struct kp_slice data, struct kp_digest *out)
{
    unsigned len = 0;
    const unsigned char *mac = HMAC(EVP_sha256(), key.ptr, (int)key.len,
                                    (const unsigned char *)data.ptr, data.len, out->bytes, &len);
    require(mac != NULL && len == KP_SHA256_LEN);
}
