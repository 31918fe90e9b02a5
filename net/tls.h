/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS contexts: 1.2 and newer, no configuration file, no system trust store. A client trusts
 * nothing but the PEM it is given; OpenSSL's error queue is drained into the message.
 */
#pragma once

#include "core/slice.h"
#include "net/net.h"

#include <openssl/ssl.h>

#define KP_TLS_FILE_MAX ((size_t)1 << 20)

static inline void kp_tls_context_cleanup_(SSL_CTX **ctx)
{
    SSL_CTX_free(*ctx);
}
#define kp_auto_tls_context __attribute__((cleanup(kp_tls_context_cleanup_))) SSL_CTX *

/* Certificate chain and key (PEM files; the key unencrypted). *out: SSL_CTX_free. KP_USAGE. */
KP_CHECK int kp_tls_server_new(SSL_CTX **out, const char *cert_file, const char *key_file,
                               struct kp_err *err);
/* Trusts the certificates of ca and nothing else. */
KP_CHECK int kp_tls_client_new(SSL_CTX **out, struct kp_slice ca, struct kp_err *err);
/* A client's handshake on a connected non-blocking fd; the certificate must be for host (name or IP
 * literal). *out: SSL_free; it does not own fd. Reason "tls" or "timeout". */
KP_CHECK int kp_tls_connect(SSL **out, SSL_CTX *ctx, int fd, const char *host, double deadline,
                            struct kp_err *err);
/* Fails with "tls" and what OpenSSL's error queue says; the queue is empty then. */
int kp_tls_fail(struct kp_err *err, enum kp_code code, const char *what);
