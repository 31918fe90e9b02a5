/* SPDX-License-Identifier: Apache-2.0 */
#include "install/site.h"
#include "manifests/yaml.h"

#include "bundle/set.h"
#include "core/file.h"
#include "core/interrupt.h"
#include "core/pool.h"
#include "core/secret.h"
#include "core/text.h"
#include "bundle/report.h"
#include "install/audit/audit_log.h"
#include "install/hand.h"
#include "install/journal.h"
#include "install/inventory/network.h"

#include <openssl/rand.h>
#include <stdlib.h>

#define SIGNERS_MAX 512
#define WHO_MAX 128 /* that a node takes */
#define FRONT_FILE "bundle.front"

struct kp_open_site {
    struct kp_site site;
    struct kp_inventory *inventory;
    struct kp_trust *trust;
    struct kp_bundle *bundle;
    struct kp_screen *screen;
    struct kp_journal *journal;
    struct kp_audit_log *audit;
    json_t *signed_by; /* who, for the audit log */
    char *state_folder, *password;
    char **urls;
    const struct kp_site_options *options;
    struct kp_policy_outcome policy;
    const struct kp_err *err; /* the command's */
    int flags;
    double verify_seconds;
    char signers[SIGNERS_MAX];
};

/* A run that was refused or failed before its first step has an end too: only one that was killed
 * has none. */
static void end_audit(struct kp_open_site *open)
{
    struct kp_err ignored = KP_ERR_INIT;
    const char *failed = open->err->code ? open->err->message : NULL;
    if (open->audit)
        (void)!kp_audit_log_end(open->audit, failed, &ignored);
}

void kp_open_site_free(struct kp_open_site *open)
{
    if (!open)
        return;
    end_audit(open);
    for (size_t i = 0; i < open->site.node_count; i++) {
        struct kp_site_node *node = &open->site.nodes[i];
        kp_session_free(node->session);
        json_decref(node->facts);
        json_decref(node->record);
        kp_free(node->failed_step);
    }
    kp_free(open->site.nodes);
    kp_free(open->site.mirror_ca);
    for (char **url = open->urls; url && *url; url++)
        kp_free(*url);
    kp_free(open->urls);
    kp_audit_log_free(open->audit);
    json_decref(open->signed_by);
    kp_journal_free(open->journal);
    kp_screen_free(open->screen);
    kp_bundle_free(open->bundle);
    kp_trust_free(open->trust);
    kp_policy_outcome_release(&open->policy);
    kp_inventory_free(open->inventory);
    kp_free(open->state_folder);
    if (open->password)
        kp_free_secret(open->password, strlen(open->password));
    pthread_mutex_destroy(&open->site.lock);
    kp_free(open);
}

struct kp_site *kp_site_of(struct kp_open_site *open)
{
    return &open->site;
}

double kp_site_verify_seconds(const struct kp_open_site *open)
{
    return open->verify_seconds;
}

const char *kp_site_signers(const struct kp_open_site *open)
{
    return open->signers;
}

static int load_trust(struct kp_open_site *open, struct kp_err *err)
{
    open->trust = kp_trust_new();
    for (size_t i = 0; i < open->options->keys.count; i++)
        if (kp_trust_add_file(open->trust, open->options->keys.items[i], err) < 0)
            return -1;
    return kp_trust_add_default(open->trust, err);
}

static void name_signers(struct kp_open_site *open, const struct kp_signers *signers)
{
    size_t used = 0;
    for (size_t i = 0; i < signers->count && used < SIGNERS_MAX; i++) {
        const struct kp_signer *signer = &signers->items[i];
        if (signer->state == KP_SIG_VALID)
            used += (size_t)snprintf(open->signers + used, SIGNERS_MAX - used, "%s%s",
                                     used ? ", " : "", signer->name);
    }
    if (used < SIGNERS_MAX)
        snprintf(open->signers + used, SIGNERS_MAX - used, " (%zu of %u needed)", signers->valid,
                 open->policy.threshold);
}

