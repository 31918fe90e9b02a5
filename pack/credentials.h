/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials of registries out of Docker's config.json ($DOCKER_CONFIG, else ~/.docker): auths,
 * credHelpers, credsStore (docker-credential-X get, 20 s at most). Read when first asked for. They
 * are never written anywhere, never in argv, and wiped when freed.
 */
#pragma once

#include "core/mem.h"

#define KP_CREDENTIALS_FILE_MAX ((size_t)1 << 20)
#define KP_SECRET_MAX ((size_t)64 << 10)

struct kp_credential {
    char *username; /* NULL: none known for this registry */
    char *password;
    char *identity; /* an OAuth2 refresh token instead of a password; or NULL */
};
void kp_credential_release(struct kp_credential *credential);
KP_DEFINE_AUTO_VALUE(kp_credential);

struct kp_credentials;
/* folder NULL: as above. */
struct kp_credentials *kp_credentials_new(const char *folder);
void kp_credentials_free(struct kp_credentials *credentials);
KP_DEFINE_AUTO(kp_credentials);
/* registry: "docker.io" or host[:port]. None known is no error: username stays NULL. */
KP_CHECK int kp_credentials_find(struct kp_credentials *credentials, const char *registry,
                                 struct kp_credential *out, struct kp_err *err);
