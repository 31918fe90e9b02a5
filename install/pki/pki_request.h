/* SPDX-License-Identifier: Apache-2.0 */
/* A key and the request (PKCS#10) for a client certificate of it, as the CertificateSigningRequest
 * API wants it: EC P-256, subject CN and O. */
#pragma once

#include "core/mem.h"

struct kp_pki_request { /* PEM texts */
    char *request;
    char *key; /* secret: wiped when released */
};
void kp_pki_request_release(struct kp_pki_request *request);
KP_DEFINE_AUTO_VALUE(kp_pki_request);

KP_CHECK int kp_pki_make_request(struct kp_pki_request *out, const char *common_name,
                                 const char *organization, struct kp_err *err);
