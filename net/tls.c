/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls.h"

#include "core/file.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>

// The first three are what hardware is fast at; ChaCha goes first for clients that prefer it.
#define SUITES_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define SUITES_12                                                                                  \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"     \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

static void bio_free(BIO **bio)
{
    BIO_free(*bio);
}

static void ssl_release(SSL **ssl)
{
    SSL_free(*ssl);
}

int kp_tls_fail(struct kp_err *err, enum kp_code code, const char *what)
{
    char text[256] = "connection closed";
    unsigned long number = ERR_peek_error();
    if (number)
        ERR_error_string_n(number, text, sizeof(text));
    ERR_clear_error();
    // "error:0A000086:SSL routines::certificate verify failed": people need the last part.
    const char *last = strrchr(text, ':');
    return kp_fail_as(err, code, "tls", "%s: %s", what, last && last[1] ? last + 1 : text);
}

static SSL_CTX *context_new(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (!ctx)
        return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(ctx, SUITES_12);
    SSL_CTX_set_ciphersuites(ctx, SUITES_13);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return ctx;
}

static int choose_http1(SSL *ssl, const unsigned char **out, unsigned char *outlen,
                        const unsigned char *in, unsigned int inlen, void *user)
{
    static const unsigned char ours[] = "\x08http/1.1";
    (void)ssl;
    (void)user;
    unsigned char *chosen = NULL;
    if (SSL_select_next_proto(&chosen, outlen, ours, sizeof(ours) - 1, in, inlen) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

int kp_tls_server_new(SSL_CTX **out, const char *cert_file, const char *key_file,
                      struct kp_err *err)
{
    kp_auto_tls_context ctx = context_new(TLS_server_method());
    if (!ctx)
        return kp_tls_fail(err, KP_FAILED, "TLS");
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    // Neither cache nor tickets: pulls are few and long, and each would be memory per client.
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_alpn_select_cb(ctx, choose_http1, NULL);
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1)
        return kp_tls_fail(err, KP_USAGE, cert_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1)
        return kp_tls_fail(err, KP_USAGE, key_file);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return kp_tls_fail(err, KP_USAGE, "the key does not belong to the certificate");
    *out = kp_steal(&ctx);
    return 0;
}

static int add_certificates(X509_STORE *store, struct kp_slice pem, struct kp_err *err)
{
    __attribute__((cleanup(bio_free))) BIO *bio =
        pem.len < KP_TLS_FILE_MAX ? BIO_new_mem_buf(pem.ptr, (int)pem.len) : NULL;
    if (!bio)
        return kp_fail_as(err, KP_USAGE, "tls", "CA certificates: too large");
    size_t count = 0;
    for (X509 *cert; (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)); count++) {
        int ok = X509_STORE_add_cert(store, cert);
        X509_free(cert);
        if (ok != 1)
            return kp_tls_fail(err, KP_USAGE, "CA certificates");
    }
    unsigned long last = ERR_peek_last_error();
    if (!count || ERR_GET_REASON(last) != PEM_R_NO_START_LINE)
        return kp_tls_fail(err, KP_USAGE, "CA certificates: not PEM");
    ERR_clear_error();
    return 0;
}

int kp_tls_client_new(SSL_CTX **out, struct kp_slice ca, struct kp_err *err)
{
    kp_auto_tls_context ctx = context_new(TLS_client_method());
    if (!ctx)
        return kp_tls_fail(err, KP_FAILED, "TLS");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_read_ahead(ctx, 1);
    // A CA that is given is trusted as it is, also one that a CA of the site has signed.
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    if (add_certificates(SSL_CTX_get_cert_store(ctx), ca, err) < 0)
        return -1;
    *out = kp_steal(&ctx);
    return 0;
}

static bool expect_host(SSL *ssl, const char *host)
{
    struct kp_net_address ignored;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (kp_net_parse_ip(host, &ignored))
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

static int fail_handshake(SSL *ssl, const char *host, struct kp_err *err)
{
    long verify = SSL_get_verify_result(ssl);
    if (verify == X509_V_OK)
        return kp_tls_fail(err, KP_FAILED, "TLS handshake");
    ERR_clear_error();
    return kp_fail_as(err, KP_FAILED, "tls", "certificate of %s: %s", host,
                      X509_verify_cert_error_string(verify));
}

int kp_tls_connect(SSL **out, SSL_CTX *ctx, int fd, const char *host, double deadline,
                   struct kp_err *err)
{
    __attribute__((cleanup(ssl_release))) SSL *ssl = SSL_new(ctx);
    if (!ssl || SSL_set_fd(ssl, fd) != 1 || !expect_host(ssl, host))
        return kp_tls_fail(err, KP_FAILED, "TLS");
    for (;;) {
        ERR_clear_error();
        int n = SSL_connect(ssl);
        if (n == 1)
            break;
        int want = SSL_get_error(ssl, n);
        if (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE)
            return fail_handshake(ssl, host, err);
        if (kp_net_wait(fd, want == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline, err) < 0)
            return kp_wrap(err, "TLS handshake");
    }
    *out = ssl;
    ssl = NULL;
    return 0;
}
