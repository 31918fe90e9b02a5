/* SPDX-License-Identifier: Apache-2.0 */
/* How the final verification knows that each add-on works. */
#include "install/addons/addons.h"

#include "core/interrupt.h"
#include "core/text.h"
#include "install/steps/common.h"

#include <time.h>

#define READY_S 120.0
#define PAUSE_NS 500000000L
#define VOLUME_S 120

/* 0 and *why NULL where it is well; *why (kp_free) what is wrong. -1: interrupted. */
typedef int ask_check(struct kp_site *site, const char *subject, char **why, struct kp_err *err);

static int why_of(const struct kp_err *failure, char **why)
{
    *why = kp_strdup(failure->message);
    return 0;
}

/* "apiservice/NAME Available" */
static int ask_condition(struct kp_site *site, const char *subject, char **why, struct kp_err *err)
{
    struct kp_slice type = kp_slice_of(subject), object;
    struct kp_err failure = KP_ERR_INIT;
    kp_auto_json value = NULL;
    (void)err;
    if (!kp_slice_cut(&type, ' ', &object)) {
        *why = kp_strdup("the check names no condition");
        return 0;
    }
    kp_auto_free char *name = kp_strndup(object.ptr, object.len);
    const char *argv[] = {"get", name, "-o", "json", NULL};
    if (kp_kube_json(site, &value, NULL, argv, &failure) < 0)
        return why_of(&failure, why);
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(json_object_get(value, "status"), "conditions"), i, item)
    {
        if (!kp_slice_equal(type, kp_json_string(item, "type")))
            continue;
        if (strcmp(kp_json_string(item, "status"), "True") != 0)
            *why = kp_asprintf("%s: %s", kp_json_string(item, "reason"),
                               kp_json_string(item, "message"));
        return 0;
    }
    *why = kp_asprintf("%s has no condition %s yet", name, type.ptr);
    return 0;
}

static int ask_items(struct kp_site *site, const char *subject, char **why, struct kp_err *err)
{
    const char *argv[] = {"get", "--raw", subject, NULL};
    struct kp_err failure = KP_ERR_INIT;
    kp_auto_json value = NULL;
    (void)err;
    if (kp_kube_json(site, &value, NULL, argv, &failure) < 0)
        return why_of(&failure, why);
    size_t n = json_array_size(json_object_get(value, "items"));
    if (n < kp_members(site))
        *why = kp_asprintf("%zu of %zu", n, kp_members(site));
    return 0;
}

static int ask_admit(struct kp_site *site, const char *subject, char **why, struct kp_err *err)
{
    static const char *const argv[] = {
        "apply", "--server-side", "--dry-run=server", "--field-manager=kpack-check", "-f", "-",
        NULL};
    struct kp_err failure = KP_ERR_INIT;
    (void)err;
    if (kp_kube(site, argv, kp_slice_of(subject), NULL, &failure) < 0)
        return why_of(&failure, why);
    return 0;
}

/* A claim of the class is bound, and a pod writes and reads in it; all of it goes again. */
static int try_volume(struct kp_site *site, const char *class_, const char *namespace_,
                      struct kp_err *err)
{
    static const char *const apply[] = {
        "apply", "--server-side", "--field-manager=kpack", "-f", "-", NULL};
    const struct kp_image *image = kp_manifest_image(site->manifest, "probe");
    kp_auto_free char *limit = kp_asprintf("--timeout=%ds", VOLUME_S);
    const char *wait[] = {
        "wait",       "-n",  namespace_, "--for=jsonpath={.status.phase}=Succeeded",
        "pod/volume", limit, NULL};
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *yaml = NULL;
    if (!image)
        return kp_fail_as(err, KP_MISSING, "missing_image", "the bundle has no probe image");
    kp_vars_set(vars, "namespace", namespace_);
    kp_vars_set(vars, "image", image->reference);
    kp_vars_set(vars, "class", class_);
    if (kp_render(&yaml, "check-volume.yaml", vars, err) < 0 ||
        kp_kube(site, apply, kp_slice_of(yaml), NULL, err) < 0)
        return -1;
    return kp_kube_long(site, wait, (struct kp_slice){0}, VOLUME_S + 30, NULL, err);
}

