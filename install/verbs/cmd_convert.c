/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "install/verbs/cmd.h"
#include "install/inventory/inventory.h"
#include "install/inventory/kubespray.h"

#include <stdio.h>

struct options {
    const char *inventory, *output;
};

static const struct kp_option option_table[] = {
    {"inventory", 'i', KP_OPT_TEXT, offsetof(struct options, inventory), "FILE",
     "the Kubespray inventory: hosts.yaml, with group_vars and host_vars beside it", 0},
    {"output", 'o', KP_OPT_TEXT, offsetof(struct options, output), "FILE",
     "where to write ours; standard output if not given", 0},
    {.name = NULL}};

/* What was not taken over stands above it as comments. */
static void add_notes(struct kp_buf *text, struct kp_slice notes, const char *path)
{
    struct kp_slice line;
    kp_buf_addf(text, "# Made from the Kubespray inventory %s\n", kp_path_base(path));
    if (notes.len)
        kp_buf_adds(text, "# Not taken over:\n");
    while (kp_slice_line(&notes, &line)) {
        kp_buf_adds(text, "#   ");
        kp_buf_add(text, line.ptr, line.len);
        kp_buf_adds(text, "\n");
    }
}

static int run_convert(void *user, int argc, char **argv, struct kp_err *err)
{
    (void)argc;
    (void)argv;
    const struct options *options = user;
    kp_auto(kp_yaml_document) document = NULL;
    kp_auto(kp_inventory) inventory = NULL;
    kp_auto_value(kp_buf) ours = KP_BUF(KP_YAML_MAX), notes = KP_BUF(KP_YAML_MAX);
    kp_auto_value(kp_buf) text = KP_BUF(2 * KP_YAML_MAX);
    if (!options->inventory)
        return kp_fail(err, KP_USAGE, "--inventory FILE is missing");
    if (kp_yaml_load(&document, options->inventory, err) < 0)
        return -1;
    if (!kp_kubespray_is(kp_yaml_root(document)))
        return kp_fail(err, KP_USAGE, "%s: not a Kubespray inventory: it has no `all:`",
                       options->inventory);
    if (kp_kubespray_convert(&ours, &notes, options->inventory, kp_yaml_root(document), err) < 0 ||
        kp_inventory_load(&inventory, options->inventory, err) < 0) // is it good as ours, too?
        return -1;
    add_notes(&text, kp_buf_slice(&notes), options->inventory);
    kp_buf_add(&text, ours.data, ours.len);
    if (options->output)
        return kp_file_write_atomic(options->output, kp_buf_slice(&text), 0644, err);
    fwrite(text.data, 1, text.len, stdout);
    return 0;
}

const struct kp_command kp_cmd_convert = {
    "convert",
    "",
    0,
    0,
    "writes a Kubespray inventory as one of ours",
    "Every command reads a Kubespray inventory as it is, and uses just what this prints. What has "
    "no "
    "meaning for kinstall stands above it as comments, with file and line; passwords and values of "
    "ansible-vault are never read.",
    option_table,
    sizeof(struct options),
    run_convert,
};