const char *kp_site_insecure(const struct kp_open_site *open)
{
    return open->policy.insecure;
}

static void show_progress(void *user, uint64_t done, uint64_t total)
{
    (void)total;
    kp_row_set(user, done);
}

static int verify_file(struct kp_open_site *open, struct kp_bundle *bundle, struct kp_err *err)
{
    struct kp_row *row = kp_screen_row(open->screen, "verify", kp_bundle_size(bundle));
    struct kp_verify_options options = {.progress = show_progress, .user = row};
    int result = kp_bundle_verify(bundle, &options, NULL, err);
    kp_row_done(row, NULL);
    return result < 0 ? kp_hint(err, "copy the file again; nothing was changed on any node") : 0;
}

static int verify_bases(struct kp_open_site *open, struct kp_err *err)
{
    const struct kp_text_list *paths = &open->options->bases;
    if (kp_bundle_open_bases(open->bundle, paths->items, paths->count, err) < 0)
        return kp_wrap(err, "--base");
    for (size_t i = 0; i < kp_bundle_manifest(open->bundle)->base_count; i++)
        if (kp_bundle_base(open->bundle, i) &&
            verify_file(open, kp_bundle_base(open->bundle, i), err) < 0)
            return kp_wrap(err, "--base");
    return 0;
}

static int verify_bundle(struct kp_open_site *open, struct kp_err *err)
{
    const char *path = open->options->bundle;
    kp_auto_free struct kp_signers *signers = kp_alloc(sizeof(*signers));
    double start = kp_now();
    if (kp_policy_open(&open->bundle, path, open->trust, &open->options->policy, signers,
                       &open->policy, err) < 0 ||
        (open->flags & KP_SITE_APPLY &&
         kp_policy_apply(open->bundle, open->trust, &open->options->policy, &open->policy, err) <
             0) ||
        kp_policy_terms(open->trust, &open->options->policy, &open->policy, err) < 0)
        return -1;
    name_signers(open, signers);
    if (open->policy.insecure[0])
        kp_screen_line(open->screen, "%sNOT VERIFIED%s  %s", kp_colour_on(stderr, KP_RED),
                       kp_colour_off(stderr), open->policy.insecure);
    open->signed_by = kp_bundle_signers_json(signers);
    if (verify_file(open, open->bundle, err) < 0 || verify_bases(open, err) < 0)
        return -1;
    open->verify_seconds = kp_now() - start;
    open->site.bundle = open->bundle;
    open->site.manifest = kp_bundle_manifest(open->bundle);
    kp_screen_line(open->screen, "bundle    %s  serial %llu  signed by %s   %s verified in %s",
                   open->site.manifest->name, (unsigned long long)open->site.manifest->serial,
                   open->signers, kp_text_bytes(kp_bundle_size(open->bundle)).s,
                   kp_text_seconds(open->verify_seconds).s);
    return kp_inventory_check_bundle(open->inventory, open->site.manifest, err);
}

static void list_mirrors(struct kp_open_site *open)
{
    const struct kp_inventory *inventory = open->inventory;
    open->urls = kp_alloc_array(inventory->node_count + 1, sizeof(char *));
    size_t n = 0;
    for (size_t i = 0; i < inventory->node_count; i++) {
        if (!inventory->nodes[i].mirror)
            continue;
        kp_auto_free char *host = kp_network_url_host(inventory->nodes[i].address);
        open->urls[n++] = kp_asprintf("https://%s:%u", host, inventory->mirror.port);
    }
    open->site.mirror_urls = (const char **)open->urls;
}

