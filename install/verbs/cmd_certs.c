/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base64.h"
#include "core/file.h"
#include "core/text.h"
#include "install/verbs/cmd.h"
#include "install/pki/pki.h"
#include "install/site.h"
#include "install/steps/common.h"

#include <stdio.h>
#include <time.h>

#define DAY_S 86400L
#define WARN_DAYS 30
#define FILE_MAX ((size_t)256 << 10)
#define NAME_MAX_LEN 128

struct options {
    struct kp_site_options site;
    uint64_t days;
};

static const struct kp_option option_table[] = {
    KP_SITE_OPTIONS(options),
    {"days", 0, KP_OPT_NUMBER, offsetof(struct options, days), "N",
     "what ends within so many days counts as a fault (30)", 36500},
    {.name = NULL},
};

enum { CONTROL = KP_ROLE_CONTROL_PLANE, MEMBER = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER };
static const struct place { /* where a certificate may be; one that is not there is none */
    const char *path;
    unsigned roles; /* 0: of every node */
    bool kubeconfig;
} places[] = {
    {"/etc/kubernetes/pki/ca.crt", MEMBER, false},
    {"/etc/kubernetes/pki/apiserver.crt", CONTROL, false},
    {"/etc/kubernetes/pki/apiserver-kubelet-client.crt", CONTROL, false},
    {"/etc/kubernetes/pki/apiserver-etcd-client.crt", CONTROL, false},
    {"/etc/kubernetes/pki/front-proxy-ca.crt", CONTROL, false},
    {"/etc/kubernetes/pki/front-proxy-client.crt", CONTROL, false},
    {"/etc/kubernetes/pki/etcd/ca.crt", CONTROL, false},
    {"/etc/kubernetes/pki/etcd/server.crt", CONTROL, false},
    {"/etc/kubernetes/pki/etcd/peer.crt", CONTROL, false},
    {"/etc/kubernetes/pki/etcd/healthcheck-client.crt", CONTROL, false},
    {"/etc/kubernetes/admin.conf", CONTROL, true},
    {"/etc/kubernetes/super-admin.conf", CONTROL, true},
    {"/etc/kubernetes/controller-manager.conf", CONTROL, true},
    {"/etc/kubernetes/scheduler.conf", CONTROL, true},
    {"/var/lib/kubelet/pki/kubelet-client-current.pem", MEMBER, false},
    {"/var/lib/kubelet/pki/kubelet-server-current.pem", MEMBER, false},
    {"/var/lib/kubelet/pki/kubelet.crt", MEMBER, false},
    {"/etc/kpack/etcd/ca.pem", KP_ROLE_ETCD, false},
    {"/etc/kpack/etcd/member.pem", KP_ROLE_ETCD, false},
    {"/etc/kpack/etcd/client.pem", KP_ROLE_ETCD, false},
    {"/etc/kpack/mirror/tls.pem", 0, false},
    {"/etc/kpack/mirror-ca.pem", 0, false},
};
static const char *const own[] = {"mirror-ca.pem", "mirror.pem", "etcd/ca.pem"};

struct checking {
    json_t *list;
    time_t now;
    long days;
    size_t bad;
};

/* The client certificate inside a kubeconfig, as PEM. */
static bool take_embedded(struct kp_slice text, char **out, size_t *len)
{
    struct kp_slice line;
    while (kp_slice_line(&text, &line)) {
        struct kp_slice word = kp_slice_trim(line), key;
        if (!kp_slice_starts(word, "client-certificate-data:") || !kp_slice_cut(&word, ':', &key))
            continue;
        return kp_base64_parse(kp_slice_trim(word), out, len);
    }
    return false;
}

static int add(struct checking *c, const char *node, const char *path, struct kp_slice pem,
               struct kp_err *err)
{
    char name[NAME_MAX_LEN];
    time_t end;
    if (kp_pki_ends(&end, name, sizeof(name), pem, err) < 0)
        return kp_wrap(err, "%s: %s", node, path);
    long left = (long)((end - c->now) / DAY_S);
    bool ok = end > c->now && left >= c->days;
    c->bad += !ok;
    json_array_append_new(c->list, json_pack("{s:s, s:s, s:s, s:s, s:I, s:b}", "node", node, "file",
                                             path, "name", name, "ends", kp_text_utc(end).s, "days",
                                             (json_int_t)left, "ok", (int)ok));
    return 0;
}

