/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle/sign.h"

#include "bundle/names.h"
#include "bundle/spki.h"
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCRYPT_N 16384
#define SCRYPT_R 8
#define SCRYPT_P 5

struct kp_key {
    EVP_PKEY *pkey; /* NULL: elsewhere */
    struct kp_key_elsewhere elsewhere;
    uint8_t public_key[KP_ED25519_KEY];
    struct kp_digest id;
};

static int take_pkey(struct kp_key **out, EVP_PKEY *pkey, struct kp_err *err)
{
    kp_auto(kp_key) key = kp_alloc(sizeof(*key));
    size_t len = KP_ED25519_KEY;
    key->pkey = pkey;
    if (!EVP_PKEY_is_a(pkey, "ED25519"))
        return kp_fail(err, KP_USAGE, "a key of type %s; an Ed25519 key is needed (kpack keygen)",
                       EVP_PKEY_get0_type_name(pkey));
    if (EVP_PKEY_get_raw_public_key(pkey, key->public_key, &len) != 1 || len != KP_ED25519_KEY)
        return kp_fail(err, KP_USAGE, "not a usable Ed25519 key: %s", kp_crypto_error().s);
    kp_spki_id(key->public_key, &key->id);
    *out = kp_steal(&key);
    return 0;
}

static int write_new(const char *path, const void *data, size_t len, mode_t mode,
                     struct kp_err *err)
{
    kp_auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0 && errno == EEXIST)
        return kp_fail(err, KP_USAGE, "%s is there already; a key is never overwritten", path);
    if (fd < 0)
        return kp_fail_sys(err, errno, "create %s", path);
    if (kp_write_full(fd, data, len, err) == 0 &&
        ((fchmod(fd, mode) == 0 && fsync(fd) == 0) || kp_fail_sys(err, errno, "write") == 0))
        return 0;
    (void)unlink(path);
    return kp_wrap(err, "%s", path);
}

/* scrypt rather than what PEM_write_bio_PKCS8PrivateKey does: PBKDF2 with 2048 rounds. */
static X509_SIG *encrypt_key(EVP_PKEY *pkey, const char *passphrase)
{
    PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(pkey);
    X509_ALGOR *how =
        PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), NULL, 0, NULL, SCRYPT_N, SCRYPT_R, SCRYPT_P);
    X509_SIG *out =
        plain && how ? PKCS8_set0_pbe(passphrase, (int)strlen(passphrase), plain, how) : NULL;
    if (!out)
        X509_ALGOR_free(how); // else it is the result's
    PKCS8_PRIV_KEY_INFO_free(plain);
    return out;
}

static bool put_private(BIO *bio, EVP_PKEY *pkey, const char *passphrase)
{
    if (!passphrase)
        return PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1;
    X509_SIG *encrypted = encrypt_key(pkey, passphrase);
    bool good = encrypted && PEM_write_bio_PKCS8(bio, encrypted) == 1;
    X509_SIG_free(encrypted);
    return good;
}

static int write_private(const char *path, EVP_PKEY *pkey, const char *passphrase,
                         struct kp_err *err)
{
    char *text = NULL;
    BIO *bio = BIO_new(BIO_s_secmem());
    int result = -1;
    if (bio && put_private(bio, pkey, passphrase)) {
        long len = BIO_get_mem_data(bio, &text);
        result = write_new(path, text, (size_t)len, 0600, err);
    } else {
        kp_fail(err, KP_FAILED, "private key: %s", kp_crypto_error().s);
    }
    BIO_free(bio);
    return result;
}

static int write_pair(const char *private_path, const char *public_path, const struct kp_key *key,
                      const char *passphrase, struct kp_err *err)
{
    kp_auto_free char *pem = kp_spki_pem(key->public_key);
    if (kp_file_exists(public_path))
        return kp_fail(err, KP_USAGE, "%s is there already; a key is never overwritten",
                       public_path);
    if (write_private(private_path, key->pkey, passphrase, err) < 0)
        return -1;
    if (write_new(public_path, pem, strlen(pem), 0644, err) < 0) {
        (void)unlink(private_path);
        return -1;
    }
    return kp_sync_parent(private_path, err);
}