static void fill_site(struct kp_open_site *open)
{
    struct kp_site *site = &open->site;
    uint8_t random[16];
    if (RAND_bytes(random, sizeof(random)) != 1)
        abort(); // without randomness no token of a cluster is safe
    kp_hex(site->run_id, random, sizeof(random));
    site->inventory = open->inventory;
    site->trust = open->trust;
    site->terms = open->policy.terms;
    site->state_folder = open->state_folder;
    site->screen = open->screen;
    site->dry_run = (open->flags & KP_SITE_DRY_RUN) != 0;
    site->node_count = open->inventory->node_count;
    site->nodes = kp_alloc_array(site->node_count, sizeof(struct kp_site_node));
    for (size_t i = 0; i < site->node_count; i++)
        site->nodes[i].node = &open->inventory->nodes[i];
    list_mirrors(open);
}

static json_t *bundle_json(const struct kp_manifest *m)
{
    return m ? json_pack("{s:s, s:s, s:I, s:s}", "id", kp_digest_hex(&m->id).hex, "name", m->name,
                         "serial", (json_int_t)m->serial, "created", m->created)
             : json_null();
}

static int open_audit(struct kp_open_site *open, struct kp_err *err)
{
    kp_auto_free char *note = NULL;
    kp_auto_free char *who = kp_audit_who();
    if (kp_audit_log_open(&open->audit, open->state_folder, open->site.run_id, &note, err) < 0)
        return -1;
    if (note)
        kp_screen_line(open->screen, "%swarning%s   %s", kp_colour_on(stderr, KP_RED),
                       kp_colour_off(stderr), note);
    open->site.audit = open->audit;
    json_t *members =
        json_pack("{s:s, s:s, s:s, s:o, s:O?, s:o, s:s*}", "who", who, "kinstall", KP_VERSION,
                  "cluster", open->inventory->cluster, "bundle", bundle_json(open->site.manifest),
                  "signers", open->signed_by, "policy",
                  kp_policy_json(&open->policy, &open->options->keys), "found", note);
    if (kp_audit_log_add(open->audit, "run", members, err) < 0)
        return -1;
    return kp_audit_log_keep_head(open->audit, err);
}

static char *front_path(const struct kp_open_site *open)
{
    return kp_path_join(open->state_folder, FRONT_FILE);
}

int kp_site_accept(struct kp_open_site *open, struct kp_err *err)
{
    kp_auto_free char *path = front_path(open);
    if (kp_policy_keep_serial(open->site.manifest, &open->policy, err) < 0)
        return -1;
    return kp_bundle_keep_front(open->bundle, path, err);
}

int kp_site_bundle_before(struct kp_open_site *open, struct kp_bundle **out, struct kp_err *err)
{
    kp_auto_free char *path = front_path(open);
    *out = NULL;
    if (!kp_file_exists(path))
        return 0;
    int result = kp_bundle_open_front(out, path, open->trust, err);
    // One that was applied without trust is no reason not to apply another.
    return result < 0 && err->code == KP_UNTRUSTED ? 0 : result;
}

static int open_kept_front(struct kp_open_site *open, struct kp_err *err)
{
    kp_auto_free char *path = front_path(open);
    if (!kp_file_exists(path)) {
        kp_fail(err, KP_USAGE, "--bundle FILE is missing, and no %s says what was installed", path);
        return kp_hint(
            err, "give the bundle that was installed, or run this where it was installed from");
    }
    if (kp_bundle_open_front(&open->bundle, path, open->trust, err) < 0 ||
        kp_policy_terms(open->trust, &open->options->policy, &open->policy, err) < 0)
        return kp_hint(err, "give the bundle that was installed by --bundle FILE");
    open->site.bundle = open->bundle;
    open->site.manifest = kp_bundle_manifest(open->bundle);
    return 0;
}

