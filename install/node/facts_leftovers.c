/* SPDX-License-Identifier: Apache-2.0 */
/* What an earlier cluster, or somebody else's, left on the node. */
#include "install/node/node.h"

#include "core/file.h"

#include <dirent.h>

#define NAMES_MAX 256

static void add_folder(json_t *list, const char *folder, const char *suffix)
{
    DIR *all = opendir(folder);
    for (struct dirent *e = all ? readdir(all) : NULL; e && json_array_size(list) < NAMES_MAX;
         e = readdir(all)) {
        if (e->d_name[0] == '.' || !kp_ends_with(e->d_name, suffix))
            continue;
        kp_auto_free char *path = kp_path_join(folder, e->d_name);
        json_array_append_new(list, kp_node_json_text(kp_slice_of(path)));
    }
    if (all)
        closedir(all);
}

static json_t *unit_state(const char *unit, const char *verb)
{
    const char *argv[] = {"systemctl", verb, unit, NULL};
    if (!kp_node_has_systemd())
        return json_null();
    kp_auto_free char *said = kp_node_output(argv, NULL);
    said[strcspn(said, "\n")] = '\0';
    return kp_node_json_text(kp_slice_of(said));
}

/* {path, version, active, enabled}, or null where the program is not there. */
static json_t *describe(const char *program, const char *option, const char *unit)
{
    kp_auto_free char *path = kp_facts_program(program);
    const char *argv[] = {path, option, NULL};
    if (!path)
        return json_null();
    kp_auto_free char *version = kp_node_output(argv, NULL);
    version[strcspn(version, "\n")] = '\0';
    json_t *out = json_pack("{s:o, s:o}", "path", kp_node_json_text(kp_slice_of(path)), "version",
                            kp_node_json_text(kp_slice_of(version)));
    if (unit) {
        json_object_set_new(out, "active", unit_state(unit, "is-active"));
        json_object_set_new(out, "enabled", unit_state(unit, "is-enabled"));
    }
    return out;
}

static void add_runtimes(json_t *out)
{
    static const char *const runtimes[] = {"containerd", "crio", "docker", "podman"};
    json_t *found = json_object();
    for (size_t i = 0; i < KP_COUNT(runtimes); i++) {
        json_t *one = describe(runtimes[i], "--version", runtimes[i]);
        if (json_is_object(one))
            json_object_set_new(found, runtimes[i], one);
        else
            json_decref(one);
    }
    json_object_set_new(out, "runtimes", found);
}

static void add_cni_interfaces(json_t *out)
{
    static const char *const names[] = {
        "cni0",  "flannel.1",  "flannel-v6.1", "cilium_host", "cilium_vxlan", "vxlan.calico",
        "tunl0", "kube-ipvs0", "kube-bridge",  "weave",       "nodelocaldns"};
    json_t *found = json_array();
    for (size_t i = 0; i < KP_COUNT(names); i++) {
        kp_auto_free char *path = kp_path_join("/sys/class/net", names[i]);
        if (kp_file_exists(path))
            json_array_append_new(found, json_string(names[i]));
    }
    json_object_set_new(out, "cni_interfaces", found);
}

static void add_units(json_t *out)
{
    static const char *const units[] = {"kubelet.service",
                                        "containerd.service",
                                        "kregistry.service",
                                        "etcd.service",
                                        "k3s.service",
                                        "rke2-server.service",
                                        "systemd-resolved.service",
                                        "NetworkManager.service",
                                        "systemd-networkd.service"};
    json_t *states = json_object();
    for (size_t i = 0; i < KP_COUNT(units) && kp_node_has_systemd(); i++)
        json_object_set_new(states, units[i], unit_state(units[i], "is-active"));
    json_object_set_new(out, "units", states);
}

void kp_facts_leftovers(json_t *out, const json_t *args)
{
    json_t *files = json_array(), *cni = json_array();
    (void)args;
    add_folder(files, "/etc/kubernetes", ".conf");
    add_folder(files, "/etc/kubernetes/manifests", ".yaml");
    add_folder(files, "/etc/kubernetes/pki", ".crt");
    add_folder(cni, "/etc/cni/net.d", "");
    json_object_set_new(out, "kubernetes_files", files);
    json_object_set_new(out, "cni_config", cni);
    json_object_set_new(out, "etcd_member", json_boolean(kp_file_exists("/var/lib/etcd/member")));
    json_object_set_new(out, "record", json_boolean(kp_file_exists("/var/lib/kpack/cluster")));
    json_object_set_new(out, "kubelet", describe("kubelet", "--version", "kubelet"));
    json_object_set_new(out, "kubeadm", describe("kubeadm", "version", NULL));
    add_cni_interfaces(out);
    add_runtimes(out);
    add_units(out);
}
