/* SPDX-License-Identifier: Apache-2.0 */
/* What a mirror says it serves, and a unit that may not be ours: the first line says which. */
#include "install/node/catch_up_unit.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_unit(struct kp_slice text)
{
    static const char folder[] = "/var/lib/kpack/bundles";
    struct kp_served_list list, again;
    struct kp_err err = KP_ERR_INIT;
    if (kp_catch_up_read_unit(&list, text, folder, &err) < 0)
        return;
    kp_auto_free char *written = kp_catch_up_write_unit(text, folder, &list);
    // What names the same bundles is the same unit.
    if (!written || !kp_slice_equal(text, written) ||
        kp_catch_up_read_unit(&again, kp_slice_of(written), folder, &err) < 0 ||
        again.count != list.count || !list.count)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_slice text = {(const char *)data, size};
    struct kp_served_list list;
    struct kp_err err = KP_ERR_INIT;
    if (size && data[0] == '{' && kp_served_parse(&list, text, "a mirror", &err) == 0) {
        if (list.count > KP_SERVED_MAX)
            abort();
        for (size_t i = 0; i < list.count; i++)
            if (kp_served_find(&list, &list.items[i].id) != &list.items[i])
                abort();
    } else if (!memchr(data, '\0', size)) {
        try_unit(text);
    }
    return 0;
}
