/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small bundle with every shape of entry: blobs around each boundary of the format, a file, an
 * image that clients can copy out, a cluster manifest. Shared by unit, interop and fuzz tests.
 */
#pragma once

#include "bundle/writer.h"

struct fixture {
    char *dir;                    /* a temporary folder, removed at the end */
    char *bundle;                 /* dir/x.tar.zst */
    struct kp_manifest *manifest; /* as given to the writer */
    struct kp_key *key;
    char *public_key; /* path of the .pub */
    struct kp_trust *trust;
};

void fixture_open(struct fixture *f); /* all but the bundle itself */
void fixture_close(struct fixture *f);
/* Puts bytes into the source and the manifest's blobs; the digest. */
struct kp_digest fixture_blob(struct fixture *f, const void *data, size_t len, const char *type);
/* Pseudo-random bytes that depend on seed only; kp_free. */
char *fixture_bytes(size_t len, uint64_t seed);
/* The writing of this fixture, signed by its key. */
struct kp_bundle_writing fixture_writing(struct fixture *f, const struct kp_key *const keys[1]);
void fixture_write(struct fixture *f); /* aborts where it fails */
