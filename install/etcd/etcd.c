/* SPDX-License-Identifier: Apache-2.0 */
#include "install/etcd/etcd.h"

#include "core/interrupt.h"
#include "core/text.h"
#include "install/inventory/network.h"
#include "install/steps/common.h"

#include <inttypes.h>
#include <time.h>

#define LONG_DIGITS 16
#define ARGV_MAX 32
#define COMMAND_S 30
#define COUNT_S 120
#define PAUSE_NS 300000000L

/* One token of JSON outside of texts: a long integer is put in quotes. */
static size_t copy_number(struct kp_buf *out, const char *at, const char *end)
{
    size_t len = 0;
    while (at + len < end && strchr("0123456789.eE+-", at[len]) && at[len])
        len++;
    bool whole = strspn(at, "0123456789") >= len;
    bool quote = whole && len >= LONG_DIGITS;
    kp_buf_addf(out, "%s%.*s%s", quote ? "\"" : "", (int)len, at, quote ? "\"" : "");
    return len;
}

static size_t copy_text(struct kp_buf *out, const char *at, const char *end)
{
    size_t len = 1;
    while (at + len < end && at[len] != '"')
        len += at[len] == '\\' && at + len + 1 < end ? 2 : 1;
    len += at + len < end;
    kp_buf_add(out, at, len);
    return len;
}

int kp_etcd_parse(json_t **out, struct kp_slice text, struct kp_err *err)
{
    kp_auto_value(kp_buf) safe = KP_BUF(KP_ETCD_JSON_MAX);
    kp_auto_free char *copy = kp_strndup(text.ptr ? text.ptr : "", text.len); // NUL-terminated
    const char *at = copy, *end = copy + strlen(copy);
    while (at < end) {
        if (*at == '"')
            at += copy_text(&safe, at, end);
        else if (*at >= '0' && *at <= '9')
            at += copy_number(&safe, at, end);
        else
            kp_buf_add(&safe, at++, 1);
    }
    return kp_json_parse(out, kp_buf_slice(&safe), KP_ETCD_JSON_MAX, "etcdctl's answer", err);
}

static int bad_answer(struct kp_err *err)
{
    return kp_fail_as(err, KP_FAILED, "bad_reply", "etcdctl's answer is not understood");
}

/* A text, or a small number as one. */
static bool number_text(const json_t *object, const char *key, char *out, size_t size)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value))
        return snprintf(out, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value)) > 0;
    const char *text = json_string_value(value);
    if (!text || strlen(text) >= size)
        return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static uint64_t number_of(const json_t *object, const char *key)
{
    char text[24];
    uint64_t out = 0;
    if (number_text(object, key, text, sizeof(text)) &&
        !kp_parse_u64(kp_slice_of(text), UINT64_MAX, &out))
        out = 0;
    return out;
}

static bool read_member(struct kp_etcd_member *out, const json_t *item)
{
    const char *peer = json_string_value(json_array_get(json_object_get(item, "peerURLs"), 0));
    const char *name = json_string_value(json_object_get(item, "name"));
    *out = (struct kp_etcd_member){.learner = json_is_true(json_object_get(item, "isLearner"))};
    snprintf(out->name, sizeof(out->name), "%s", name ? name : "");
    snprintf(out->peer, sizeof(out->peer), "%s", peer ? peer : "");
    return number_text(item, "ID", out->id, sizeof(out->id));
}

int kp_etcd_read_members(struct kp_etcd_members *out, const json_t *answer, struct kp_err *err)
{
    const json_t *list = json_object_get(answer, "members"), *item;
    size_t i;
    out->count = 0;
    if (!json_is_array(list) || json_array_size(list) > KP_ETCD_MEMBERS_MAX)
        return bad_answer(err);
    json_array_foreach(list, i, item)
    {
        if (!read_member(&out->items[out->count++], item))
            return bad_answer(err);
    }
    return 0;
}

int kp_etcd_read_status(struct kp_etcd_status *out, const json_t *answer, struct kp_err *err)
{
    const json_t *status = json_object_get(json_array_get(answer, 0), "Status");
    const json_t *header = json_object_get(status, "header");
    const char *version = json_string_value(json_object_get(status, "version"));
    const char *storage = json_string_value(json_object_get(status, "storageVersion"));
    *out = (struct kp_etcd_status){
        .db_size = number_of(status, "dbSize"),
        .in_use = number_of(status, "dbSizeInUse"),
        .revision = number_of(header, "revision"),
        .raft_index = number_of(status, "raftIndex"),
        .raft_term = number_of(status, "raftTerm"),
        .learner = json_is_true(json_object_get(status, "isLearner")),
    };
    if (!version || !number_text(header, "cluster_id", out->cluster, sizeof(out->cluster)) ||
        !number_text(header, "member_id", out->member, sizeof(out->member)))
        return bad_answer(err);
    snprintf(out->version, sizeof(out->version), "%s", version);
    snprintf(out->storage, sizeof(out->storage), "%s", storage ? storage : "");
    if (!number_text(status, "leader", out->leader, sizeof(out->leader)))
        out->leader[0] = '\0';
    return 0;
}

