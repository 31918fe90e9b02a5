/* SPDX-License-Identifier: Apache-2.0 */
#include "core/interrupt.h"
#include "install/verbs/cmd.h"

#include <openssl/crypto.h>

int main(int argc, char **argv)
{
    // A static program must not load what an openssl.cnf of the site names.
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    kp_interrupt_catch();
    const struct kp_command commands[] = {
        kp_cmd_main,    kp_cmd_apply,        kp_cmd_check,      kp_cmd_plan,    kp_cmd_status,
        kp_cmd_receipt, kp_cmd_reset,        kp_cmd_trust,      kp_cmd_audit,   kp_cmd_convert,
        kp_cmd_upgrade, kp_cmd_rollback,     kp_cmd_kubeconfig, kp_cmd_kubectl, kp_cmd_etcd,
        kp_cmd_certs,   kp_cmd_remove,       kp_cmd_support,    kp_cmd_explain, kp_cmd_encryption,
        kp_cmd_runtime, kp_cmd_remove_addon, {.name = NULL}};
    const struct kp_program program = {
        .name = "kinstall",
        .summary = "installs Kubernetes out of a signed bundle, with no network",
        .commands = commands,
        .epilogue =
            "exit codes: 0 ok, 1 failed, 2 usage, 3 not trusted, 4 damaged, 5 something missing",
    };
    return kp_cli_main(&program, argc, argv);
}
