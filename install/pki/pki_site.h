/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The site's own certificate authority as the cluster's: its key given, or a request for a
 * subordinate one that the site's CA signs. A chain is the cluster's CA first, then what signed it,
 * up to the root.
 */
#pragma once

#include "install/pki/pki.h"
#include "install/pki/pki_request.h"

#define KP_PKI_CHAIN_MAX 8

/* A good chain: each certificate is a CA's and signed by the next, the last by itself; all hold
 * now; the key is that of the first. name: of the file, for errors. */
KP_CHECK int kp_pki_check_chain(struct kp_slice chain, const char *key, const char *name,
                                struct kp_err *err);
/* The first certificate alone: what client certificates are judged by must not be the root, or
 * whoever has a certificate of the site could name himself anybody. kp_free; NULL: none. */
char *kp_pki_first(struct kp_slice chain);
size_t kp_pki_count(struct kp_slice chain);
/* A key and a request (PKCS#10) for a subordinate CA that signs leaves only. */
KP_CHECK int kp_pki_request_ca(struct kp_pki_request *out, const char *common_name,
                               struct kp_err *err);
