/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are to a registry: anonymous, Basic, or tokens (Docker's token protocol, RFC 6750
 * challenge; GET with Basic, POST where there is an OAuth2 refresh token). Credentials come from
 * the mirrors file, else from docker's config.json.
 *
 * Rule: credentials are sent to a token server only over https, and only where its host is the
 * registry's own, one of a short list (auth.docker.io for Docker Hub, gitlab.com for its registry),
 * or named under `realms` of the mirrors file. Any other https realm is asked as nobody.
 */
#pragma once

#include "pack/fetch_http.h"

#define KP_TOKEN_MAX ((size_t)64 << 10)

struct kp_oci_auth;
struct kp_oci_auth *kp_oci_auth_new(struct kp_fetch *fetch);
void kp_oci_auth_free(struct kp_oci_auth *auth);
KP_DEFINE_AUTO(kp_oci_auth);

/* The authority for one repository; lives as long as auth. Credentials of docker's config.json are
 * those kept for the place that is really asked: a mirror never gets what is for the original. */
const struct kp_fetch_authority *kp_oci_authority(struct kp_oci_auth *auth,
                                                  const struct kp_registry_place *place);

/* One WWW-Authenticate line (RFC 9110 §11.6.1, as registries send it). */
struct kp_challenge {
    enum { KP_CHALLENGE_NONE, KP_CHALLENGE_BASIC, KP_CHALLENGE_BEARER } scheme;
    const char *realm, *service, *scope; /* "" where missing; in the arena */
};
/* Takes the best of the lines (joined by '\n'): Bearer before Basic. */
void kp_challenge_parse(struct kp_challenge *out, struct kp_arena *arena, const char *lines);
/* The rule above. registry_host and realm are host[:port]; realms NULL-terminated. */
bool kp_realm_may_have_credentials(const char *registry_host, const char *realm,
                                   const char *const *realms);
/* host[:port] of an https URL, "" where it is none; in the arena. */
const char *kp_https_authority(struct kp_arena *arena, const char *url);
/* A token server's answer (JSON with `token` or `access_token`, of printable ASCII); *token is in
 * the arena. url and host name it in errors; one without a token is "unauthorized". */
KP_CHECK int kp_token_parse(const char **token, struct kp_arena *arena, struct kp_slice answer,
                            const char *url, const char *host, struct kp_err *err);