int kp_etcd_hex(char out[17], const char *decimal, struct kp_err *err)
{
    uint64_t id;
    if (!kp_parse_u64(kp_slice_of(decimal), UINT64_MAX, &id))
        return bad_answer(err);
    snprintf(out, 17, "%" PRIx64, id);
    return 0;
}

bool kp_etcd_carries(const struct kp_inventory *inventory, const struct kp_node *node)
{
    return (node->roles & kp_inventory_etcd_role(inventory)) != 0;
}

size_t kp_etcd_count(const struct kp_inventory *inventory)
{
    size_t n = 0;
    for (size_t i = 0; i < inventory->node_count; i++)
        n += kp_etcd_carries(inventory, &inventory->nodes[i]);
    return n;
}

char *kp_etcd_url(const struct kp_node *node, unsigned port)
{
    kp_auto_free char *host = kp_network_url_host(node->address);
    return kp_asprintf("https://%s:%u", host, port);
}

/* etcdctl at the node's own member, behind what argv has already. */
static void add_etcdctl(const char *argv[ARGV_MAX], size_t n, const struct kp_site *site,
                        const struct kp_site_node *node, const char *limit, const char *const *args)
{
    static const char *const external[] = {"--cacert", KP_ETCD_FOLDER "/ca.pem",
                                           "--cert",   KP_ETCD_FOLDER "/client.pem",
                                           "--key",    KP_ETCD_FOLDER "/client.key"};
    static const char *const stacked[] = {
        "--cacert", "/etc/kubernetes/pki/etcd/ca.crt",
        "--cert",   "/etc/kubernetes/pki/etcd/healthcheck-client.crt",
        "--key",    "/etc/kubernetes/pki/etcd/healthcheck-client.key"};
    const char *const *keys = site->inventory->etcd.external ? external : stacked;
    // kubeadm's etcd listens on the loopback address of its node's own family.
    bool ip6 = !site->inventory->etcd.external && strchr(node->node->address, ':');
    argv[n++] = KP_ETCDCTL;
    argv[n++] = ip6 ? "--endpoints=https://[::1]:2379" : "--endpoints=https://127.0.0.1:2379";
    argv[n++] = "--dial-timeout=3s";
    argv[n++] = limit;
    for (size_t i = 0; i < KP_COUNT(external); i++)
        argv[n++] = keys[i];
    for (size_t i = 0; args[i] && n + 1 < ARGV_MAX; i++)
        argv[n++] = args[i];
    argv[n] = NULL;
}

int kp_etcd_ctl(struct kp_site *site, struct kp_site_node *node, const char *const *args,
                unsigned timeout, int *status, char **out, struct kp_err *err)
{
    kp_auto_free char *limit = kp_asprintf("--command-timeout=%us", timeout);
    const char *argv[ARGV_MAX];
    add_etcdctl(argv, 0, site, node, limit, args);
    return kp_ask(site, node, argv, timeout + COMMAND_S, status, out, err);
}

int kp_etcd_count_lines(struct kp_site *site, struct kp_site_node *node, const char *const *args,
                        const char *pattern, uint64_t *lines, struct kp_err *err)
{
    // What etcd says stays on the node: only the number leaves it.
    static const char script[] =
        "p=$1; shift; { s=$({ { \"$@\"; echo $? >&3; } | grep -ac -e \"$p\" >&4; } 3>&1); } 4>&1;"
        " exit \"$s\"";
    kp_auto_free char *limit = kp_asprintf("--command-timeout=%us", COUNT_S);
    kp_auto_free char *said = NULL;
    const char *argv[ARGV_MAX] = {"/bin/sh", "-c", script, "sh", pattern};
    add_etcdctl(argv, 5, site, node, limit, args);
    if (kp_ask(site, node, argv, COUNT_S + COMMAND_S, NULL, &said, err) < 0)
        return -1;
    if (kp_parse_u64(kp_slice_trim(kp_slice_of(said)), UINT32_MAX, lines))
        return 0;
    return kp_fail_as(err, KP_FAILED, "bad_reply", "etcdctl's answer is not understood");
}

int kp_etcd_is_healthy(struct kp_site *site, struct kp_site_node *node, bool *healthy,
                       struct kp_err *err)
{
    static const char *const argv[] = {"endpoint", "health", NULL};
    int status;
    if (kp_etcd_ctl(site, node, argv, 5, &status, NULL, err) < 0)
        return -1;
    *healthy = status == 0;
    return 0;
}

