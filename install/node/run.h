/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on the node. A plain child lives and ends with the connection. A unit (kpack-<name>)
 * outlives it: systemd runs `knode task <folder>`, which runs the command with its output and
 * result in files there, kept until kinstall says (op "ran") that it has read them.
 */
#pragma once

#include "install/node/node.h"

#define KP_TASK_FOLDER "/var/lib/kpack/run"
#define KP_TASK_INPUT_FOLDER "/run/kpack" /* stdin may be a secret: memory only, gone once read */

struct kp_node_command {
    const char **argv, **env; /* NULL-terminated; env may be NULL */
    size_t argc, env_count;
    uint64_t timeout; /* seconds, 0: none */
    uint64_t input_size;
    struct kp_slice input;
    const char *unit; /* or NULL */
};
void kp_node_command_release(struct kp_node_command *command); /* argv and env */
KP_DEFINE_AUTO_VALUE(kp_node_command);

/* *result: {"status", "attached"}; output goes out as DATA. */
KP_CHECK int kp_node_run_child(struct kp_node_request *request,
                               const struct kp_node_command *command, json_t **result,
                               struct kp_err *err);
/* The same through a transient unit. Where the unit runs already, its output is followed and its
 * end awaited; was it this same command, its result is the answer, else the command is started
 * then. An unread result of the same command is the answer, unless it failed in an earlier run. */
KP_CHECK int kp_node_run_unit(struct kp_node_request *request,
                              const struct kp_node_command *command, json_t **result,
                              struct kp_err *err);
