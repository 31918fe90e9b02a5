/* SPDX-License-Identifier: Apache-2.0 */
#include "pack/lock.h"

#include <criterion/criterion.h>
#include <stdio.h>

static const char lock_text[] =
    "{\"kind\":\"kpack.lock/v1\",\"name\":\"k8s-v1.30.14-none-amd64\",\"serial\":7,"
    "\"created\":\"2026-11-23T21:00:00Z\",\"kpack\":\"0.1.0\",\"zstd\":\"1.5.4\",\"level\":3,"
    "\"kubernetes\":\"v1.30.14\",\"kubeadm_api\":\"v1beta3\",\"containerd_config\":2,"
    "\"runtimes\":[{\"name\":\"crun\",\"kind\":\"oci\",\"version\":\"1.17\",\"config\":0}],"
    "\"network\":\"none\",\"arches\":[\"amd64\"],\"programs\":[\"socat\"],\"waived\":[\"a.io/"
    "b:1\"],"
    "\"files\":[{\"component\":\"runc\",\"version\":\"1.2.6\",\"arch\":\"amd64\","
    "\"url\":\"https://x/runc\",\"sha256\":"
    "\"7031c1b283388d2c2e09b57badb803c05ebed362dc88d84b480cc47f72a21097\",\"size\":5,"
    "\"runtime\":\"crun\","
    "\"checked\":\"pinned\",\"license\":\"\",\"roles\":[\"worker\"],\"install\":[{\"name\":"
    "\"runc\","
    "\"target\":\"/usr/local/sbin/runc\",\"mode\":\"0755\"}],\"programs\":[\"socat\"]}],"
    "\"images\":[{\"reference\":\"registry.k8s.io/pause:3.9\",\"name\":\"pause\",\"digest\":"
    "\"7031c1b283388d2c2e09b57badb803c05ebed362dc88d84b480cc47f72a21097\","
    "\"checked\":\"expected-mismatch\",\"expected\":"
    "\"0031c1b283388d2c2e09b57badb803c05ebed362dc88d84b480cc47f72a21097\",\"roles\":[\"worker\"],"
    "\"pinned\":true,\"why\":\"release\",\"license\":\"\"}],"
    "\"manifests\":[{\"name\":\"m\",\"why\":\"--manifest\",\"url\":\"file:m.yaml\",\"sha256\":"
    "\"7031c1b283388d2c2e09b57badb803c05ebed362dc88d84b480cc47f72a21097\",\"size\":9,"
    "\"checked\":\"local\",\"replace\":[{\"find\":\"10.0.0.0/16\",\"with\":\"pods\"}],"
    "\"wait\":[{\"kind\":\"job\",\"namespace\":\"a\",\"name\":\"b\"}]}]}";

Test(lock, there_and_back)
{
    kp_auto(kp_plan) plan = NULL;
    kp_auto(kp_plan) again = NULL;
    struct kp_err err = KP_ERR_INIT;
    cr_assert_eq(kp_lock_parse(&plan, kp_slice_of(lock_text), "l.json", &err), 0, "%s",
                 err.message);
    cr_assert_str_eq(plan->waived[0], "a.io/b:1");
    cr_assert_eq(plan->files[0].roles, KP_ROLE_WORKER);
    cr_assert_eq(plan->files[0].installs[0].mode, 0755);
    cr_assert_str_eq(plan->files[0].programs[0], "socat");
    cr_assert_null(plan->files[0].local);
    cr_assert_eq(plan->images[0].checked, KP_CHECKED_EXPECTED_MISMATCH);
    cr_assert(plan->images[0].known && plan->images[0].has_expected && plan->images[0].pinned);
    cr_assert_str_eq(plan->manifests[0].replace[0].with, "pods");
    kp_auto_free char *text = kp_lock_dump(plan);
    cr_assert_eq(kp_lock_parse(&again, kp_slice_of(text), "l.json", &err), 0, "%s", err.message);
    kp_auto_free char *twice = kp_lock_dump(again);
    cr_assert_str_eq(text, twice);
    cr_assert_str_eq(again->files[0].programs[0], "socat");
    cr_assert_str_eq(again->files[0].runtime, "crun");
    cr_assert_eq(again->runtimes[0].kind, KP_RUNTIME_OCI);
}

/* The lock with one piece of text replaced. */
static char *spoilt(const char *from, const char *to)
{
    const char *at = strstr(lock_text, from);
    cr_assert_not_null(at, "%s", from);
    return kp_asprintf("%.*s%s%s", (int)(at - lock_text), lock_text, to, at + strlen(from));
}

static const struct {
    const char *from, *to, *message;
} flaws[] = {
    {"kpack.lock/v1", "kpack.lock/v2", "kpack.lock/v1 is needed"},
    {"\"serial\":7", "\"serial\":-7", "serial: a whole number"},
    {"\"level\":3", "\"level\":99", "level: a whole number"},
    {"\"level\":3", "\"level\":0", "arches and level must not be empty"},
    {"[\"amd64\"]", "[]", "arches and level must not be empty"},
    {"\"size\":5", "\"size\":5,\"extra\":1", "extra: unknown key"},
    {"\"checked\":\"pinned\"", "\"checked\":\"maybe\"", "checked: 'maybe' is unknown"},
    {"\"roles\":[\"worker\"]", "\"roles\":[\"boss\"]", "roles: 'boss' is unknown"},
    {"\"mode\":\"0755\"", "\"mode\":\"4755\"", "mode: octal digits are needed"},
    {"\"sha256\":\"7031", "\"sha256\":\"703X", "sha256: a SHA-256"},
    {"\"url\":\"https://x/runc\",", "", "url: is missing"},
    {"\"serial\":7", "\"serial\":7,\"serial\":8", "duplicate"},
};

Test(lock, flaws_are_named)
{
    for (size_t i = 0; i < KP_COUNT(flaws); i++) {
        kp_auto_free char *text = spoilt(flaws[i].from, flaws[i].to);
        struct kp_plan *plan = NULL;
        struct kp_err err = KP_ERR_INIT;
        cr_assert_eq(kp_lock_parse(&plan, kp_slice_of(text), "l.json", &err), -1, "%s",
                     flaws[i].to);
        cr_expect_eq(err.code, KP_USAGE);
        cr_expect_str_eq(err.reason, "bad_lock");
        cr_expect(strstr(err.message, flaws[i].message), "%s: got '%s'", flaws[i].to, err.message);
    }
}