static int look(struct checking *c, struct kp_site_node *node, const struct place *place,
                struct kp_err *err)
{
    // A client's file of the kubelet, and kubeconfigs, hold keys: wiped, and never shown.
    kp_auto_value(kp_buf) text = KP_BUF_SECRET(FILE_MAX);
    kp_auto_free char *embedded = NULL;
    size_t len;
    bool found;
    if (kp_session_get(node->session, place->path, &text, &found, err) < 0)
        return kp_wrap(err, "%s: read %s", node->node->name, place->path);
    if (!found)
        return 0;
    if (!place->kubeconfig)
        return add(c, node->node->name, place->path, kp_buf_slice(&text), err);
    if (!take_embedded(kp_buf_slice(&text), &embedded, &len))
        return 0; // it names files, which are checked by themselves
    return add(c, node->node->name, place->path, (struct kp_slice){embedded, len}, err);
}

static int look_here(struct checking *c, const struct kp_site *site, struct kp_err *err)
{
    for (size_t i = 0; i < KP_COUNT(own); i++) {
        kp_auto_free char *path = kp_path_join(site->state_folder, own[i]), *text = NULL;
        size_t len;
        if (!kp_file_exists(path))
            continue;
        if (kp_file_read(path, FILE_MAX, &text, &len, err) < 0 ||
            add(c, "(this host)", path, (struct kp_slice){text, len}, err) < 0)
            return -1;
    }
    return 0;
}

static void print_list(const struct checking *c)
{
    static const char *const heads[] = {"NODE", "CERTIFICATE", "NAME", "ENDS", "DAYS LEFT"};
    kp_auto(kp_table) table = kp_table_new(KP_COUNT(heads), heads);
    size_t i;
    const json_t *item;
    kp_table_right(table, 4);
    json_array_foreach(c->list, i, item)
    {
        bool ok = json_is_true(json_object_get(item, "ok"));
        kp_table_cell(table, KP_PLAIN, "%s", json_string_value(json_object_get(item, "node")));
        kp_table_cell(table, KP_PLAIN, "%s", json_string_value(json_object_get(item, "file")));
        kp_table_cell(table, KP_PLAIN, "%s", json_string_value(json_object_get(item, "name")));
        kp_table_cell(table, KP_PLAIN, "%s", json_string_value(json_object_get(item, "ends")));
        kp_table_cell(table, ok ? KP_PLAIN : KP_RED, "%lld",
                      (long long)json_integer_value(json_object_get(item, "days")));
    }
    kp_table_print(table, stdout);
}

static int check_nodes(struct checking *c, struct kp_site *site, struct kp_err *err)
{
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        if (node->failed) {
            fprintf(stderr, "%s cannot be reached: %s\n", node->node->name, node->failure.message);
            c->bad++;
            continue;
        }
        for (size_t j = 0; j < KP_COUNT(places); j++)
            if ((!places[j].roles || (places[j].roles & node->node->roles)) &&
                look(c, node, &places[j], err) < 0)
                return -1;
    }
    return look_here(c, site, err);
}

static int run_certs(void *user, int argc, char **argv, struct kp_err *err)
{
    const struct options *options = user;
    kp_auto(kp_open_site) open = NULL;
    (void)argc;
    if (strcmp(argv[0], "check") != 0)
        return kp_fail(err, KP_USAGE, "check is needed, not %s", argv[0]);
    if (kp_site_open(&open, &options->site,
                     KP_SITE_READ_ONLY | KP_SITE_NO_BUNDLE | KP_SITE_KEPT_FRONT, err) < 0 ||
        kp_site_connect(open, err) < 0)
        return -1;
    kp_auto_json list = json_array();
    struct checking c = {
        .list = list, .now = time(NULL), .days = options->days ? (long)options->days : WARN_DAYS};
    if (check_nodes(&c, kp_site_of(open), err) < 0)
        return -1;
    if (options->site.json)
        kp_json_print(list);
    else
        print_list(&c);
    err->reported = options->site.json;
    if (!c.bad)
        return 0;
    kp_fail_as(err, KP_FAILED, "certificates", "%zu end within %ld days, or could not be read",
               c.bad, c.days);
    return kp_hint(err, "kinstall apply renews the mirrors' and external etcd's, kubelets renew "
                        "theirs; those of the control plane: kubeadm certs renew all, or an "
                        "upgrade");
}

const struct kp_command kp_cmd_certs = {
    "certs",
    "check",
    1,
    1,
    "every certificate of every node, and when it ends",
    "Exit code 1 where one ends within --days. Kubernetes' own, those inside kubeconfigs, the "
    "kubelets', external etcd's, the mirrors', and the CAs of this host.",
    option_table,
    sizeof(struct options),
    run_certs,
};
