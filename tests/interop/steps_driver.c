/* SPDX-License-Identifier: Apache-2.0 */
/*
 * steps_driver BUNDLE TRUST PORT KEY HOST_KEY TRANSPORT FOLDER: a site of a control plane "hand"
 * and two workers, all on the same sshd, for tests/interop/session.sh. One step of the workers asks
 * the hand: a shell that writes its pid to FOLDER/<worker> and waits for somebody to cut its
 * connection, the first time. Prints how often each worker's step ran, and how it ended.
 */
#include "install/journal.h"
#include "install/step.h"

#include "core/interrupt.h"

#include <stdio.h>

#define NODES 3

struct driven {
    struct kp_site site;
    const char *folder;
    size_t times[NODES];
};

static int ask_hand(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct driven *driven = (struct driven *)site;
    size_t *times = &driven->times[node - site->nodes];
    kp_auto_free char *script = kp_asprintf(
        "echo $$ >%s/%s.part; mv %s/%s.part %s/%s; sleep %d", driven->folder, node->node->name,
        driven->folder, node->node->name, driven->folder, node->node->name, *times ? 0 : 50);
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    const struct kp_run run = {.argv = argv, .timeout = 60};
    kp_auto_value(kp_run_result) result = {0};
    ++*times;
    return kp_session_run(site->nodes[0].session, &run, &result, err);
}

static int open_nodes(struct driven *driven, char **argv, const struct kp_session_bundle *handed,
                      struct kp_err *err)
{
    uint64_t port;
    if (!kp_parse_u64(kp_slice_of(argv[3]), 65535, &port))
        return kp_fail(err, KP_USAGE, "%s is no port", argv[3]);
    for (size_t i = 0; i < NODES; i++) {
        const struct kp_ssh_target target = {.node = driven->site.nodes[i].node->name,
                                             .address = "127.0.0.1",
                                             .port = (unsigned)port,
                                             .user = "root",
                                             .key = argv[4],
                                             .host_key = argv[5],
                                             .transport = strcmp(argv[6], "libssh2") == 0
                                                              ? KP_TRANSPORT_LIBSSH2
                                                              : KP_TRANSPORT_OPENSSH,
                                             .connect_timeout = 5};
        if (kp_session_open(&driven->site.nodes[i].session, &target, handed, err) < 0)
            return -1;
    }
    return 0;
}

static int drive(struct driven *driven, char **argv, struct kp_err *err)
{
    static const struct kp_step steps[] = {
        {.name = "borrow", .phase = "join", .nodes = KP_STEP_WORKERS, .apply = ask_hand},
        {.name = NULL}};
    static const struct kp_step *const phases[] = {steps};
    kp_auto(kp_trust) trust = kp_trust_new();
    kp_auto(kp_bundle) bundle = NULL;
    kp_auto(kp_screen) screen = kp_screen_new(KP_SCREEN_QUIET);
    kp_auto(kp_journal) journal = NULL;
    kp_auto_free char *state = kp_asprintf("%s/state", argv[7]);
    if (kp_trust_add_file(trust, argv[2], err) < 0 ||
        kp_bundle_open(&bundle, argv[1], trust, NULL, err) < 0 ||
        kp_journal_open(&journal, state, "run", err) < 0)
        return -1;
    const struct kp_session_bundle handed = {bundle, trust, NULL};
    driven->folder = argv[7];
    driven->site.screen = screen;
    driven->site.journal = journal;
    if (open_nodes(driven, argv, &handed, err) < 0)
        return -1;
    return kp_steps_run(&driven->site, phases, 1, err);
}

int main(int argc, char **argv)
{
    static struct kp_node nodes[NODES] = {{.name = "hand", .roles = KP_ROLE_CONTROL_PLANE},
                                          {.name = "w1", .roles = KP_ROLE_WORKER},
                                          {.name = "w2", .roles = KP_ROLE_WORKER}};
    const struct kp_inventory inventory = {.cluster = "c",
                                           .nodes = nodes,
                                           .node_count = NODES,
                                           .control_plane_count = 1,
                                           .parallel = NODES};
    const struct kp_manifest manifest = {0};
    struct kp_site_node site_nodes[NODES] = {0};
    struct driven driven = {.site = {.inventory = &inventory,
                                     .manifest = &manifest,
                                     .nodes = site_nodes,
                                     .node_count = NODES}};
    struct kp_err err = KP_ERR_INIT;
    if (argc != 8)
        return 2;
    kp_interrupt_catch();
    pthread_mutex_init(&driven.site.lock, NULL);
    for (size_t i = 0; i < NODES; i++)
        site_nodes[i].node = &nodes[i];
    int result = drive(&driven, argv, &err);
    for (size_t i = 0; i < NODES; i++) {
        printf("%s ran %zu times%s%s\n", nodes[i].name, driven.times[i],
               site_nodes[i].failed ? ", failed: " : "", site_nodes[i].failure.message);
        kp_free(site_nodes[i].failed_step);
        kp_session_free(site_nodes[i].session);
    }
    printf("%s\n", result == 0 ? "well" : err.message);
    return result == 0 ? 0 : 1;
}
