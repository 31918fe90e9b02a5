/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as hosts.yaml: refused with a word, or every promise of its header is kept. */
#include "core/file.h"
#include "install/inventory/inventory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct kp_inventory *inventory)
{
    if (!inventory->node_count || inventory->node_count > KP_NODES_MAX || !inventory->cluster[0] ||
        strpbrk(inventory->cluster, "/. \n") ||
        inventory->control_plane_count > inventory->node_count)
        abort();
    for (size_t i = 0; i < inventory->node_count; i++) {
        const struct kp_node *node = &inventory->nodes[i];
        // names and addresses become arguments of ssh, hosts entries, folders of the state
        if (!node->roles || !node->name[0] || node->name[0] == '-' || node->address[0] == '-' ||
            strpbrk(node->name, "/ \n\t'\"$;") || strpbrk(node->address, "/ \n\t'\"$;"))
            abort();
        if (node->label_count > KP_LABELS_MAX)
            abort();
    }
    kp_auto_free char *folder = kp_inventory_state_folder(inventory);
    if (!folder[0])
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kp_auto(kp_inventory) inventory = NULL;
    char path[64];
    struct kp_err err = KP_ERR_INIT;
    kp_auto_fd int fd = memfd_create("hosts.yaml", MFD_CLOEXEC);
    if (fd < 0 || kp_write_full(fd, data, size, NULL) < 0)
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (kp_inventory_load(&inventory, path, &err) == 0)
        check(inventory);
    else if (!err.message[0] || err.code == KP_OK)
        abort();
    return 0;
}
