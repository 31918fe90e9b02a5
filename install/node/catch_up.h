/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mirror that was away while a bundle came catches up by itself: the service kpack-catch-up asks
 * the other mirrors what they serve. What kregistry.service names was accepted here and is fetched
 * by its id alone where its file is gone. Anything else is taken only where the keys kept on this
 * node say so, and where it is newer than what is served: nothing that a mirror or the network says
 * is believed. kinstall goes first: its lock is respected, and it stops this service.
 */
#pragma once

#include "core/cli.h"
#include "install/node/catch_up_unit.h"
#include "install/node/node.h"

struct kp_node_catching {
    const char *folder;          /* of the bundles, as the inventory has it */
    struct kp_text_list mirrors; /* URLs of the others */
    const char *own;             /* this one's URL */
    const char *ca;              /* file of the mirrors' CA; "" with URLs of http (tests) */
    /* Takes up a changed unit; NULL: systemctl. */
    int (*restart)(void *user, struct kp_err *err);
    void *user;
};
enum kp_caught_up {
    KP_CAUGHT_UP_NOTHING, /* nothing to do, or nobody to ask */
    KP_CAUGHT_UP_BUSY,    /* another works on this node */
    KP_CAUGHT_UP_DONE,    /* something came, and is served */
};
/* One look at all, and what follows from it; says on stderr what was done. */
KP_CHECK int kp_node_catch_up(struct kp_node_state *state, const struct kp_node_catching *how,
                              enum kp_caught_up *result, struct kp_err *err);
