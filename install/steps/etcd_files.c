/* SPDX-License-Identifier: Apache-2.0 */
/* What external etcd stands on: its CA and certificates, its unit and settings, its snapshots. */
#include "install/steps/etcd.h"

#include "core/file.h"
#include "install/etcd/etcd.h"
#include "install/steps/common.h"
#include "install/steps/renew.h"

#define CA_NAME "ca"
#define UNIT_FILE "/etc/systemd/system/" KP_ETCD_UNIT
#define SCRIPT "/usr/local/libexec/kpack/etcd-backup"
#define BACKUP_ENV "/etc/kpack/etcd-backup.env"
#define SERVICE "kpack-etcd-backup.service"
#define TIMER "kpack-etcd-backup.timer"
#define SYSTEMD "/etc/systemd/system/"
#define TOKEN_HEX 16

static char *folder_of(const struct kp_site *site)
{
    return kp_path_join(site->state_folder, "etcd");
}

static int load_ca(struct kp_site *site, struct kp_pki_pair *ca, bool *found, struct kp_err *err)
{
    kp_auto_free char *folder = folder_of(site);
    return kp_pki_load(ca, folder, CA_NAME, found, err);
}

/* A CA that was lost with the state folder must not be replaced under a cluster that runs. */
static int check_ca(struct kp_site *site, const char *ca, struct kp_err *err)
{
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        kp_auto_value(kp_buf) have = KP_BUF(KP_PEM_MAX);
        bool found, begun, finished;
        if (node->failed || !(node->node->roles & KP_ROLE_ETCD))
            continue;
        if (kp_recorded(site, node, "etcd-member", &begun, &finished, err) < 0)
            return kp_wrap(err, "%s", node->node->name);
        if (!finished)
            continue;
        if (kp_session_get(node->session, KP_ETCD_FOLDER "/ca.pem", &have, &found, err) < 0)
            return -1;
        if (!found || (ca && strcmp(kp_buf_slice(&have).ptr, ca) == 0))
            continue;
        kp_fail_as(err, KP_MISSING, "other_ca", "etcd on %s has another CA than %s/etcd/ca.pem",
                   node->node->name, site->state_folder);
        return kp_hint(err, "put the state folder of this cluster back from its copy");
    }
    return 0;
}

static int make_ca(struct kp_site *site, struct kp_pki_pair *ca, struct kp_err *err)
{
    kp_auto_free char *folder = folder_of(site);
    kp_auto_free char *name = kp_asprintf("kpack etcd of %s", site->inventory->cluster);
    bool found;
    if (load_ca(site, ca, &found, err) < 0 ||
        check_ca(site, found ? ca->certificate : NULL, err) < 0)
        return -1;
    if (found)
        return 0;
    kp_step_changed(site, NULL, "make the CA of etcd (etcd/ca.pem)", NULL);
    if (site->dry_run)
        return 0;
    if (kp_mkdirs(folder, 0700, err) < 0 || kp_pki_make_ca(ca, name, err) < 0)
        return -1;
    return kp_pki_store(ca, folder, CA_NAME, err);
}

struct wanted {
    const char *what; /* "member", "client", "apiserver" */
    unsigned use;
    const char *sans[5];
    size_t san_count;
};

static int ensure(struct kp_site *site, const struct kp_pki_pair *ca, const struct kp_node *node,
                  const struct wanted *wanted, struct kp_err *err)
{
    kp_auto_free char *folder = folder_of(site);
    kp_auto_free char *name = kp_asprintf("%s-%s", node->name, wanted->what);
    kp_auto_free char *subject = kp_asprintf("etcd-%s-%s", wanted->what, node->name);
    kp_auto_value(kp_pki_pair) leaf = {0}, fresh = {0};
    struct kp_err ignored; // half a pair is made anew
    bool found = false, covers = false;
    if (kp_pki_load(&leaf, folder, name, &found, &ignored) < 0)
        found = false;
    if (found && ca->certificate &&
        kp_pki_covers(&covers, &leaf, ca->certificate, wanted->sans, wanted->san_count, err) < 0)
        return -1;
    if (covers && !kp_renew_due(site, kp_slice_of(leaf.certificate)))
        return 0;
    kp_auto_free char *what = kp_asprintf("issue etcd's certificate %s.pem", name);
    kp_step_changed(site, NULL, what, NULL);
    if (site->dry_run)
        return 0;
    if (kp_pki_issue_for(&fresh, ca, subject, wanted->use, wanted->sans, wanted->san_count, err) <
        0)
        return -1;
    return kp_pki_store(&fresh, folder, name, err);
}

