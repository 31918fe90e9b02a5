/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mirrors file (--mirrors, kind kpack.mirrors/v1): where sources are really fetched from. Two
 * kinds of rules: a prefix of a URL -> another prefix, and an image registry (host[:port][/prefix])
 * -> another. The longest `from` that fits wins; URL prefixes fit only at the end of a path part.
 *
 *   - from: "https://dl.k8s.io/"              must be http:// or https://, or a registry without
 * scheme to:   "https://dl.localhost:18443/"     the same kind; http:// (plain) only where it is
 * written here ca: ca.pem                              PEM, trusted beside the system's; relative
 * to the mirrors file username: lab                           with password_file, which must be
 * 0600 or stricter password_file: pw                       first line, without its end realms:
 * [auth.localhost:18444]          hosts of token servers that may be given these credentials
 *     plain_http: true                        registries: http instead of https
 *     insecure: true                          certificates are not checked (digests still are);
 * said in every run
 *
 * Nothing of this file ends in a lock or a bundle.
 */
#pragma once

#include "pack/reference.h"

#define KP_MIRRORS_MAX 256

/* How one place is reached. Lives as long as its kp_mirrors. */
struct kp_site {
    const char *from, *to; /* as written, for messages */
    const char *ca;        /* path; NULL: the system's certificates alone */
    const char *username;  /* NULL: none named here */
    const char *password;
    const char *const *realms; /* NULL-terminated "host" or "host:port"; never NULL */
    bool plain_http;
    bool insecure;
};

struct kp_mirrors;

/* NULL path gives an empty one. Errors are KP_USAGE with file:line:column, or KP_FAILED from files
 * it names. */
KP_CHECK int kp_mirrors_load(struct kp_mirrors **out, const char *path, struct kp_err *err);
void kp_mirrors_free(struct kp_mirrors *mirrors);
KP_DEFINE_AUTO(kp_mirrors);

/* The URL to fetch instead; kp_free. *site is NULL where no rule fits (the URL is then a copy). */
char *kp_mirrors_url(const struct kp_mirrors *mirrors, const char *url,
                     const struct kp_site **site);

struct kp_registry_place {
    char *base;       /* "https://registry-1.docker.io", "http://127.0.0.1:5000"; kp_free */
    char *host;       /* "registry-1.docker.io" with :port where not 443 (80 for http); kp_free */
    char *repository; /* at that registry: "registry.k8s.io/kube-apiserver"; kp_free */
    const struct kp_site *site; /* or NULL */
};
/* Where the reference's repository is to be fetched: the mirror's place, or its own registry over
 * https (docker.io is registry-1.docker.io). */
void kp_mirrors_registry(const struct kp_mirrors *mirrors, const struct kp_reference *reference,
                         struct kp_registry_place *out);
void kp_registry_place_release(struct kp_registry_place *place);
KP_DEFINE_AUTO_VALUE(kp_registry_place);
/* Sites with `insecure`, for the warning that create prints: calls each once. */
void kp_mirrors_insecure(const struct kp_mirrors *mirrors,
                         void (*each)(void *user, const struct kp_site *site), void *user);
