/* SPDX-License-Identifier: Apache-2.0 */
/* kpack: makes bundles where there is a network, and reads them anywhere. */
#include "pack/cmd_trust.h"
#include "pack/commands.h"

#include "core/interrupt.h"

static const char create_details[] =
    "Fetches everything that a Kubernetes version needs, checks it, and writes one signed file.\n"
    "The release file says what that is; kpack has its own, --release FILE names another. Broken "
    "off\n"
    "at any moment and started again it goes on where it was. The lock file beside the bundle "
    "pins\n"
    "what was seen; --lock FILE makes the same bundle again, byte for byte.";

static const char sign_details[] =
    "Several people sign one after the other. A signer who has only bundle.json (tar --zstd -xf\n"
    "BUNDLE bundle.json) makes one line by: kpack sign --detached bundle.json; whoever has the "
    "bundle\n"
    "adds it by: kpack sign --attach bundle.json.sig BUNDLE, which checks it with a trusted key.";

static const char diff_details[] =
    "Versions, files, images, cluster manifests, bytes to carry and signers. Exit code 0 where "
    "both "
    "have\n"
    "the same content, 1 where they differ, as diff does; 2 and more as below.";

int main(int argc, char **argv)
{
    const struct kp_command commands[] = {
        {"create", "", 0, 0, "make a bundle", create_details, kp_create_options, kp_create_size,
         kp_cmd_create},
        {"verify", "BUNDLE…", 1, 64, "check the signatures and every byte", NULL,
         kp_verify_options_table, sizeof(struct kp_reading_options), kp_cmd_verify},
        {"inspect", "BUNDLE", 1, 1, "what a bundle is and who signed it", NULL, kp_inspect_options,
         sizeof(struct kp_reading_options), kp_cmd_inspect},
        {"list", "BUNDLE", 1, 1, "files, images and manifests of a bundle", NULL,
         kp_inspect_options, sizeof(struct kp_reading_options), kp_cmd_list},
        {"extract", "BUNDLE", 1, 1, "verify, then take files or images out", NULL,
         kp_extract_options, sizeof(struct kp_reading_options), kp_cmd_extract},
        {"split", "BUNDLE", 1, 1, "cut a bundle into slices for small sticks", NULL,
         kp_split_options, sizeof(struct kp_media_options), kp_cmd_split},
        {"join", "SLICES", 1, 1, "make one file of slices; needed nowhere, all read slices", NULL,
         kp_join_options, sizeof(struct kp_media_options), kp_cmd_join},
        {"repair", "BUNDLE", 1, 1, "make a damaged copy whole by another copy", NULL,
         kp_repair_options, sizeof(struct kp_media_options), kp_cmd_repair},
        {"diff", "OLD NEW", 2, 2, "what changes from one bundle to another", diff_details,
         kp_inspect_options, sizeof(struct kp_reading_options), kp_cmd_diff},
        {"sbom", "BUNDLE", 1, 1, "files, images and their packages as an SPDX 2.3 document", NULL,
         kp_sbom_options, sizeof(struct kp_reading_options), kp_cmd_sbom},
        {"provenance", "BUNDLE", 1, 1, "where all came from, as an in-toto statement", NULL,
         kp_inspect_options, sizeof(struct kp_reading_options), kp_cmd_provenance},
        {"sign", "BUNDLE", 1, 1, "add a signature in place", sign_details, kp_sign_options,
         sizeof(struct kp_signing_options), kp_cmd_sign},
        {"keygen", "[NAME]", 0, 1, "make a signing key", NULL, kp_keygen_options,
         sizeof(struct kp_signing_options), kp_cmd_keygen},
        kp_cmd_trust_lists,
        kp_cmd_revoke,
        {0},
    };
    const struct kp_program program = {
        .name = "kpack",
        .summary = "packs all of a Kubernetes version into one signed file",
        .commands = commands,
        .epilogue =
            "Exit codes: 0 ok, 1 failed, 2 usage, 3 not trusted, 4 damaged, 5 something missing.",
    };
    kp_interrupt_catch();
    return kp_cli_main(&program, argc, argv);
}
