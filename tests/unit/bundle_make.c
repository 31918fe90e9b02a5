/* SPDX-License-Identifier: Apache-2.0 */
/* bundle_make BUNDLE PUBKEY: writes the fixture's bundle and its public key, for tests in shell. */
#include "bundle_fixture.h"

#include "core/file.h"

#include <stdio.h>

static int copy_file(const char *from, const char *to)
{
    kp_auto_free char *data = NULL;
    size_t len;
    if (kp_file_read(from, (size_t)1 << 30, &data, &len, NULL) < 0)
        return -1;
    return kp_file_write_atomic(to, (struct kp_slice){data, len}, 0644, NULL);
}

int main(int argc, char **argv)
{
    struct fixture f;
    if (argc != 3) {
        fprintf(stderr, "usage: bundle_make BUNDLE PUBKEY\n");
        return 2;
    }
    fixture_open(&f);
    fixture_write(&f);
    int result = copy_file(f.bundle, argv[1]) < 0 || copy_file(f.public_key, argv[2]) < 0;
    fixture_close(&f);
    return result;
}