/* The exceptions that somebody typed, in the journal. */
static void note_policy(struct kp_open_site *open)
{
    char text[64];
    const struct kp_text_list *keys = &open->options->keys;
    for (size_t i = 0; i < keys->count; i++)
        kp_journal_note(open->journal, "key-given", NULL, NULL, keys->items[i]);
    snprintf(text, sizeof(text), "serial %llu", (unsigned long long)open->policy.serial);
    if (open->policy.downgraded)
        kp_journal_note(open->journal, "allow-downgrade", NULL, NULL, text);
    if (open->policy.expired)
        kp_journal_note(open->journal, "allow-expired", NULL, NULL, NULL);
    if (open->policy.hooks)
        kp_journal_note(open->journal, "allow-hooks", NULL, NULL, NULL);
    if (open->policy.insecure[0])
        kp_journal_note(open->journal, "insecure-no-verify", NULL, NULL, open->policy.insecure);
}

static int open_state(struct kp_open_site *open, struct kp_err *err)
{
    if (open->flags & KP_SITE_READ_ONLY)
        return 0;
    if (kp_journal_open(&open->journal, open->state_folder, open->site.run_id, err) < 0)
        return -1;
    open->site.journal = open->journal;
    kp_journal_note(open->journal, "run", NULL, NULL,
                    open->site.manifest ? open->site.manifest->name : NULL);
    note_policy(open);
    if (open->flags & KP_SITE_APPLY && kp_policy_keep_revoked(open->trust, &open->policy, err) < 0)
        return -1;
    return open_audit(open, err);
}

/* Of a Kubespray inventory: what was not taken over, the mere variables in one line. */
static void show_notes(const struct kp_open_site *open)
{
    struct kp_slice notes = kp_slice_of(open->inventory->notes), line;
    kp_auto_value(kp_buf) names = KP_BUF(KP_YAML_MAX);
    while (notes.ptr && kp_slice_line(&notes, &line)) {
        kp_auto_free char *text = kp_strndup(line.ptr, line.len);
        const char *name = strrchr(text, ' ');
        if (name && strchr(text, ' ') == name && name[-1] == ':') // file:line: name
            kp_buf_addf(&names, "%s%s", names.len ? " " : "", name + 1);
        else
            kp_screen_line(open->screen, "inventory  %s", text);
    }
    if (names.len)
        kp_screen_line(open->screen, "inventory  of Kubespray; without a meaning here: %s",
                       kp_buf_slice(&names).ptr);
}

int kp_site_open(struct kp_open_site **out, const struct kp_site_options *options, int flags,
                 struct kp_err *err)
{
    kp_auto(kp_open_site) open = kp_alloc(sizeof(*open));
    pthread_mutex_init(&open->site.lock, NULL);
    open->options = options;
    open->err = err;
    open->flags = flags;
    open->screen =
        kp_screen_new(options->quiet || options->json ? KP_SCREEN_QUIET : KP_SCREEN_AUTO);
    if (!options->inventory)
        return kp_fail(err, KP_USAGE, "--inventory (-i) FILE is missing");
    if (!options->bundle && !(flags & KP_SITE_NO_BUNDLE))
        return kp_fail(err, KP_USAGE, "--bundle FILE is missing");
    if (kp_inventory_load(&open->inventory, options->inventory, err) < 0)
        return -1;
    open->state_folder = kp_inventory_state_folder(open->inventory);
    if (flags & KP_SITE_APPLY)
        show_notes(open);
    if (load_trust(open, err) < 0)
        return -1;
    if (options->bundle && verify_bundle(open, err) < 0)
        return -1;
    if (!options->bundle && flags & KP_SITE_KEPT_FRONT && open_kept_front(open, err) < 0)
        return -1;
    fill_site(open);
    if (kp_previous_load(&open->site.previous, open->state_folder, err) < 0 ||
        open_state(open, err) < 0)
        return -1;
    *out = kp_steal(&open);
    return 0;
}