int kp_etcd_await(struct kp_site *site, struct kp_site_node *node, double seconds,
                  struct kp_err *err)
{
    double until = kp_now() + seconds;
    for (;;) {
        bool healthy;
        if (kp_interrupt_check(err) < 0 || kp_etcd_is_healthy(site, node, &healthy, err) < 0)
            return -1;
        if (healthy)
            return 0;
        if (kp_now() > until)
            break;
        kp_step_note(site, node, "waiting for etcd");
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    kp_fail_as(err, KP_FAILED, "etcd_unhealthy",
               "its etcd member is not healthy after %.0f s (no answer, or no quorum)", seconds);
    return kp_hint(err, "on %s: %s; kinstall etcd status shows the others", node->node->name,
                   site->inventory->etcd.external ? "journalctl -u etcd"
                                                  : "crictl ps -a; crictl logs of etcd");
}

static int ask_json(struct kp_site *site, struct kp_site_node *node, const char *const *argv,
                    json_t **out, struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    int status;
    // Its answer goes to nobody's log: the members' list is asked for often.
    if (kp_etcd_ctl(site, node, argv, 10, &status, &text, err) < 0)
        return -1;
    if (status != 0)
        return kp_fail_as(err, KP_FAILED, "etcd_unhealthy", "etcd on %s does not answer",
                          node->node->name);
    return kp_etcd_parse(out, kp_slice_of(text), err);
}

int kp_etcd_list(struct kp_site *site, struct kp_site_node *node, struct kp_etcd_members *out,
                 struct kp_err *err)
{
    static const char *const argv[] = {"member", "list", "-w", "json", NULL};
    kp_auto_json answer = NULL;
    if (ask_json(site, node, argv, &answer, err) < 0)
        return -1;
    return kp_etcd_read_members(out, answer, err);
}

int kp_etcd_ask_status(struct kp_site *site, struct kp_site_node *node, struct kp_etcd_status *out,
                       struct kp_err *err)
{
    static const char *const argv[] = {"endpoint", "status", "-w", "json", NULL};
    kp_auto_json answer = NULL;
    if (ask_json(site, node, argv, &answer, err) < 0)
        return -1;
    return kp_etcd_read_status(out, answer, err);
}

/* *asked: how many could be. */
static struct kp_site_node *look_for_hand(struct kp_site *site, const struct kp_site_node *except,
                                          size_t *asked)
{
    *asked = 0;
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        struct kp_err ignored = KP_ERR_INIT;
        bool healthy = false;
        if (node == except || node->failed || !node->session || kp_session_lost(node->session) ||
            !kp_etcd_carries(site->inventory, node->node))
            continue;
        if (kp_etcd_is_healthy(site, node, &healthy, &ignored) == 0 && healthy)
            return node;
        *asked += !kp_session_lost(node->session);
    }
    return NULL;
}

int kp_etcd_hand(struct kp_site *site, const struct kp_site_node *except, double seconds,
                 struct kp_site_node **out, struct kp_err *err)
{
    double until = kp_now() + seconds;
    for (;;) {
        size_t asked;
        *out = look_for_hand(site, except, &asked);
        if (*out || !asked || kp_now() > until)
            return 0;
        if (kp_interrupt_check(err) < 0)
            return -1;
        struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
}

int kp_etcd_need_hand(struct kp_site *site, const struct kp_site_node *except, double seconds,
                      struct kp_site_node **out, struct kp_err *err)
{
    const char *which = except ? "no other member" : "no member";
    if (kp_etcd_hand(site, except, seconds, out, err) < 0)
        return -1;
    if (*out)
        return 0;
    if (kp_site_all_asked(site, kp_inventory_etcd_role(site->inventory), except, err) < 0)
        return kp_wrap(err, "%s of etcd answers with a quorum", which);
    kp_fail_as(err, KP_FAILED, "etcd_unhealthy", "%s of etcd answers with a quorum", which);
    return kp_hint(err,
                   "kinstall etcd status -i %s; with the quorum lost for good: kinstall etcd "
                   "restore SNAPSHOT",
                   site->inventory->path);
}

const struct kp_etcd_member *kp_etcd_find(const struct kp_etcd_members *members,
                                          const struct kp_node *node)
{
    kp_auto_free char *peer = kp_etcd_url(node, KP_ETCD_PEER_PORT);
    for (size_t i = 0; i < members->count; i++)
        if (strcmp(members->items[i].name, node->name) == 0 ||
            strcmp(members->items[i].peer, peer) == 0)
            return &members->items[i];
    return NULL;
}

bool kp_etcd_can_lose(size_t n, size_t healthy, bool it_is_healthy)
{
    size_t left = healthy - (it_is_healthy && healthy ? 1 : 0);
    return n > 1 && left >= (n - 1) / 2 + 1;
}
