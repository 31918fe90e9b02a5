/* SPDX-License-Identifier: Apache-2.0 */
#include "install/pki/pki.h"

#include "core/file.h"
#include "install/inventory/network.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#define DAY_S 86400L
#define YEAR_DAYS 365
#define SERIAL_BYTES 16

/* Local handles: OpenSSL's own free functions take NULL. */
#define AUTO_SSL(type, variable) __attribute__((cleanup(free_##type))) type *variable
static void free_X509(X509 **p)
{
    X509_free(*p);
}
static void free_EVP_PKEY(EVP_PKEY **p)
{
    EVP_PKEY_free(*p);
}
static void free_BIO(BIO **p)
{
    BIO_free_all(*p);
}

static int fail_ssl(struct kp_err *err, const char *what)
{
    char text[256] = "unknown";
    unsigned long code = ERR_peek_last_error();
    if (code)
        ERR_error_string_n(code, text, sizeof(text));
    ERR_clear_error();
    return kp_fail_as(err, KP_FAILED, "pki", "%s: %s", what, text);
}

void kp_pki_pair_release(struct kp_pki_pair *pair)
{
    kp_free(pair->certificate);
    if (pair->key)
        kp_free_secret(pair->key, strlen(pair->key));
    *pair = (struct kp_pki_pair){0};
}

static char *bio_text(BIO *bio)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    return kp_strndup(data, (size_t)len);
}

static int to_pem(struct kp_pki_pair *out, X509 *certificate, EVP_PKEY *key, struct kp_err *err)
{
    AUTO_SSL(BIO, c) = BIO_new(BIO_s_mem());
    AUTO_SSL(BIO, k) = BIO_new(BIO_s_secmem());
    if (!c || !k || PEM_write_bio_X509(c, certificate) != 1 ||
        PEM_write_bio_PKCS8PrivateKey(k, key, NULL, NULL, 0, NULL, NULL) != 1)
        return fail_ssl(err, "write a certificate");
    out->certificate = bio_text(c);
    out->key = bio_text(k);
    return 0;
}

static X509 *read_certificate(struct kp_slice pem)
{
    AUTO_SSL(BIO, bio) = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    return bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
}

static EVP_PKEY *read_key(const char *pem)
{
    AUTO_SSL(BIO, bio) = BIO_new_mem_buf(pem, -1);
    return bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
}

static int set_serial(X509 *certificate)
{
    unsigned char bytes[SERIAL_BYTES];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return 0;
    bytes[0] &= 0x7f; // positive (RFC 5280, 4.1.2.2)
    bytes[0] |= 0x40; // and never shorter
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    int ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return ok;
}

static int set_name(X509_NAME *name, const char *common_name)
{
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name,
                                      -1, -1, 0);
}

static int add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    int ok = extension && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

/* All that is the same for CA and leaf; not signed yet. */
static X509 *draft(const char *common_name, EVP_PKEY *key)
{
    X509 *c = X509_new();
    if (c && X509_set_version(c, X509_VERSION_3) && set_serial(c) &&
        X509_gmtime_adj(X509_getm_notBefore(c), -KP_PKI_BACKDATED_S) &&
        X509_time_adj_ex(X509_getm_notAfter(c), KP_PKI_YEARS * YEAR_DAYS, 0, NULL) &&
        set_name(X509_get_subject_name(c), common_name) && X509_set_pubkey(c, key))
        return c;
    X509_free(c);
    return NULL;
}

int kp_pki_make_ca(struct kp_pki_pair *out, const char *common_name, struct kp_err *err)
{
    AUTO_SSL(EVP_PKEY, key) = EVP_EC_gen("P-256");
    AUTO_SSL(X509, ca) = key ? draft(common_name, key) : NULL;
    if (!ca || !X509_set_issuer_name(ca, X509_get_subject_name(ca)) ||
        !add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        !add_extension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        !add_extension(ca, ca, NID_subject_key_identifier, "hash") ||
        !X509_sign(ca, key, EVP_sha256()))
        return fail_ssl(err, "make the site's CA");
    return to_pem(out, ca, key, err);
}

static char *san_text(const char *const *sans, size_t n)
{
    char *text = kp_strdup("");
    for (size_t i = 0; i < n; i++) {
        char *longer = kp_asprintf("%s%s%s:%s", text, i ? "," : "",
                                   kp_network_is_ip(sans[i]) ? "IP" : "DNS", sans[i]);
        kp_free(text);
        text = longer;
    }
    return text;
}

static const char *usage_of(unsigned use)
{
    if (use == (KP_PKI_SERVER | KP_PKI_CLIENT))
        return "serverAuth,clientAuth";
    return use == KP_PKI_CLIENT ? "clientAuth" : "serverAuth";
}

int kp_pki_issue(struct kp_pki_pair *out, const struct kp_pki_pair *ca, const char *common_name,
                 const char *const *sans, size_t n, struct kp_err *err)
{
    return kp_pki_issue_for(out, ca, common_name, KP_PKI_SERVER, sans, n, err);
}

