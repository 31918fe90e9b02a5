/* SPDX-License-Identifier: Apache-2.0 */
/* bundle_make BUNDLE PUBKEY: writes the fixture's bundle and its public key, for tests in shell. */
#include "bundle_fixture.h"

#include "core/file.h"

#include <stdio.h>

static int copy_key(const struct fixture *f, const char *to, struct kp_err *err)
{
    kp_auto_free char *pem = NULL;
    size_t len;
    if (kp_file_read(f->public_key, KP_KEY_FILE_MAX, &pem, &len, err) < 0)
        return -1;
    return kp_file_write_atomic(to, (struct kp_slice){pem, len}, 0644, err);
}

int main(int argc, char **argv)
{
    struct fixture f;
    struct kp_err err = KP_ERR_INIT;
    struct kp_bundle_written written;
    if (argc != 3) {
        fprintf(stderr, "usage: bundle_make BUNDLE PUBKEY\n");
        return 2;
    }
    fixture_open(&f);
    const struct kp_key *const keys[] = {f.key};
    struct kp_bundle_writing writing = fixture_writing(&f, keys);
    int result = kp_bundle_write(&writing, argv[1], &written, &err);
    if (result == 0)
        result = copy_key(&f, argv[2], &err);
    if (result < 0)
        fprintf(stderr, "%s (%s)\n", err.message, err.reason ? err.reason : "");
    fixture_close(&f);
    return result < 0 ? (int)err.code : 0;
}
