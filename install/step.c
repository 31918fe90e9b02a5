/* SPDX-License-Identifier: Apache-2.0 */
#include "install/step.h"

#include "core/file.h"
#include "core/interrupt.h"
#include "core/pool.h"
#include "core/text.h"
#include "install/audit/audit.h"
#include "install/hand.h"
#include "install/hooks.h"
#include "install/journal.h"

#define RECONNECTS 5
#define RECONNECT_WAIT_S 6
#define LOSSES_MAX 8 /* of one step on one node; a step asks several nodes */
#define TAIL_MAX 600

struct running { /* one step on its nodes */
    struct kp_site *site;
    const struct kp_step *step;
    struct kp_site_node **nodes;
};

static bool takes_part(const struct kp_site *site, const struct kp_step *step, size_t i)
{
    const struct kp_node *node = &site->inventory->nodes[i];
    bool control = (node->roles & KP_ROLE_CONTROL_PLANE) != 0;
    bool member = control || (node->roles & KP_ROLE_WORKER);
    switch (step->nodes) {
    case KP_STEP_ADMIN:
        return false;
    case KP_STEP_FIRST:
        return i == 0;
    case KP_STEP_CONTROL_PLANES:
        return control;
    case KP_STEP_OTHER_CONTROL_PLANES:
        return control && i > 0;
    case KP_STEP_WORKERS:
        return member && !control;
    case KP_STEP_JOINING:
        return member && i > 0;
    case KP_STEP_MIRRORS:
        return node->mirror;
    case KP_STEP_ALL:
        return member;
    case KP_STEP_ETCD:
        return (node->roles & KP_ROLE_ETCD) != 0;
    case KP_STEP_EVERY:
        return true;
    }
    return false;
}

static const char *node_name(const struct kp_site_node *node)
{
    return node ? node->node->name : NULL;
}

static int begin_and_apply(struct kp_site *site, const struct kp_step *step,
                           struct kp_site_node *node, struct kp_err *err)
{
    const char *cluster = site->inventory->cluster;
    bool recorded = step->recorded && node && !site->dry_run;
    if (recorded && kp_session_mark(node->session, cluster, step->name, false, NULL, err) < 0)
        return -1;
    kp_journal_note(site->journal, "begin", node_name(node), step->name, NULL);
    if (step->apply(site, node, err) < 0)
        return -1;
    if (recorded && kp_session_mark(node->session, cluster, step->name, true, NULL, err) < 0)
        return -1;
    kp_journal_note(site->journal, "done", node_name(node), step->name, NULL);
    return 0;
}

static int try_step(struct kp_site *site, const struct kp_step *step, struct kp_site_node *node,
                    struct kp_err *err)
{
    bool done = false;
    if (kp_interrupt_check(err) < 0)
        return -1;
    if (step->check && step->check(site, node, &done, err) < 0)
        return -1;
    return done ? 0 : begin_and_apply(site, step, node, err);
}

/* The node whose connection it was: a step also asks others, the hand above all. */
static struct kp_site_node *find_lost(struct kp_site *site, const struct kp_err *lost)
{
    for (size_t i = 0; i < site->node_count; i++)
        if (site->nodes[i].session && site->nodes[i].session == lost->about)
            return &site->nodes[i];
    return NULL;
}

/* A node that reboots or a link that is cut for a while costs a pause, not the run. */
static bool come_back(struct kp_site *site, const struct kp_err *lost)
{
    struct kp_site_node *node = kp_session_lost_by(lost) ? find_lost(site, lost) : NULL;
    if (!node)
        return false;
    kp_journal_note(site->journal, "connection_lost", node_name(node), NULL, lost->message);
    for (int i = 0; i < RECONNECTS && !kp_interrupted(); i++) {
        struct kp_err err = KP_ERR_INIT;
        kp_step_note(site, node, "connection lost, trying again (%d of %d)", i + 1, RECONNECTS);
        if (kp_session_reconnect(node->session, &err) == 0)
            return true;
        struct timespec pause = {.tv_sec = RECONNECT_WAIT_S};
        nanosleep(&pause, NULL);
    }
    return false;
}

size_t kp_site_failed(const struct kp_site *site)
{
    size_t n = 0;
    for (size_t i = 0; i < site->node_count; i++)
        n += site->nodes[i].failed;
    return n;
}

static int fail_unasked(const struct kp_site_node *node, struct kp_err *err)
{
    if (node->failed || !node->session)
        *err = node->failure;
    else
        (void)!kp_session_why_lost(node->session, err);
    return kp_wrap(err, "%s cannot be reached", node->node->name);
}

int kp_site_all_asked(const struct kp_site *site, unsigned roles, const struct kp_site_node *except,
                      struct kp_err *err)
{
    for (size_t i = 0; i < site->node_count; i++) {
        const struct kp_site_node *node = &site->nodes[i];
        bool counts = node != except && (node->node->roles & roles);
        if (counts && (!node->session || kp_session_lost(node->session)))
            return fail_unasked(node, err);
    }
    return 0;
}

static bool any_failed(const struct kp_site *site)
{
    return kp_site_failed(site) > 0;
}

