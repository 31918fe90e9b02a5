/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of the layers of an image, NAME zero CONTENT zero …, "|" begins a layer: what is kept
 * stays within its bounds, and a package that is found has plain text for a name.
 */
#include "pack/layers.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(void *user, const struct kp_dpkg_package *package)
{
    (void)user;
    const struct kp_slice *parts[] = {&package->name, &package->version, &package->arch};
    for (size_t i = 0; i < KP_COUNT(parts); i++)
        for (size_t k = 0; k < parts[i]->len; k++)
            if ((unsigned char)parts[i]->ptr[k] <= ' ' || (unsigned char)parts[i]->ptr[k] >= 0x7f)
                abort();
    if (!package->name.len || !package->version.len || !package->arch.len)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto(kp_layers) layers = kp_layers_new();
    struct kp_slice rest = {(const char *)data, size}, word, content;
    struct kp_err err = KP_ERR_INIT;
    kp_layers_next(layers);
    while (kp_slice_cut(&rest, '\0', &word)) {
        kp_auto_free char *name = kp_strndup(word.ptr, word.len);
        if (!kp_slice_cut(&rest, '\0', &content))
            content = rest;
        if (strcmp(name, "|") == 0)
            kp_layers_next(layers);
        else if (kp_layers_take(layers, name, content, &err) < 0 && !err.message[0])
            abort();
    }
    kp_layers_packages(layers, check, NULL);
    (void)kp_layers_os(layers, "ID");
    return 0;
}
