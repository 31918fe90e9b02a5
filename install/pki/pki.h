/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The site's own certificate authorities, for its mirrors and for external etcd: made once, kept in
 * the state folder (mirror-ca.pem, mirror-ca.key 0600). EC P-256, ten years, random serials,
 * notBefore a day back for nodes with a wrong clock. And the hash by which kubeadm join pins the
 * cluster's CA.
 */
#pragma once

#include "core/hash.h"
#include "core/mem.h"

#include <time.h>

#define KP_PKI_YEARS 10
#define KP_PKI_SANS_MAX 2000
#define KP_PEM_MAX ((size_t)64 << 10)

struct kp_pki_pair { /* PEM texts */
    char *certificate;
    char *key; /* secret: wiped when released */
};
void kp_pki_pair_release(struct kp_pki_pair *pair);
KP_DEFINE_AUTO_VALUE(kp_pki_pair);

/* A new CA that may sign server certificates only one level deep. */
KP_CHECK int kp_pki_make_ca(struct kp_pki_pair *out, const char *common_name, struct kp_err *err);
/* A server certificate (EC P-256, ten years) for these names and IP addresses (sans: n texts, an IP
 * is recognised as one). */
KP_CHECK int kp_pki_issue(struct kp_pki_pair *out, const struct kp_pki_pair *ca,
                          const char *common_name, const char *const *sans, size_t n,
                          struct kp_err *err);
enum kp_pki_use { KP_PKI_SERVER = 1, KP_PKI_CLIENT = 2 }; /* extended key usages, or both */
/* The same for other uses. sans may be empty for a client alone. */
KP_CHECK int kp_pki_issue_for(struct kp_pki_pair *out, const struct kp_pki_pair *ca,
                              const char *common_name, unsigned use, const char *const *sans,
                              size_t n, struct kp_err *err);
/* *covers: signed by this CA, not within a year of its end, key and certificate belong together,
 * and every san is in it. Unreadable PEM is "not". */
KP_CHECK int kp_pki_covers(bool *covers, const struct kp_pki_pair *leaf, const char *ca_certificate,
                           const char *const *sans, size_t n, struct kp_err *err);
/* Whether each name and IP address is in the certificate; unreadable PEM has none. */
bool kp_pki_has_names(struct kp_slice pem, const char *const *sans, size_t n);
/* SHA-256 of the SubjectPublicKeyInfo (DER) of the first certificate: kubeadm's caCertHashes. */
KP_CHECK int kp_pki_spki_hash(struct kp_digest *out, struct kp_slice pem, struct kp_err *err);

/* From when to when (UTC) the first certificate of the text holds, and its subject's common name
 * (cut to size). */
KP_CHECK int kp_pki_life(time_t *begins, time_t *ends, char *name, size_t size, struct kp_slice pem,
                         struct kp_err *err);
/* When a certificate of ours was made: its notBefore lies a day back. */
#define KP_PKI_BACKDATED_S 86400L

/* <folder>/<name>.pem and .key (0600): loaded; both missing: *found false. One without the other is
 * an error: nothing is made over a key that may be somewhere else. */
KP_CHECK int kp_pki_load(struct kp_pki_pair *out, const char *folder, const char *name, bool *found,
                         struct kp_err *err);
KP_CHECK int kp_pki_store(const struct kp_pki_pair *pair, const char *folder, const char *name,
                          struct kp_err *err);
