/* SPDX-License-Identifier: Apache-2.0 */
/* A whole bundle file of any bytes: headers, frames, signature block, manifest, leaves, reads. */
#include "bundle/bundle.h"
#include "core/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOAD_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What verifies must also read back, each blob with its digest. */
static void read_blobs(const struct kp_bundle *bundle)
{
    const struct kp_manifest *m = kp_bundle_manifest(bundle);
    for (size_t i = 0; i < m->blob_count; i++) {
        kp_auto_free char *text = NULL;
        const struct kp_blob *blob = &m->blobs[i];
        if (!blob->base && blob->size <= LOAD_MAX &&
            kp_bundle_load(bundle, &blob->sha256, LOAD_MAX, &text, NULL, NULL) < 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto(kp_bundle) bundle = NULL;
    char path[64];
    struct kp_err err = KP_ERR_INIT;
    struct kp_damage damage;
    struct kp_verify_options options = {.threads = 1, .all = true};
    kp_auto_fd int fd = memfd_create("bundle", MFD_CLOEXEC);
    if (fd < 0 || kp_write_full(fd, data, size, NULL) < 0)
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (kp_bundle_open(&bundle, path, NULL, NULL, &err) < 0) {
        if (err.code != KP_DAMAGED && err.code != KP_UNTRUSTED)
            abort();
        return 0;
    }
    if (kp_bundle_verify(bundle, &options, &damage, &err) == 0)
        read_blobs(bundle);
    else if (err.code != KP_DAMAGED)
        abort();
    return 0;
}
