/* SPDX-License-Identifier: Apache-2.0 */
#include "core/file.h"
#include "core/text.h"
#include "install/verbs/cmd.h"
#include "install/audit/holdings.h"
#include "install/site.h"

#include <stdio.h>

struct options {
    struct kp_site_options site;
    const char *output;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    {"output", 'o', KP_OPT_TEXT, offsetof(struct options, output), "FILE",
     "write the receipt there, for kpack create --have", 0},
    {.name = NULL}};

static uint64_t blobs_size(const struct kp_receipt_bundle *bundle)
{
    uint64_t size = 0;
    for (size_t i = 0; i < bundle->blob_count; i++)
        size += bundle->blobs[i].size;
    return size;
}

static void print_table(const struct kp_receipt *receipt)
{
    static const char *const heads[] = {"BUNDLE", "SERIAL", "ID", "BLOBS", "SIZE", "MIRRORS"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    kp_table_right(table, 3);
    kp_table_right(table, 4);
    for (size_t i = 0; i < receipt->bundle_count; i++) {
        const struct kp_receipt_bundle *bundle = &receipt->bundles[i];
        kp_auto_value(kp_buf) mirrors = KP_BUF(KP_RECEIPT_MIRRORS_MAX * (KP_NAME_MAX + 2));
        for (size_t k = 0; k < bundle->mirror_count; k++)
            kp_buf_addf(&mirrors, "%s%s", k ? " " : "", bundle->mirrors[k]);
        kp_table_cell(table, KP_PLAIN, "%s", bundle->name);
        kp_table_cell(table, KP_PLAIN, "%llu", (unsigned long long)bundle->serial);
        kp_table_cell(table, KP_PLAIN, "%.12s", kp_digest_hex(&bundle->id).hex);
        kp_table_cell(table, KP_PLAIN, "%zu", bundle->blob_count);
        kp_table_cell(table, KP_PLAIN, "%s", kp_text_bytes(blobs_size(bundle)).s);
        kp_table_cell(table, KP_PLAIN, "%s", kp_buf_slice(&mirrors).ptr);
    }
    kp_table_print(table, stdout);
}

static int run_receipt(void *user, int argc, char **argv, struct kp_err *err)
{
    (void)argc;
    (void)argv;
    const struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    kp_auto(kp_receipt) receipt = NULL;
    if (kp_site_open(&open, &options->site, KP_SITE_READ_ONLY | KP_SITE_NO_BUNDLE, err) < 0 ||
        kp_site_connect(open, err) < 0 || kp_holdings_receipt(kp_site_of(open), &receipt, err) < 0)
        return -1;
    kp_auto_free char *text = kp_receipt_dump(receipt);
    if (options->output && kp_file_write_atomic(options->output, kp_slice_of(text), 0644, err) < 0)
        return kp_wrap(err, "--output");
    if (options->site.json) {
        fputs(text, stdout);
        return 0;
    }
    print_table(receipt);
    if (options->output)
        printf("receipt   %s   take it to kpack create --have\n", options->output);
    return 0;
}

const struct kp_command kp_cmd_receipt = {
    "receipt",
    "",
    0,
    0,
    "lists the bundles and blobs that the site's mirrors hold",
    "The site receipt, written by --output, is carried out to where bundles are made: kpack create "
    "--have RECEIPT then leaves out what the site has. No bundle is needed; knode is the one that "
    "the last install left on the mirrors. What was placed on nodes, and by whom, is another "
    "matter: kinstall audit.",
    option_table,
    sizeof(struct options),
    run_receipt,
};
