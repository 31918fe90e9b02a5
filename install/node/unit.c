/* SPDX-License-Identifier: Apache-2.0 */
/* Op unit: systemd units by systemctl. */
#include "install/node/node.h"

#include "core/file.h"
#include "core/proc.h"

#define SYSTEMCTL_TIMEOUT 180

char *kp_node_output(const char *const *argv, int *status)
{
    struct kp_err ignored;
    kp_auto_value(kp_buf) out = KP_BUF(65536), errors = KP_BUF(65536);
    int code = 127;
    if (kp_proc_run(argv, NULL, (struct kp_slice){"", 0}, 10, 65536, &out, &errors, &code,
                    &ignored) < 0)
        code = 127;
    if (status)
        *status = code;
    struct kp_slice text = kp_slice_trim(kp_buf_slice(out.len || code == 0 ? &out : &errors));
    return kp_strndup(text.ptr, text.len);
}

bool kp_node_has_systemd(void)
{
    return kp_file_exists("/run/systemd/system");
}

int kp_node_systemctl(const char *verb, const char *option, const char *unit, struct kp_err *err)
{
    kp_auto_value(kp_buf) out = KP_BUF(65536), errors = KP_BUF(65536);
    const char *argv[6] = {"systemctl", verb};
    size_t n = 2;
    int status;
    if (option)
        argv[n++] = option;
    if (unit)
        argv[n++] = unit;
    if (kp_proc_run(argv, NULL, (struct kp_slice){"", 0}, SYSTEMCTL_TIMEOUT, 65536, &out, &errors,
                    &status, err) < 0)
        return -1;
    if (status == 0)
        return 0;
    struct kp_slice rest = kp_buf_slice(&errors), said = {"", 0};
    kp_slice_line(&rest, &said);
    const char *journal[] = {"journalctl", "--no-pager",     "-q", "-o", "cat", "-n", "1",
                             "-u",         unit ? unit : "", NULL};
    kp_auto_free char *last = unit ? kp_node_output(journal, NULL) : kp_strdup("");
    kp_fail_as(err, KP_FAILED, "unit_failed", "systemctl %s %s: %.*s%s%.500s", verb,
               unit ? unit : "", (int)said.len, said.ptr, *last ? "; its journal ends: " : "",
               last);
    return unit ? kp_hint(err, "on the node: journalctl -u %s", unit) : -1;
}

static char *ask(const char *verb, const char *unit)
{
    const char *argv[] = {"systemctl", verb, unit, NULL};
    kp_auto_free char *said = kp_node_output(argv, NULL);
    said[strcspn(said, "\n")] = '\0';
    return kp_steal(&said);
}

struct unit {
    const char *name;
    bool dry_run, enabled, fixed, active, masked, there;
};

static struct unit look_at(const char *name, bool dry_run)
{
    struct unit unit = {.name = name, .dry_run = dry_run};
    kp_auto_free char *enabled = ask("is-enabled", name), *active = ask("is-active", name);
    unit.fixed = strcmp(enabled, "static") == 0 || strcmp(enabled, "indirect") == 0 ||
                 strcmp(enabled, "generated") == 0 || strcmp(enabled, "transient") == 0;
    unit.enabled = kp_starts_with(enabled, "enabled") || strcmp(enabled, "alias") == 0;
    unit.masked = kp_starts_with(enabled, "masked");
    unit.active = strcmp(active, "active") == 0 || strcmp(active, "reloading") == 0 ||
                  strcmp(active, "activating") == 0;
    unit.there = unit.enabled || unit.fixed || unit.masked || strcmp(enabled, "disabled") == 0;
    return unit;
}

static int enable_start(const struct unit *unit, bool *changed, struct kp_err *err)
{
    *changed = !unit->active || (!unit->enabled && !unit->fixed);
    if (!*changed || unit->dry_run)
        return 0;
    if (!unit->fixed && kp_node_systemctl("enable", "--quiet", unit->name, err) < 0)
        return -1;
    return kp_node_systemctl("start", NULL, unit->name, err);
}

static int stop_disable(const struct unit *unit, bool *changed, struct kp_err *err)
{
    *changed = unit->active || unit->enabled;
    if (!*changed || unit->dry_run)
        return 0;
    if (unit->active && kp_node_systemctl("stop", NULL, unit->name, err) < 0)
        return -1;
    return unit->enabled ? kp_node_systemctl("disable", "--quiet", unit->name, err) : 0;
}

static int act(const struct unit *unit, const char *action, bool *changed, struct kp_err *err)
{
    if (strcmp(action, "enable-start") == 0)
        return enable_start(unit, changed, err);
    if (strcmp(action, "stop-disable") == 0)
        return stop_disable(unit, changed, err);
    if (strcmp(action, "restart") == 0) {
        *changed = true;
        return unit->dry_run ? 0 : kp_node_systemctl("restart", NULL, unit->name, err);
    }
    bool mask = strcmp(action, "mask") == 0;
    if (!mask && strcmp(action, "unmask") != 0)
        return kp_fail_as(err, KP_USAGE, "bad_request", "unknown action \"%s\"", action);
    *changed = unit->masked != mask;
    return *changed && !unit->dry_run ? kp_node_systemctl(action, "--quiet", unit->name, err) : 0;
}

static bool unit_name_is_plain(const char *name)
{
    return *name && name[0] != '-' && strlen(name) < 200 &&
           name[strspn(name,
                       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._-\\:")] ==
               '\0';
}

int kp_node_op_unit(struct kp_node_request *request, const json_t *args, json_t **result,
                    struct kp_err *err)
{
    const char *action, *name;
    bool dry_run = kp_node_flag(args, "dry_run"), changed = false;
    if (kp_node_text(args, "action", 32, &action, err) < 0 ||
        kp_node_text(args, "unit", 255, &name, err) < 0)
        return -1;
    if (!kp_node_has_systemd())
        return kp_fail_as(err, KP_MISSING, "no_systemd", "this node does not run systemd");
    if (kp_node_commit(kp_node_request_state(request), dry_run, err) < 0)
        return -1;
    if (strcmp(action, "reload-daemon") == 0) {
        if (!dry_run && kp_node_systemctl("daemon-reload", NULL, NULL, err) < 0)
            return -1;
        *result = kp_node_change(false, NULL);
        return 0;
    }
    if (!unit_name_is_plain(name))
        return kp_fail_as(err, KP_USAGE, "bad_request", "\"%s\" is no unit's name", name);
    struct unit unit = look_at(name, dry_run);
    if (act(&unit, action, &changed, err) < 0)
        return -1;
    kp_auto_free char *diff = kp_asprintf("systemctl %s %s\n", action, name);
    *result = kp_node_change(changed, changed ? diff : NULL);
    return 0;
}