int kp_pki_issue_for(struct kp_pki_pair *out, const struct kp_pki_pair *ca, const char *common_name,
                     unsigned use, const char *const *sans, size_t n, struct kp_err *err)
{
    if ((n == 0 && use != KP_PKI_CLIENT) || n > KP_PKI_SANS_MAX)
        return kp_fail(err, KP_USAGE, "a certificate needs 1 to %d names, not %zu", KP_PKI_SANS_MAX,
                       n);
    kp_auto_free char *names = san_text(sans, n);
    AUTO_SSL(X509, issuer) = read_certificate(kp_slice_of(ca->certificate));
    AUTO_SSL(EVP_PKEY, ca_key) = read_key(ca->key);
    AUTO_SSL(EVP_PKEY, key) = EVP_EC_gen("P-256");
    AUTO_SSL(X509, leaf) = key ? draft(common_name, key) : NULL;
    if (!issuer || !ca_key || !leaf || !X509_set_issuer_name(leaf, X509_get_subject_name(issuer)) ||
        !add_extension(leaf, issuer, NID_basic_constraints, "critical,CA:FALSE") ||
        !add_extension(leaf, issuer, NID_key_usage, "critical,digitalSignature") ||
        !add_extension(leaf, issuer, NID_ext_key_usage, usage_of(use)) ||
        !add_extension(leaf, issuer, NID_subject_key_identifier, "hash") ||
        !add_extension(leaf, issuer, NID_authority_key_identifier, "keyid:always") ||
        (n && !add_extension(leaf, issuer, NID_subject_alt_name, names)) ||
        !X509_sign(leaf, ca_key, EVP_sha256()))
        return fail_ssl(err, "issue a certificate");
    return to_pem(out, leaf, key, err);
}

static bool has_san(X509 *leaf, const char *san)
{
    if (kp_network_is_ip(san))
        return X509_check_ip_asc(leaf, san, 0) == 1;
    return X509_check_host(leaf, san, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

int kp_pki_covers(bool *covers, const struct kp_pki_pair *leaf, const char *ca_certificate,
                  const char *const *sans, size_t n, struct kp_err *err)
{
    AUTO_SSL(X509, certificate) = read_certificate(kp_slice_of(leaf->certificate));
    AUTO_SSL(EVP_PKEY, key) = read_key(leaf->key);
    AUTO_SSL(X509, ca) = read_certificate(kp_slice_of(ca_certificate));
    *covers = false;
    if (!ca)
        return fail_ssl(err, "read the site's CA");
    time_t in_a_year = time(NULL) + YEAR_DAYS * DAY_S;
    bool good = certificate && key && X509_check_private_key(certificate, key) == 1 &&
                X509_verify(certificate, X509_get0_pubkey(ca)) == 1 &&
                X509_cmp_time(X509_get0_notAfter(certificate), &in_a_year) > 0;
    for (size_t i = 0; good && i < n; i++)
        good = has_san(certificate, sans[i]);
    ERR_clear_error();
    *covers = good;
    return 0;
}

bool kp_pki_has_names(struct kp_slice pem, const char *const *sans, size_t n)
{
    AUTO_SSL(X509, certificate) = read_certificate(pem);
    bool good = certificate != NULL;
    for (size_t i = 0; good && i < n; i++)
        good = has_san(certificate, sans[i]);
    ERR_clear_error();
    return good;
}

int kp_pki_spki_hash(struct kp_digest *out, struct kp_slice pem, struct kp_err *err)
{
    AUTO_SSL(X509, certificate) = read_certificate(pem);
    unsigned char *der = NULL;
    int len = certificate ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der) : -1;
    if (len <= 0)
        return fail_ssl(err, "read the cluster's CA certificate");
    kp_sha256(der, (size_t)len, out);
    OPENSSL_free(der);
    return 0;
}

int kp_pki_life(time_t *begins, time_t *ends, char *name, size_t size, struct kp_slice pem,
                struct kp_err *err)
{
    AUTO_SSL(X509, certificate) = read_certificate(pem);
    struct tm begin, end;
    if (!certificate || ASN1_TIME_to_tm(X509_get0_notBefore(certificate), &begin) != 1 ||
        ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1)
        return fail_ssl(err, "read a certificate");
    if (X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name,
                                  (int)size) < 0)
        name[0] = '\0';
    *begins = timegm(&begin);
    *ends = timegm(&end);
    return 0;
}

static char *file_of(const char *folder, const char *name, const char *suffix)
{
    return kp_asprintf("%s/%s%s", folder, name, suffix);
}

int kp_pki_load(struct kp_pki_pair *out, const char *folder, const char *name, bool *found,
                struct kp_err *err)
{
    kp_auto_free char *certificate = file_of(folder, name, ".pem");
    kp_auto_free char *key = file_of(folder, name, ".key");
    bool have_certificate = kp_file_exists(certificate), have_key = kp_file_exists(key);
    kp_auto_value(kp_pki_pair) pair = {0};
    size_t len;
    *found = have_certificate && have_key;
    if (have_certificate != have_key) {
        kp_fail(err, KP_MISSING, "%s is there, %s is not", have_key ? key : certificate,
                have_key ? certificate : key);
        return kp_hint(err, "put it back from a copy; without one move both away: a new CA is made "
                            "and given to all nodes");
    }
    if (!*found)
        return 0;
    if (kp_file_read(certificate, KP_PEM_MAX, &pair.certificate, &len, err) < 0 ||
        kp_file_read(key, KP_PEM_MAX, &pair.key, &len, err) < 0)
        return -1;
    out->certificate = kp_steal(&pair.certificate);
    out->key = kp_steal(&pair.key);
    return 0;
}

int kp_pki_store(const struct kp_pki_pair *pair, const char *folder, const char *name,
                 struct kp_err *err)
{
    kp_auto_free char *certificate = file_of(folder, name, ".pem");
    kp_auto_free char *key = file_of(folder, name, ".key");
    // The key first: a certificate without key would be refused by the next run, and so would this,
    // but only a cut between the two renames gets here.
    if (kp_file_write_atomic(key, kp_slice_of(pair->key), 0600, err) < 0)
        return -1;
    return kp_file_write_atomic(certificate, kp_slice_of(pair->certificate), 0644, err);
}