static int ask_volume(struct kp_site *site, const char *subject, char **why, struct kp_err *err)
{
    struct kp_err failure = KP_ERR_INIT;
    kp_auto_free char *namespace_ = kp_asprintf("kpack-check-%.8s", site->run_id);
    const char *clean[] = {"delete",         "namespace", namespace_, "--ignore-not-found",
                           "--timeout=120s", NULL};
    if (try_volume(site, subject, namespace_, &failure) < 0)
        why_of(&failure, why);
    return kp_kube_long(site, clean, (struct kp_slice){0}, VOLUME_S + 30, NULL, err);
}

static const struct {
    const char *kind;
    ask_check *ask;
    bool makes; /* something: only in a deep check, and once */
} checks[] = {
    {"condition", ask_condition, false},
    {"items", ask_items, false},
    {"admit", ask_admit, false},
    {"volume", ask_volume, true},
};

static int await_check(struct kp_site *site, size_t which, const char *subject, char **why,
                       struct kp_err *err)
{
    double until = kp_now() + READY_S;
    for (;;) {
        if (kp_interrupt_check(err) < 0 || checks[which].ask(site, subject, why, err) < 0)
            return -1;
        if (!*why || checks[which].makes || kp_now() > until)
            return 0;
        kp_step_note(site, NULL, "%.200s", *why);
        kp_free(*why);
        *why = NULL;
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
}

static int run_check(struct kp_health *health, struct kp_site *site, const char *addon,
                     const struct kp_addon_check *check, bool deep, struct kp_err *err)
{
    double start = kp_now();
    size_t which = 0;
    kp_auto_free char *name = kp_asprintf("add-on %s", addon), *why = NULL;
    while (which < KP_COUNT(checks) && strcmp(checks[which].kind, check->kind) != 0)
        which++;
    if (which == KP_COUNT(checks))
        return kp_fail(err, KP_USAGE, "add-on %s: this kinstall has no check '%s'", addon,
                       check->kind);
    if (checks[which].makes && !deep)
        return 0;
    kp_step_note(site, NULL, "%s: %s", addon, check->what);
    if (await_check(site, which, check->subject, &why, err) < 0)
        return -1;
    json_t *failures = json_array();
    if (why)
        json_array_append_new(failures, json_sprintf("%s: %s", check->what, why));
    kp_health_note(health, name, start, check->what, failures);
    return 0;
}

/* What the release has no check for (what the user gave): its workloads are ready. */
static int check_workloads(struct kp_health *health, struct kp_site *site,
                           struct kp_records *records, const struct kp_addon *addon,
                           struct kp_err *err)
{
    double start = kp_now();
    struct kp_err failure = KP_ERR_INIT;
    kp_auto_free char *name = kp_asprintf("add-on %s", addon->name);
    json_t *failures = json_array();
    if (kp_addon_await(site, records, addon, &failure) < 0)
        json_array_append_new(failures, json_string(failure.message));
    kp_health_note(health, name, start, "its workloads are ready", failures);
    return kp_interrupt_check(err);
}

int kp_addons_check(struct kp_health *health, struct kp_site *site, bool deep, struct kp_err *err)
{
    kp_auto(kp_records) records = NULL;
    struct kp_addon addon = {.next = 0};
    if (kp_records_load(&records, site, err) < 0)
        return -1;
    while (kp_addons_next(site->manifest, &addon)) {
        const struct kp_record *record = kp_records_find(records, addon.name);
        size_t count = 0;
        for (size_t i = addon.first; !(record && record->removed) && i < addon.next; i++)
            for (size_t j = 0; j < site->manifest->manifests[i].check_count; j++, count++)
                if (run_check(health, site, addon.name, &site->manifest->manifests[i].checks[j],
                              deep, err) < 0)
                    return -1;
        if (!(record && record->removed) && !count && deep &&
            check_workloads(health, site, records, &addon, err) < 0)
            return -1;
    }
    return 0;
}