int kp_key_generate_encrypted(const char *folder, const char *name, const char *passphrase,
                              struct kp_digest *id, struct kp_err *err)
{
    kp_auto(kp_key) key = NULL;
    if (!kp_name_ok(name))
        return kp_fail(err, KP_USAGE, "key name \"%s\": letters, digits and . _ + - are allowed",
                       name);
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (!pkey)
        return kp_fail(err, KP_FAILED, "make an Ed25519 key: %s", kp_crypto_error().s);
    if (take_pkey(&key, pkey, err) < 0 || kp_mkdirs(folder, 0700, err) < 0)
        return -1;
    kp_auto_free char *base = kp_path_join(folder, name);
    kp_auto_free char *private_path = kp_asprintf("%s.key", base);
    kp_auto_free char *public_path = kp_asprintf("%s.pub", base);
    if (write_pair(private_path, public_path, key, passphrase, err) < 0)
        return -1;
    *id = key->id;
    return 0;
}

int kp_key_generate(const char *folder, const char *name, struct kp_digest *id, struct kp_err *err)
{
    return kp_key_generate_encrypted(folder, name, NULL, id, err);
}

struct passphrase {
    const char *text;
    bool asked;
};

static int give_passphrase(char *out, int size, int writing, void *user)
{
    struct passphrase *passphrase = user;
    (void)writing;
    passphrase->asked = true;
    size_t len = passphrase->text ? strlen(passphrase->text) : 0;
    if (!passphrase->text || len > (size_t)size)
        return -1;
    memcpy(out, passphrase->text, len);
    return (int)len;
}

static int no_key(const struct passphrase *passphrase, struct kp_err *err)
{
    struct kp_crypto_text text = kp_crypto_error();
    if (passphrase->asked && !passphrase->text)
        return kp_fail_as(err, KP_USAGE, "key_encrypted",
                          "the key is encrypted and no passphrase was given");
    if (passphrase->asked)
        return kp_fail_as(err, KP_USAGE, "wrong_passphrase",
                          "the passphrase does not open the key");
    return kp_fail(err, KP_USAGE, "not a PEM private key%s%s", text.s[0] ? ": " : "", text.s);
}

int kp_key_load(struct kp_key **out, const char *path, const char *passphrase, struct kp_err *err)
{
    struct passphrase given = {.text = passphrase};
    char *pem = NULL;
    size_t len;
    if (kp_file_read(path, KP_KEY_FILE_MAX, &pem, &len, err) < 0) {
        if (err)
            err->code = KP_USAGE;
        return -1;
    }
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, &given) : NULL;
    BIO_free(bio);
    kp_free_secret(pem, len);
    if ((pkey ? take_pkey(out, pkey, err) : no_key(&given, err)) < 0)
        return kp_wrap(err, "private key %s", path);
    return 0;
}

void kp_key_free(struct kp_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey);
    if (key->elsewhere.release)
        key->elsewhere.release(key->elsewhere.user);
    kp_free(key);
}

struct kp_key *kp_key_from_elsewhere(const uint8_t public_key[KP_ED25519_KEY],
                                     const struct kp_key_elsewhere *elsewhere)
{
    struct kp_key *key = kp_alloc(sizeof(*key));
    memcpy(key->public_key, public_key, KP_ED25519_KEY);
    kp_spki_id(public_key, &key->id);
    key->elsewhere = *elsewhere;
    return key;
}

const struct kp_digest *kp_key_id(const struct kp_key *key)
{
    return &key->id;
}

char *kp_key_public_pem(const struct kp_key *key)
{
    return kp_spki_pem(key->public_key);
}

static int sign_elsewhere(const struct kp_key *key, struct kp_slice message,
                          struct kp_signature *out, struct kp_err *err)
{
    if (key->elsewhere.sign(key->elsewhere.user, message, out->bytes, err) < 0)
        return -1;
    if (!kp_spki_verify(key->public_key, message, out->bytes))
        return kp_fail_as(err, KP_FAILED, "bad_token",
                          "the token's signature does not fit its own public key");
    return 0;
}

static int sign_here(const struct kp_key *key, struct kp_slice message, struct kp_signature *out,
                     struct kp_err *err)
{
    kp_auto_md_ctx ctx = EVP_MD_CTX_new();
    size_t len = KP_ED25519_SIGNATURE;
    if (!ctx || EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->pkey) != 1 ||
        EVP_DigestSign(ctx, out->bytes, &len, (const unsigned char *)message.ptr, message.len) != 1)
        return kp_fail(err, KP_FAILED, "sign: %s", kp_crypto_error().s);
    return 0;
}

int kp_sign(const struct kp_key *key, struct kp_slice message, struct kp_signature *out,
            struct kp_err *err)
{
    out->key_id = key->id;
    return key->elsewhere.sign ? sign_elsewhere(key, message, out, err)
                               : sign_here(key, message, out, err);
}
