/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Op facts: what preflight needs to know of a node, as it is, without judgement. Keys:
 *
 * system    hostname, machine_id, os {id, version_id, pretty_name, id_like}, kernel, arch
 * ("amd64"), cpus, memory {total, available} bytes, swap [{device, size, used}], utc_ns (node's
 * clock), time_synced (bool or null), virtualization ("none", "kvm", "systemd-nspawn" …), container
 * (bool), systemd (version, 0: not running), sudo_user ("" for root), capabilities (hex CapBnd),
 * cap_sys_resource (bool), selinux ("enforcing" "permissive" "disabled" "none"), apparmor (bool),
 *           disks {path: {free, size, device, type}} (the nearest folder that exists), programs
 * {name: path or null}, cloud_init (bool: /etc/cloud present, may rewrite hosts) kernel    cgroup
 * {version, controllers [names]}, modules {name: loaded|builtin|available|missing}, modules_folder
 * (bool: /lib/modules/<kernel>), sysctl {key: {value or null, writable}} network   addresses
 * [{interface, address, prefix, up}], routes [{destination, prefix, gateway, interface, metric}]
 *           (IPv4 and IPv6), interfaces [{name, mac, mtu, up}], listening [{protocol, address,
 * port, pid, program}], resolv {nameservers, search}, resolved_stub (bool), hosts [{address,
 * names}], proxy [environment lines], firewalls [active services: firewalld, ufw, nftables …]
 * leftovers kubernetes_files [paths], etcd_member (bool), cni_interfaces [names], cni_config
 * [files], runtimes {name: {path, version, active}}, kubelet {path, version, active, enabled} or
 * null, kubeadm {path, version} or null, units {name: state}, record (bool: /var/lib/kpack/cluster
 * exists)
 *
 * kinstall adds system.clock_difference and clock_uncertainty (seconds, node minus admin host; by a
 * round trip of op clock).
 *
 * Arguments: programs, modules, sysctls, paths: lists of names that are asked for.
 */
#include "install/node/node.h"

#include <time.h>

int kp_node_op_facts(struct kp_node_request *request, const json_t *args, json_t **result,
                     struct kp_err *err)
{
    static const struct {
        const char *key;
        void (*add)(json_t *out, const json_t *args);
    } parts[] = {{"system", kp_facts_system},
                 {"kernel", kp_facts_kernel},
                 {"network", kp_facts_network},
                 {"leftovers", kp_facts_leftovers}};
    (void)request;
    (void)err;
    kp_auto_json out = json_object();
    for (size_t i = 0; i < KP_COUNT(parts); i++) {
        json_t *part = json_object();
        parts[i].add(part, args);
        json_object_set_new(out, parts[i].key, part);
    }
    *result = kp_steal(&out);
    return 0;
}

int kp_node_op_clock(struct kp_node_request *request, const json_t *args, json_t **result,
                     struct kp_err *err)
{
    struct timespec now;
    (void)request;
    (void)args;
    (void)err;
    clock_gettime(CLOCK_REALTIME, &now);
    *result = json_pack("{s:I}", "utc_ns", (json_int_t)now.tv_sec * 1000000000 + now.tv_nsec);
    return 0;
}
