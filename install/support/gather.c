/* SPDX-License-Identifier: Apache-2.0 */
#include "install/support/gather.h"

#include "core/base64.h"
#include "core/file.h"
#include "core/pool.h"
#include "core/text.h"
#include "install/steps/common.h"

#include <dirent.h>
#include <stdio.h>

#define ASK_S 45
#define PROBE_S 8
#define OWN_MAX ((size_t)16 << 20)
#define OWN_TAIL ((size_t)4 << 20)
#define NAME_LEN 101
#define TAIL " 2>&1 | tail -c 900000"

struct question {
    const char *file, *script;
};

static const struct question of_node[] = {
    {"system.txt", "{ uname -a; cat /etc/os-release; uptime; free -m; nproc; }" TAIL},
    {"disk.txt", "{ df -h; df -i; findmnt; }" TAIL},
    {"time.txt", "{ date -u; timedatectl status; timedatectl show; }" TAIL},
    {"network.txt", "{ ip -br address; ip route; ip -6 route; ss -ltnpu; cat /etc/hosts"
                    " /etc/resolv.conf; }" TAIL},
    {"units.txt", "{ systemctl --failed --no-pager; systemctl --no-pager status kubelet containerd"
                  " crio kregistry etcd kpack-mirrors 'kpack-*'; }" TAIL},
    {"journal-kubelet.txt", "journalctl --no-pager -o short-iso -n 4000 -u kubelet" TAIL},
    {"journal-runtime.txt",
     "journalctl --no-pager -o short-iso -n 2000 -u containerd -u crio" TAIL},
    {"journal-kpack.txt", "journalctl --no-pager -o short-iso -n 2000 -u kregistry -u etcd"
                          " -u 'kpack-*'" TAIL},
    {"journal-kernel.txt", "journalctl --no-pager -o short-iso -n 1000 -k" TAIL},
    {"containers.txt", "{ crictl ps -a; crictl pods; crictl images; }" TAIL},
    {"container-logs.txt", "{ find /var/log/pods -name '*.log' -print | sort | head -n 200 |"
                           " while read -r f; do echo \"== $f\"; tail -n 200 \"$f\" |"
                           " tail -c 20000; done; }" TAIL},
    {"manifests.txt",
     "for f in /etc/kubernetes/manifests/*; do echo \"== $f\"; cat \"$f\"; done" TAIL},
    {"settings.txt", "for f in /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env"
                     " /etc/containerd/config.toml /etc/containerd/certs.d/*/hosts.toml"
                     " /etc/crictl.yaml /etc/nerdctl/nerdctl.toml /etc/crio/crio.conf"
                     " /etc/containers/registries.conf.d/10-kpack.conf"
                     " /run/kpack/certs.d/*/hosts.toml /etc/kpack/etcd/etcd.env"
                     " /etc/kpack/etcd/initial.env /etc/kpack/haproxy/haproxy.cfg"
                     " /etc/kubernetes/kpack-*.yaml /etc/sysctl.d/90-kpack.conf; do"
                     " [ -f \"$f\" ] || continue; echo \"== $f\"; cat \"$f\"; done" TAIL},
    {"files.txt", "ls -lR /etc/kubernetes /etc/kpack /var/lib/kpack /var/lib/kubelet/pki"
                  " /opt/cni/bin" TAIL},
    {"etcd.txt",
     "e=/usr/local/bin/etcdctl; [ -x $e ] || exit 0;"
     " if [ -f /etc/kpack/etcd/client.pem ]; then a='--cacert=/etc/kpack/etcd/ca.pem"
     " --cert=/etc/kpack/etcd/client.pem --key=/etc/kpack/etcd/client.key';"
     " else p=/etc/kubernetes/pki/etcd; [ -f $p/healthcheck-client.crt ] || exit 0;"
     " a=\"--cacert=$p/ca.crt --cert=$p/healthcheck-client.crt --key=$p/healthcheck-client.key\"; "
     "fi; l=127.0.0.1; case \"$(ss -Hltn)\" in *'[::1]:2379'*) l='[::1]';; esac;"
     " { for c in 'endpoint status' 'endpoint health' 'member list' 'alarm list'; do echo \"== "
     "$c\";"
     " $e --command-timeout=5s --endpoints=https://$l:2379 $a $c -w fields; done; }" TAIL},
};

static const struct question of_cluster[] = {
    {"nodes.txt", "{ $K get nodes -o wide; $K describe nodes; }" TAIL},
    {"pods.txt", "{ $K get pods -A -o wide; $K describe pods -A; }" TAIL},
    {"events.txt", "$K get events -A --sort-by=.lastTimestamp" TAIL},
    {"objects.txt",
     "{ $K get all,pdb,ingress,networkpolicy,pvc,csr -A -o wide; $K get"
     " pv,sc,crd,validatingwebhookconfigurations,mutatingwebhookconfigurations; }" TAIL},
    {"settings.txt", "$K get configmap -n kube-system kubeadm-config kubelet-config kube-proxy"
                     " coredns -o yaml" TAIL},
    {"health.txt", "{ $K version; $K get --raw '/readyz?verbose'; $K get apiservices; }" TAIL},
};

