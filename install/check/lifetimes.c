/* SPDX-License-Identifier: Apache-2.0 */
#include "install/check/lifetimes.h"

#include "core/base64.h"
#include "install/pki/pki.h"

#define FILE_MAX ((size_t)256 << 10)
#define LATE_PART 10

enum { CONTROL = KP_ROLE_CONTROL_PLANE, MEMBER = KP_ROLE_CONTROL_PLANE | KP_ROLE_WORKER };
static const struct place {
    const char *path;
    unsigned roles; /* 0: of every node */
    enum kp_certificate_kind kind;
    bool kubeconfig;
} places[] = {
    {"/etc/kubernetes/pki/ca.crt", MEMBER, KP_CERTIFICATE_CA, false},
    {"/etc/kubernetes/pki/apiserver.crt", CONTROL, KP_CERTIFICATE_CONTROL, false},
    {"/etc/kubernetes/pki/apiserver-kubelet-client.crt", CONTROL, KP_CERTIFICATE_CONTROL, false},
    {"/etc/kubernetes/pki/apiserver-etcd-client.crt", CONTROL, KP_CERTIFICATE_CONTROL, false},
    {"/etc/kubernetes/pki/front-proxy-ca.crt", CONTROL, KP_CERTIFICATE_CA, false},
    {"/etc/kubernetes/pki/front-proxy-client.crt", CONTROL, KP_CERTIFICATE_CONTROL, false},
    {"/etc/kubernetes/pki/etcd/ca.crt", CONTROL, KP_CERTIFICATE_CA, false},
    {"/etc/kubernetes/pki/etcd/server.crt", CONTROL, KP_CERTIFICATE_CONTROL, false},
    {"/etc/kubernetes/pki/etcd/peer.crt", CONTROL, KP_CERTIFICATE_CONTROL, false},
    {"/etc/kubernetes/pki/etcd/healthcheck-client.crt", CONTROL, KP_CERTIFICATE_CONTROL, false},
    {"/etc/kubernetes/admin.conf", CONTROL, KP_CERTIFICATE_CONTROL, true},
    {"/etc/kubernetes/super-admin.conf", CONTROL, KP_CERTIFICATE_CONTROL, true},
    {"/etc/kubernetes/controller-manager.conf", CONTROL, KP_CERTIFICATE_CONTROL, true},
    {"/etc/kubernetes/scheduler.conf", CONTROL, KP_CERTIFICATE_CONTROL, true},
    {"/etc/kubernetes/kpack-approver.conf", CONTROL, KP_CERTIFICATE_CONTROL, true},
    {KP_KUBELET_CLIENT, MEMBER, KP_CERTIFICATE_KUBELET, false},
    {KP_KUBELET_SERVER, MEMBER, KP_CERTIFICATE_SERVING, false},
    {"/var/lib/kubelet/pki/kubelet.crt", MEMBER, KP_CERTIFICATE_SERVING, false},
    {"/etc/kpack/etcd/ca.pem", KP_ROLE_ETCD, KP_CERTIFICATE_CA, false},
    {"/etc/kpack/etcd/member.pem", KP_ROLE_ETCD, KP_CERTIFICATE_OWN, false},
    {"/etc/kpack/etcd/client.pem", KP_ROLE_ETCD, KP_CERTIFICATE_OWN, false},
    {"/etc/kpack/mirror/tls.pem", 0, KP_CERTIFICATE_OWN, false},
    {"/etc/kpack/mirror-ca.pem", 0, KP_CERTIFICATE_CA, false},
};

bool kp_lifetime_embedded(struct kp_slice kubeconfig, char **out, size_t *len)
{
    struct kp_slice line;
    while (kp_slice_line(&kubeconfig, &line)) {
        struct kp_slice word = kp_slice_trim(line), key;
        if (!kp_slice_starts(word, "client-certificate-data:") || !kp_slice_cut(&word, ':', &key))
            continue;
        return kp_base64_parse(kp_slice_trim(word), out, len);
    }
    return false;
}

bool kp_lifetime_is_late(const struct kp_lifetime *found, time_t now)
{
    return found->ends - now < (found->ends - found->begins) / LATE_PART;
}

static int look(struct kp_site_node *node, const struct place *place, kp_lifetime_visit *visit,
                void *user, struct kp_err *err)
{
    kp_auto_value(kp_buf) text = KP_BUF_SECRET(FILE_MAX);
    kp_auto_free char *embedded = NULL;
    struct kp_lifetime life = {.path = place->path, .kind = place->kind};
    size_t len;
    bool found;
    if (kp_session_get(node->session, place->path, &text, &found, err) < 0)
        return kp_wrap(err, "%s: read %s", node->node->name, place->path);
    if (!found)
        return 0;
    struct kp_slice pem = kp_buf_slice(&text);
    if (place->kubeconfig) {
        if (!kp_lifetime_embedded(pem, &embedded, &len))
            return 0; // it names files, which are looked at by themselves
        pem = (struct kp_slice){embedded, len};
    }
    if (kp_pki_life(&life.begins, &life.ends, life.name, sizeof(life.name), pem, err) < 0)
        return kp_wrap(err, "%s: %s", node->node->name, place->path);
    return visit(user, &life, err);
}

int kp_lifetimes(struct kp_site_node *node, kp_lifetime_visit *visit, void *user,
                 struct kp_err *err)
{
    for (size_t i = 0; i < KP_COUNT(places); i++)
        if ((!places[i].roles || (places[i].roles & node->node->roles)) &&
            look(node, &places[i], visit, user, err) < 0)
            return -1;
    return 0;
}
