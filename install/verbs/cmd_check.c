/* SPDX-License-Identifier: Apache-2.0 */
#include "install/verbs/cmd.h"
#include "install/audit/holdings.h"
#include "install/check/preflight.h"
#include "install/site.h"
#include "install/steps/site_ca.h"

struct options {
    struct kp_site_options site;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options), KP_POLICY_OPTIONS(options), {.name = NULL}};

static int run_check(void *user, int argc, char **argv, struct kp_err *err)
{
    (void)argc;
    (void)argv;
    const struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    if (kp_site_open(&open, &options->site, KP_SITE_APPLY | KP_SITE_READ_ONLY, err) < 0 ||
        kp_site_ca_check(kp_site_of(open), err) < 0 || kp_site_connect(open, err) < 0 ||
        kp_holdings_find(kp_site_of(open), err) < 0)
        return -1;
    const struct kp_site *site = kp_site_of(open);
    kp_auto_value(kp_findings) findings = {0};
    kp_preflight(site, &findings);
    int result = findings.errors ? kp_fail_as(err, KP_FAILED, "preflight",
                                              "%zu error%s found; nothing was changed",
                                              findings.errors, findings.errors == 1 ? "" : "s")
                                 : 0;
    if (options->site.json) {
        kp_auto_json report = kp_preflight_json(site, &findings);
        return kp_json_end(report, result, err);
    }
    kp_preflight_print(site, &findings, stdout);
    return result;
}

const struct kp_command kp_cmd_check = {
    "check",
    "",
    0,
    0,
    "all pre-checks of all nodes in one table; changes nothing",
    "Verifies the bundle, connects to every node, and shows whatever would stop an install: all "
    "findings of all nodes at once.",
    option_table,
    sizeof(struct options),
    run_check,
};