static int run_on_node(void *user, size_t item, unsigned worker, struct kp_err *err)
{
    (void)worker;
    struct running *running = user;
    struct kp_site *site = running->site;
    struct kp_site_node *node = running->nodes[item];
    struct kp_err failure = KP_ERR_INIT;
    if (running->step->halting && any_failed(site))
        return 0;
    int result = try_step(site, running->step, node, &failure);
    // A firewall that forgets its connections has cut those to all nodes at once.
    for (int losses = 0; result < 0 && losses < LOSSES_MAX && come_back(site, &failure); losses++) {
        failure = KP_ERR_INIT;
        result = try_step(site, running->step, node, &failure);
    }
    if (result == 0)
        return 0;
    kp_journal_note(site->journal, "failed", node_name(node), running->step->name, failure.message);
    if (!node) {
        *err = failure;
        return -1;
    }
    node->failed = true;
    node->failure = failure;
    node->failed_step = kp_strdup(running->step->name);
    return 0; // the other nodes go on
}

static int run_step(struct kp_site *site, const struct kp_step *step, struct kp_err *err)
{
    kp_auto_free struct kp_site_node **nodes =
        kp_alloc_array(site->node_count + 1, sizeof(struct kp_site_node *));
    size_t n = 0;
    if ((step->whole || step->halting) && any_failed(site))
        return 0;
    for (size_t i = 0; i < site->node_count; i++)
        if (takes_part(site, step, i) && !site->nodes[i].failed)
            nodes[n++] = &site->nodes[i];
    if (step->nodes == KP_STEP_ADMIN)
        n = 1; // nodes[0] stays NULL
    struct running running = {site, step, nodes};
    unsigned threads = step->halting  ? (site->batch ? site->batch : 1)
                       : step->serial ? 1
                                      : site->inventory->parallel;
    return n ? kp_parallel(threads, n, run_on_node, &running, err) : 0;
}

/* Those beside the phase, one after the other, each on its nodes side by side. One that did not
 * come to its end anywhere ends the run, on all nodes: nothing may be built on what it was to do.
 */
static int run_hooks(struct kp_site *site, const char *phase, bool after, struct kp_err *err)
{
    size_t failed = kp_site_failed(site), count = site->manifest ? site->manifest->hook_count : 0;
    int result = 0;
    for (size_t i = 0; result == 0 && site->hooks && !site->dry_run && !site->stopped && i < count;
         i++) {
        const struct kp_hook *hook = &site->manifest->hooks[i];
        if (strcmp(hook->phase, phase) != 0 || hook->after != after)
            continue;
        struct kp_step step = kp_hook_step(hook);
        site->hook = hook;
        result = run_step(site, &step, err);
        site->hook = NULL;
        site->stopped = kp_site_failed(site) > failed;
    }
    return result;
}

static size_t count_changes(const struct kp_site *site)
{
    size_t changes = 0;
    for (size_t i = 0; i < site->node_count; i++)
        changes += site->nodes[i].changes;
    return changes;
}

static const char *phase_text(const struct kp_site *site, const struct kp_step *steps, char *out,
                              size_t size)
{
    out[0] = '\0';
    for (; steps->name; steps++)
        if (steps->describe && steps->describe(site, out, size) == 0)
            break;
    return out;
}

static void end_phase(struct kp_site *site, const struct kp_step *steps, bool ok, bool changed,
                      double seconds)
{
    char text[256];
    phase_text(site, steps, text, sizeof(text));
    size_t width = kp_text_width(text);
    kp_screen_line(site->screen, " %s%s%s %-9s %s%*s %8s%s",
                   kp_colour_on(stderr, ok ? KP_GREEN : KP_RED), ok ? "✓" : "✗",
                   kp_colour_off(stderr), steps->phase, text, (int)(width < 52 ? 52 - width : 0),
                   "", kp_text_seconds(seconds).s, ok && !changed ? "  unchanged" : "");
}

static int run_phase(struct kp_site *site, const struct kp_step *steps, struct kp_err *err)
{
    double start = kp_now();
    size_t before = count_changes(site);
    int result = 0;
    site->row = kp_screen_row(site->screen, steps->phase, 0);
    kp_row_note(site->row, "running");
    kp_journal_note(site->journal, "phase", NULL, steps->phase, NULL);
    result = run_hooks(site, steps->phase, false, err);
    for (const struct kp_step *step = steps; result == 0 && step->name; step++)
        if (!site->nodes[0].failed && !site->stopped)
            result = run_step(site, step, err);
    if (result == 0)
        result = run_hooks(site, steps->phase, true, err);
    struct kp_row *row = site->row;
    pthread_mutex_lock(&site->lock);
    site->row = NULL;
    pthread_mutex_unlock(&site->lock);
    kp_row_done(row, NULL);
    bool changed = count_changes(site) != before;
    end_phase(site, steps, result == 0 && !any_failed(site), changed, kp_now() - start);
    return result;
}

static bool halts(const struct kp_step *steps)
{
    for (; steps->name; steps++)
        if (steps->halting)
            return true;
    return false;
}