static int ask_password(struct kp_open_site *open, struct kp_err *err)
{
    struct kp_inventory *inventory = open->inventory;
    bool needed = false;
    for (size_t i = 0; i < inventory->node_count; i++)
        needed = needed || inventory->nodes[i].ask_password;
    if (!needed)
        return 0;
    uint64_t fd = open->options->password_fd;
    static const struct kp_secret_question question = {"the sudo password",
                                                       "sudo password: ", "--sudo-password-fd"};
    if (kp_secret_read(&open->password, fd ? (int)fd : -1, &question, err) < 0)
        return -1;
    for (size_t i = 0; i < inventory->node_count; i++)
        if (inventory->nodes[i].ask_password)
            inventory->nodes[i].ssh.sudo_password = open->password;
    return 0;
}

static int open_node(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    struct kp_session_bundle bundle = {site->bundle, site->trust, site->terms};
    if (kp_session_open(&node->session, &node->node->ssh, &bundle, err) < 0)
        return -1;
    if (site->audit)
        kp_session_set_witness(node->session, kp_audit_log_witness, site->audit);
    node->arch = kp_session_arch(node->session);
    if (!site->bundle) // the knode that is there answers questions only
        return 0;
    kp_auto_json settings = json_array();
    for (size_t i = 0; i < node->node->sysctl_count; i++)
        json_array_append_new(settings, json_string(node->node->sysctls[i].key));
    if (kp_session_facts(node->session, settings, &node->facts, err) < 0)
        return -1;
    return kp_session_record(node->session, &node->record, err);
}

static int connect_node(void *user, size_t item, unsigned worker, struct kp_err *err)
{
    (void)worker;
    (void)err;
    struct kp_site *site = user;
    struct kp_site_node *node = &site->nodes[item];
    if (kp_interrupted() || open_node(site, node, &node->failure) == 0)
        return 0;
    node->failed = true;
    node->failed_step = kp_strdup("connect");
    kp_journal_note(site->journal, "failed", node->node->name, "connect", node->failure.message);
    return 0;
}

int kp_site_connect(struct kp_open_site *open, struct kp_err *err)
{
    uint64_t fd = open->options->registry_fd;
    if (ask_password(open, err) < 0 ||
        (open->flags & KP_SITE_APPLY &&
         kp_registries_unlock(open->inventory, fd ? (int)fd : -1, err) < 0))
        return -1;
    if (kp_parallel(open->inventory->parallel, open->site.node_count, connect_node, &open->site,
                    err) < 0)
        return -1;
    kp_hand_look(&open->site, kp_hand_ask_node);
    kp_site_choose_first(open, NULL);
    return kp_interrupt_check(err);
}

void kp_site_choose_first(struct kp_open_site *open, const char *except)
{
    struct kp_site_node *nodes = open->site.nodes;
    struct kp_node *list = open->inventory->nodes;
    size_t i = kp_hand_find(&open->site, except);
    if (i == 0 || i == open->site.node_count)
        return;
    struct kp_site_node node = nodes[i];
    struct kp_node entry = list[i];
    memmove(&nodes[1], &nodes[0], i * sizeof(*nodes));
    memmove(&list[1], &list[0], i * sizeof(*list));
    nodes[0] = node;
    list[0] = entry;
    for (size_t j = 0; j <= i; j++)
        nodes[j].node = &list[j];
}

bool kp_site_is_bare(const struct kp_site_node *node)
{
    return node->failed && node->failure.reason && strcmp(node->failure.reason, "no_knode") == 0;
}

int kp_site_lock_nodes(struct kp_open_site *open, struct kp_err *err)
{
    char who[WHO_MAX];
    kp_auto_free char *by = kp_audit_who();
    snprintf(who, sizeof(who), "kinstall by %s", by);
    for (char *c = who; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?'; // the node takes plain text
    for (size_t i = 0; i < open->site.node_count; i++) {
        struct kp_site_node *node = &open->site.nodes[i];
        if (node->failed)
            continue;
        if (kp_session_lock(node->session, open->site.run_id, who, err) < 0 ||
            (open->audit && kp_audit_log_catch_up(open->audit, node->session, err) < 0))
            return -1;
    }
    return 0;
}