struct gathering {
    struct kp_site *site;
    const struct kp_redactor *redactor;
    struct kp_archive *archive;
    struct kp_gathered *out;
    pthread_mutex_t lock; /* guards archive and out */
};

static int add(struct gathering *g, const char *folder, const char *file, struct kp_slice text,
               struct kp_err *err)
{
    char name[NAME_LEN];
    size_t len, removed = 0;
    kp_auto_free char *clean = kp_redact(g->redactor, text, &len, &removed);
    snprintf(name, sizeof(name), "%s/%s", folder, file);
    pthread_mutex_lock(&g->lock);
    g->out->files++;
    g->out->removed += removed;
    int result = kp_archive_add(g->archive, name, (struct kp_slice){clean, len}, err);
    pthread_mutex_unlock(&g->lock);
    return result;
}

/* Whatever it says; what cannot be asked is said in its place. */
static void ask(struct kp_site_node *node, const char *script, unsigned timeout,
                struct kp_run_result *result)
{
    static const char *const env[] = {KP_PATH_ENV, "HOME=/var/lib/kpack",
                                      "KUBECONFIG=" KP_ADMIN_CONF,
                                      "K=" KP_KUBECTL " --request-timeout=10s", NULL};
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    const struct kp_run run = {.argv = argv, .env = env, .timeout = timeout};
    struct kp_err failure = KP_ERR_INIT;
    if (kp_session_run(node->session, &run, result, &failure) == 0)
        return;
    kp_run_result_release(result);
    result->status = -1;
    result->out = KP_BUF(sizeof(failure.message) + 64);
    kp_buf_addf(&result->out, "(could not be asked: %s)\n", failure.message);
}

static int gather_node(void *user, size_t i, unsigned worker, struct kp_err *err)
{
    struct gathering *g = user;
    struct kp_site_node *node = &g->site->nodes[i];
    kp_auto_free char *folder = kp_asprintf("nodes/%s", node->node->name);
    (void)worker;
    if (node->failed) {
        pthread_mutex_lock(&g->lock);
        g->out->silent++;
        pthread_mutex_unlock(&g->lock);
        return add(g, folder, "unreachable.txt", kp_slice_of(node->failure.message), err);
    }
    kp_auto_free char *facts = kp_json_dump(node->facts, true);
    kp_auto_free char *record = kp_json_dump(node->record, true);
    if (add(g, folder, "facts.json", kp_slice_of(facts), err) < 0 ||
        add(g, folder, "record.json", kp_slice_of(record), err) < 0)
        return -1;
    for (size_t q = 0; q < KP_COUNT(of_node); q++) {
        kp_auto_value(kp_run_result) result = {0};
        ask(node, of_node[q].script, ASK_S, &result);
        if (add(g, folder, of_node[q].file, kp_buf_slice(&result.out), err) < 0)
            return -1;
    }
    return 0;
}

static struct kp_site_node *find_api(struct kp_site *site)
{
    for (size_t i = 0; i < site->node_count; i++) {
        struct kp_site_node *node = &site->nodes[i];
        kp_auto_value(kp_run_result) result = {0};
        if (node->failed || !kp_is_control_plane(node))
            continue;
        ask(node, "$K get --raw /readyz >/dev/null", PROBE_S + 10, &result);
        if (result.status == 0)
            return node;
    }
    return NULL;
}

static int gather_cluster(struct gathering *g, struct kp_site_node *node, struct kp_err *err)
{
    if (!node)
        return add(g, "cluster", "unreachable.txt",
                   kp_slice_of("no API server of a control plane that is reachable answers\n"),
                   err);
    for (size_t q = 0; q < KP_COUNT(of_cluster); q++) {
        kp_auto_value(kp_run_result) result = {0};
        ask(node, of_cluster[q].script, ASK_S, &result);
        if (add(g, "cluster", of_cluster[q].file, kp_buf_slice(&result.out), err) < 0)
            return -1;
    }
    return 0;
}

/* Names that everybody may know stand in Secrets too. */
static bool is_public(struct kp_slice key)
{
    static const char *const names[] = {"namespace",
                                        "ca.crt",
                                        "tls.crt",
                                        "expiration",
                                        "description",
                                        "auth-extra-groups",
                                        "service-ca.crt",
                                        "token-id",
                                        "username",
                                        "usage-bootstrap-authentication",
                                        "usage-bootstrap-signing"};
    for (size_t i = 0; i < KP_COUNT(names); i++)
        if (kp_slice_equal(key, names[i]))
            return true;
    return false;
}

