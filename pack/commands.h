/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of kpack, and what several of them share. */
#pragma once

#include "bundle/bundle.h"
#include "core/cli.h"

extern const struct kp_option kp_create_options[], kp_keygen_options[], kp_sign_options[],
    kp_verify_options_table[], kp_inspect_options[], kp_sbom_options[], kp_extract_options[],
    kp_split_options[], kp_join_options[], kp_repair_options[];

struct kp_media_options { /* of split, join and repair */
    const char *size, *output, *sign_key;
    struct kp_text_list keys, from;
    bool unsigned_, json, quiet;
};

struct kp_reading_options { /* of verify, inspect, list and extract */
    struct kp_text_list keys;
    bool json, quiet;
    struct kp_text_list files; /* extract */
    const char *arch, *to, *oci;
    struct kp_text_list bases; /* verify, extract */
    bool all;                  /* verify: go on after the first damage */
};
extern const size_t kp_create_size;

int kp_cmd_create(void *options, int argc, char **argv, struct kp_err *err);
int kp_cmd_keygen(void *options, int argc, char **argv, struct kp_err *err);
int kp_cmd_sign(void *options, int argc, char **argv, struct kp_err *err);
int kp_cmd_verify(void *options, int argc, char **argv, struct kp_err *err);
int kp_cmd_inspect(void *options, int argc, char **argv, struct kp_err *err);
int kp_cmd_list(void *options, int argc, char **argv, struct kp_err *err);
int kp_cmd_split(void *options, int argc, char **argv, struct kp_err *err);
int kp_cmd_join(void *options, int argc, char **argv, struct kp_err *err);
int kp_cmd_repair(void *options, int argc, char **argv, struct kp_err *err);
/* "4G", "fat32"; "" and NULL are fat32. */
KP_CHECK int kp_parse_split(const char *text, uint64_t *out, struct kp_err *err);
/* x.tar.zst.002 and following: they are checked alone, by the slice list beside them. */
bool kp_is_lone_slice(const char *path);
KP_CHECK int kp_verify_slice(const struct kp_reading_options *o, const char *path,
                             struct kp_err *err);
int kp_cmd_extract(void *options, int argc, char **argv, struct kp_err *err);
int kp_cmd_diff(void *options, int argc, char **argv, struct kp_err *err);
int kp_cmd_sbom(void *options, int argc, char **argv, struct kp_err *err);
int kp_cmd_provenance(void *options, int argc, char **argv, struct kp_err *err);

struct kp_signing_options { /* of keygen and sign */
    const char *key, *folder, *passphrase_fd, *attach, *output;
    struct kp_text_list trusted;
    bool encrypt, detached, check, json;
};

/* The trust folders and the --key files. *out: kp_trust_free. */
KP_CHECK int kp_load_trust(struct kp_trust **out, const struct kp_text_list *keys,
                           struct kp_err *err);
/* Opens and checks the signatures. */
KP_CHECK int kp_open_trusted(struct kp_bundle **out, const char *path,
                             const struct kp_text_list *keys, struct kp_trust **trust,
                             struct kp_signers *signers, struct kp_err *err);
/* "signed by site-2026 (7f3a…c9)", with the unknown ones; in buf. */
json_t *kp_signers_json(const struct kp_signers *signers);
void kp_signers_text(const struct kp_signers *signers, struct kp_buf *buf);