int kp_etcd_make_pki(struct kp_site *site, struct kp_err *err)
{
    kp_auto_value(kp_pki_pair) ca = {0};
    static const struct wanted client = {"client", KP_PKI_CLIENT, {NULL}, 0};
    static const struct wanted apiserver = {"apiserver", KP_PKI_CLIENT, {NULL}, 0};
    if (make_ca(site, &ca, err) < 0)
        return -1;
    for (size_t i = 0; i < site->node_count; i++) {
        const struct kp_node *node = site->nodes[i].node;
        const struct wanted member = {
            "member",
            KP_PKI_SERVER | KP_PKI_CLIENT,
            {node->name, node->address, "localhost", "127.0.0.1", node->address2},
            node->address2 ? 5 : 4};
        if ((node->roles & KP_ROLE_ETCD) && (ensure(site, &ca, node, &member, err) < 0 ||
                                             ensure(site, &ca, node, &client, err) < 0))
            return -1;
        if ((node->roles & KP_ROLE_CONTROL_PLANE) && ensure(site, &ca, node, &apiserver, err) < 0)
            return -1;
    }
    return 0;
}

/* Nothing is there yet in a dry run of an install. */
static int place_pair(struct kp_site *site, struct kp_site_node *node, const char *what,
                      const char *certificate, const char *key, bool *changed, struct kp_err *err)
{
    kp_auto_free char *folder = folder_of(site);
    kp_auto_free char *name = kp_asprintf("%s-%s", node->node->name, what);
    kp_auto_value(kp_pki_pair) pair = {0};
    struct kp_change would = {.changed = true};
    bool found;
    if (kp_pki_load(&pair, folder, name, &found, err) < 0)
        return -1;
    if (!found) {
        kp_auto_free char *text = kp_asprintf("write %s", certificate);
        kp_step_changed(site, node, text, &would);
        return 0;
    }
    if (kp_place_secret(site, node, key, pair.key, changed, err) < 0)
        return -1;
    return kp_place(site, node, certificate, kp_slice_of(pair.certificate), 0644, changed, err);
}

static int place_ca(struct kp_site *site, struct kp_site_node *node, const char *path,
                    bool *changed, struct kp_err *err)
{
    kp_auto_value(kp_pki_pair) ca = {0};
    bool found;
    if (load_ca(site, &ca, &found, err) < 0)
        return -1;
    return found ? kp_place(site, node, path, kp_slice_of(ca.certificate), 0644, changed, err) : 0;
}

static int place_settings(struct kp_site *site, struct kp_site_node *node, bool *changed,
                          struct kp_err *err)
{
    const struct kp_etcd_options *options = &site->inventory->etcd;
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *client = kp_etcd_url(node->node, KP_ETCD_CLIENT_PORT);
    kp_auto_free char *peer = kp_etcd_url(node->node, KP_ETCD_PEER_PORT);
    kp_vars_set(vars, "node", node->node->name);
    kp_vars_set(vars, "client", client);
    kp_vars_set(vars, "peer", peer);
    kp_vars_setf(vars, "quota", "%llu", (unsigned long long)options->quota_bytes);
    kp_vars_setf(vars, "heartbeat", "%u", options->heartbeat_ms);
    kp_vars_setf(vars, "election", "%u", options->election_ms);
    if (kp_place_template(site, node, KP_ETCD_FOLDER "/etcd.env", "etcd.env", vars, changed, err) <
        0)
        return -1;
    return kp_place_template(site, node, UNIT_FILE, "etcd.service", vars, changed, err);
}

int kp_etcd_place_certificates(struct kp_site *site, struct kp_site_node *node, bool *changed,
                               struct kp_err *err)
{
    if (place_ca(site, node, KP_ETCD_FOLDER "/ca.pem", changed, err) < 0 ||
        place_pair(site, node, "member", KP_ETCD_FOLDER "/member.pem", KP_ETCD_FOLDER "/member.key",
                   changed, err) < 0)
        return -1;
    // etcdctl's alone: nothing that runs reads it
    return place_pair(site, node, "client", KP_ETCD_FOLDER "/client.pem",
                      KP_ETCD_FOLDER "/client.key", NULL, err);
}

int kp_etcd_place_files(struct kp_site *site, struct kp_site_node *node, bool *changed,
                        struct kp_err *err)
{
    static const char *const programs[] = {"etcd", "etcdctl", "etcdutl"};
    for (size_t i = 0; i < KP_COUNT(programs); i++)
        if (kp_place_file(site, node, programs[i], false, changed, err) < 0)
            return -1;
    if (kp_etcd_place_certificates(site, node, changed, err) < 0)
        return -1;
    return place_settings(site, node, changed, err);
}