static void know_secret(struct kp_redactor *redactor, struct kp_slice line)
{
    kp_auto_free char *plain = NULL;
    struct kp_slice key, value = line;
    size_t len = 0;
    if (!kp_slice_cut(&value, ' ', &key) || is_public(key))
        return;
    value = kp_slice_trim(value);
    kp_redactor_know(redactor, value);
    if (!kp_base64_parse(value, &plain, &len))
        return;
    kp_redactor_know(redactor, (struct kp_slice){plain, len});
    explicit_bzero(plain, len);
}

/* Values of the cluster's Secrets, which may stand in any log: in this memory only. */
static bool know_cluster(struct kp_redactor *redactor, struct kp_site_node *node)
{
    static const char script[] =
        "$K get secrets -A -o go-template='{{range .items}}{{range $k, $v := .data}}{{$k}} {{$v}}"
        "{{\"\\n\"}}{{end}}{{end}}' | head -c 900000";
    kp_auto_value(kp_run_result) result = {0};
    struct kp_slice line;
    ask(node, script, ASK_S, &result);
    struct kp_slice text = kp_buf_slice(&result.out);
    bool good = result.status == 0 && text.len < KP_GATHER_PART_MAX;
    while (result.status == 0 && kp_slice_line(&text, &line))
        know_secret(redactor, line);
    if (result.out.data)
        explicit_bzero(result.out.data, result.out.len);
    return good;
}

/* Keys, kubeconfigs and the like of the state folder. */
static int know_folder(struct kp_redactor *redactor, const char *folder, unsigned depth,
                       struct kp_err *err)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    int result = 0;
    while (dir && result == 0 && (entry = readdir(dir))) {
        kp_auto_free char *path = kp_path_join(folder, entry->d_name), *text = NULL;
        size_t len;
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "log") == 0 ||
            strcmp(entry->d_name, "etcd-backups") == 0)
            continue;
        if (entry->d_type == DT_DIR && depth > 0)
            result = know_folder(redactor, path, depth - 1, err);
        else if (entry->d_type == DT_REG &&
                 (kp_ends_with(path, ".key") || kp_ends_with(path, ".yaml") ||
                  strncmp(entry->d_name, "kubeconfig", 10) == 0)) {
            result = kp_file_read(path, OWN_MAX, &text, &len, err);
            if (result == 0)
                kp_redactor_know_document(redactor, (struct kp_slice){text, len});
        }
    }
    if (dir)
        closedir(dir);
    return result;
}

static int add_own(struct gathering *g, const char *path, const char *name, struct kp_err *err)
{
    kp_auto_free char *text = NULL;
    size_t len;
    struct kp_err failure = KP_ERR_INIT;
    if (!kp_file_exists(path))
        return 0;
    if (kp_file_read(path, (size_t)1 << 30, &text, &len, &failure) < 0)
        return add(g, "admin", name, kp_slice_of(failure.message), err);
    size_t skip = len > OWN_TAIL ? len - OWN_TAIL : 0;
    return add(g, "admin", name, (struct kp_slice){text + skip, len - skip}, err);
}

static int gather_own(struct gathering *g, struct kp_err *err)
{
    static const char *const files[] = {"journal.jsonl", "report.json", "audit.jsonl"};
    const struct kp_site *site = g->site;
    for (size_t i = 0; i < KP_COUNT(files); i++) {
        kp_auto_free char *path = kp_path_join(site->state_folder, files[i]);
        if (add_own(g, path, files[i], err) < 0)
            return -1;
    }
    for (size_t i = 0; i < site->node_count; i++) {
        kp_auto_free char *path =
            kp_asprintf("%s/log/%s.log", site->state_folder, site->nodes[i].node->name);
        kp_auto_free char *name = kp_asprintf("log-%s.txt", site->nodes[i].node->name);
        if (add_own(g, path, name, err) < 0)
            return -1;
    }
    return add_own(g, site->inventory->path, "hosts.yaml", err);
}

int kp_gather(struct kp_site *site, struct kp_redactor *redactor, struct kp_archive *archive,
              struct kp_gathered *out, struct kp_err *err)
{
    struct gathering g = {.site = site, .redactor = redactor, .archive = archive, .out = out};
    if (know_folder(redactor, site->state_folder, 1, err) < 0)
        return -1;
    for (size_t i = 0; i < site->node_count; i++)
        if (site->nodes[i].node->ssh.sudo_password)
            kp_redactor_know(redactor, kp_slice_of(site->nodes[i].node->ssh.sudo_password));
    struct kp_site_node *api = find_api(site);
    out->cluster_of = api ? api->node->name : NULL;
    out->secrets_known = api && know_cluster(redactor, api);
    pthread_mutex_init(&g.lock, NULL);
    int result = kp_parallel(site->inventory->parallel, site->node_count, gather_node, &g, err);
    if (result == 0)
        result = gather_cluster(&g, api, err);
    if (result == 0)
        result = gather_own(&g, err);
    pthread_mutex_destroy(&g.lock);
    return result;
}