static int run_phases(struct kp_site *site, const struct kp_step *const *phases, size_t count,
                      struct kp_err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (kp_interrupt_check(err) < 0)
            return kp_hint(err, "run the same command again to continue");
        if (run_phase(site, phases[i], err) < 0)
            return kp_wrap(err, "%s", phases[i]->phase);
        // Nothing can be built on a first control plane that is not there.
        if (site->nodes[0].failed || site->stopped || (halts(phases[i]) && any_failed(site)))
            break;
    }
    if (site->stopped)
        return kp_fail_as(err, KP_FAILED, "hook_failed",
                          "a hook failed: nothing that comes after it was begun");
    if (any_failed(site))
        return kp_fail_as(err, KP_FAILED, "node_failed", "not every node is done");
    return kp_journal_check(site->journal, err);
}

int kp_steps_run(struct kp_site *site, const struct kp_step *const *phases, size_t count,
                 struct kp_err *err)
{
    kp_hand_refuse_removed(site);
    if (site->hooks && site->dry_run)
        kp_hooks_plan(site);
    int result = run_phases(site, phases, count, err);
    if (result == 0 && site->hooks && !site->dry_run)
        kp_hooks_end(site);
    struct kp_err failure = KP_ERR_INIT;
    if (!site->audit || site->dry_run)
        return result;
    int closed = kp_audit_end(site, result == 0 ? NULL : err->message, &failure);
    // What stopped the run says more than that the log could not be closed.
    if (closed < 0 && result == 0)
        *err = failure;
    return result < 0 ? result : closed;
}

void kp_step_changed(struct kp_site *site, struct kp_site_node *node, const char *what,
                     const struct kp_change *change)
{
    if (change && !change->changed)
        return;
    pthread_mutex_lock(&site->lock);
    if (node)
        node->changes++;
    pthread_mutex_unlock(&site->lock);
    const char *diff = change ? change->diff : NULL;
    if (site->dry_run) {
        kp_screen_line(site->screen, "  %-12s %s%s%s", node ? node->node->name : "admin", what,
                       diff ? "\n" : "", diff ? diff : "");
        return;
    }
    kp_journal_note(site->journal, "changed", node_name(node), NULL, what);
    if (!node)
        return;
    kp_auto_free char *line =
        kp_asprintf("%s %s\n%s%s", kp_text_utc(time(NULL)).s, what, diff ? diff : "",
                    diff && !kp_ends_with(diff, "\n") ? "\n" : "");
    kp_journal_log(site->journal, node->node->name, line, strlen(line));
}

void kp_step_note(struct kp_site *site, const struct kp_site_node *node, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&site->lock);
    if (site->row)
        kp_row_note(site->row, "%s%s%s", node ? node->node->name : "", node ? ": " : "", text);
    pthread_mutex_unlock(&site->lock);
}

struct logging {
    struct kp_site *site;
    const char *node;
    const struct kp_run *run;
};

static void log_output(void *user, const char *data, size_t len)
{
    const struct logging *logging = user;
    kp_journal_log(logging->site->journal, logging->node, data, len);
    if (logging->run->output)
        logging->run->output(logging->run->user, data, len);
}

/* The last lines of what a command said, on one line. */
static void tail_of(const struct kp_run_result *result, char *out, size_t size)
{
    const struct kp_buf *from = result->err_out.len ? &result->err_out : &result->out;
    struct kp_slice text = kp_slice_trim(kp_buf_slice(from));
    size_t skip = text.len > size - 1 ? text.len - (size - 1) : 0;
    snprintf(out, size, "%.*s", (int)(text.len - skip), text.ptr + skip);
}

/* Joins run side by side: a second in which two of them work is one second. */
static void time_kubeadm(struct kp_site *site, int more)
{
    double now = kp_now();
    pthread_mutex_lock(&site->lock);
    if (more > 0 && site->kubeadm_running++ == 0)
        site->kubeadm_since = now;
    if (more < 0 && --site->kubeadm_running == 0)
        site->kubeadm_seconds += now - site->kubeadm_since;
    pthread_mutex_unlock(&site->lock);
}

int kp_step_run(struct kp_site *site, struct kp_site_node *node, const struct kp_run *run,
                struct kp_run_result *out, struct kp_err *err)
{
    struct logging logging = {site, node->node->name, run};
    struct kp_run logged = *run;
    logged.output = log_output;
    logged.user = &logging;
    const char *program = kp_path_base(run->argv[0]);
    bool kubeadm = strcmp(program, "kubeadm") == 0;
    double start = kp_now();
    if (kubeadm)
        time_kubeadm(site, 1);
    int result = kp_session_run(node->session, &logged, out, err);
    if (kubeadm)
        time_kubeadm(site, -1);
    if (result < 0)
        return kp_wrap(err, "%s", program);
    if (out->status == 0)
        return 0;
    char tail[TAIL_MAX];
    tail_of(out, tail, sizeof(tail));
    kp_fail_as(err, KP_FAILED, "command_failed", "%s%s%s failed (exit %d) after %s: %s", program,
               run->argv[1] ? " " : "", run->argv[1] ? run->argv[1] : "", out->status,
               kp_text_seconds(kp_now() - start).s, tail);
    return -1;
}