int kp_etcd_token(char **out, struct kp_site *site, struct kp_err *err)
{
    kp_auto_value(kp_pki_pair) ca = {0};
    struct kp_digest digest;
    bool found;
    if (load_ca(site, &ca, &found, err) < 0)
        return -1;
    kp_sha256(found ? ca.certificate : "", found ? strlen(ca.certificate) : 0, &digest);
    *out = kp_asprintf("%s-%.*s", site->inventory->cluster, TOKEN_HEX, kp_digest_hex(&digest).hex);
    return 0;
}

int kp_etcd_place_initial(struct kp_site *site, struct kp_site_node *node, const char *cluster,
                          const char *state, bool *changed, struct kp_err *err)
{
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *token = NULL;
    if (kp_etcd_token(&token, site, err) < 0)
        return -1;
    kp_vars_set(vars, "cluster", cluster);
    kp_vars_set(vars, "state", state);
    kp_vars_set(vars, "token", token);
    return kp_place_template(site, node, KP_ETCD_FOLDER "/initial.env", "etcd-initial.env", vars,
                             changed, err);
}

int kp_etcd_place_client(struct kp_site *site, struct kp_site_node *node, bool *changed,
                         struct kp_err *err)
{
    if (!site->inventory->etcd.external)
        return 0;
    if (place_ca(site, node, KP_ETCD_CLIENT_CA, changed, err) < 0)
        return -1;
    return place_pair(site, node, "apiserver", KP_ETCD_CLIENT_CERT, KP_ETCD_CLIENT_KEY, changed,
                      err);
}

static int drop_backup(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    bool there;
    if (kp_have_file(node, SYSTEMD TIMER, &there, err) < 0)
        return -1;
    if (!there)
        return 0;
    if (kp_place_unit(site, node, TIMER, KP_UNIT_STOP_DISABLE, NULL, err) < 0 ||
        kp_place_removed(site, node, SYSTEMD TIMER, NULL, err) < 0)
        return -1;
    return kp_place_removed(site, node, SYSTEMD SERVICE, NULL, err);
}

static int check_schedule(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const char *schedule = site->inventory->etcd.backup_schedule;
    const char *argv[] = {"systemd-analyze", "calendar", schedule, NULL};
    int status;
    if (kp_ask(site, node, argv, 30, &status, NULL, err) < 0)
        return -1;
    return status == 0
               ? 0
               : kp_fail(err, KP_USAGE, "%s: etcd.backup.schedule: systemd does not know %s",
                         site->inventory->path, schedule);
}

int kp_etcd_place_backup(struct kp_site *site, struct kp_site_node *node, struct kp_err *err)
{
    const struct kp_etcd_options *options = &site->inventory->etcd;
    kp_auto(kp_vars) vars = kp_vars_new();
    kp_auto_free char *script = NULL;
    bool external = options->external, changed = false;
    if (!options->backup_schedule)
        return drop_backup(site, node, err);
    kp_vars_set(vars, "cluster", site->inventory->cluster);
    kp_vars_set(vars, "schedule", options->backup_schedule);
    kp_vars_setf(vars, "keep", "%u", options->backup_keep);
    kp_vars_set(vars, "ca", external ? KP_ETCD_FOLDER "/ca.pem" : KP_ETCD_CLIENT_CA);
    kp_vars_set(vars, "cert",
                external ? KP_ETCD_FOLDER "/client.pem"
                         : "/etc/kubernetes/pki/etcd/healthcheck-client.crt");
    kp_vars_set(vars, "key",
                external ? KP_ETCD_FOLDER "/client.key"
                         : "/etc/kubernetes/pki/etcd/healthcheck-client.key");
    if (check_schedule(site, node, err) < 0 ||
        kp_render(&script, "etcd-backup.sh", vars, err) < 0 ||
        kp_place(site, node, SCRIPT, kp_slice_of(script), 0755, NULL, err) < 0 ||
        kp_place_template(site, node, BACKUP_ENV, "etcd-backup.env", vars, NULL, err) < 0 ||
        kp_place_template(site, node, SYSTEMD SERVICE, "etcd-backup.service", vars, &changed, err) <
            0 ||
        kp_place_template(site, node, SYSTEMD TIMER, "etcd-backup.timer", vars, &changed, err) < 0)
        return -1;
    return kp_place_service(site, node, TIMER, changed, err);
}
