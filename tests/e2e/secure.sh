#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A cluster out of a Kubespray inventory, in the form of its sample, unchanged; and each security
# default of it seen to bite. Needs root. Run: tests/e2e/secure.sh
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

CLUSTER=mycluster
HOME_SSH=home/.ssh

# inventory/mycluster as Kubespray's documents show it: one control plane that works too, and a worker.
write_inventory() {
    local folder=$WORK/mycluster
    mkdir -p "$folder"/group_vars/{all,k8s_cluster}
    cat >"$folder/hosts.yaml" <<END
all:
  hosts:
    node1:
      ansible_host: 10.77.0.11
      ip: 10.77.0.11
      access_ip: 10.77.0.11
    node2:
      ansible_host: 10.77.0.12
      ip: 10.77.0.12
      access_ip: 10.77.0.12
      node_labels: {zone: a}
      kubelet_max_pods: 90
  children:
    kube_control_plane:
      hosts:
        node1:
    kube_node:
      hosts:
        node1:
        node2:
    etcd:
      hosts:
        node1:
    k8s_cluster:
      children:
        kube_control_plane:
        kube_node:
    calico_rr:
      hosts: {}
END
    cat >"$folder/group_vars/all/all.yml" <<END
---
ansible_user: root
ansible_ssh_private_key_file: $LAB_SSH_KEY
bin_dir: /usr/local/bin
loadbalancer_apiserver_port: 6443
no_proxy_exclude_workers: false
END
    printf -- '---\n# cloud_provider: external\n' >"$folder/group_vars/all/aws.yml"
    cat >"$folder/group_vars/all/etcd.yml" <<END
---
etcd_data_dir: /var/lib/etcd
container_manager: containerd
etcd_deployment_type: kubeadm
END
    cat >"$folder/group_vars/k8s_cluster/k8s-cluster.yml" <<END
---
kube_config_dir: /etc/kubernetes
kube_version: 1.30.14
kube_network_plugin: flannel
kube_service_addresses: 10.233.0.0/18
kube_pods_subnet: 10.233.64.0/18
kube_network_node_prefix: 24
cluster_name: cluster.local
dns_domain: "{{ cluster_name }}"
kube_apiserver_ip: "{{ kube_service_addresses | ansible.utils.ipaddr('net') | ansible.utils.ipaddr(1) }}"
kubeadm_ignore_preflight_errors: [SystemVerification]
kubelet_image_gc_high_threshold: 100
kubelet_max_pods: 80
kube_feature_gates: ["NodeSwap=false"]
kube_kubeadm_apiserver_extra_args: {max-requests-inflight: 500, profiling: "true"}
kube_kubeadm_scheduler_extra_args: {v: 3}
event_ttl_duration: 2h0m0s
kubelet_custom_flags: ["--container-log-max-files=4"]
kube_reserved: true
kube_memory_reserved: 100Mi
additional_sysctl:
  - {name: net.core.somaxconn, value: 3000}
kubeadm_patches:
  enabled: true
  source_dir: "{{ inventory_dir }}/patches"
eviction_hard:
  memory.available: 100Mi
  nodefs.available: 1%
  imagefs.available: 1%
END
    mkdir "$folder/patches"
    printf 'metadata: {annotations: {site/patched: "yes"}}\n' >"$folder/patches/kube-scheduler0+merge.yaml"
    INVENTORY=$folder/hosts.yaml
}

node() { "$SITE" run node1 -- "$@"; }
api() { "$SITE" exec -- curl -sk -o "$WORK/answer" -w '%{http_code}' --max-time 10 "https://10.77.0.11:6443$1"; }

# kubectl as somebody else: as_role FILE ARGS…
as_role() {
    local file=$1
    shift
    "$SITE" exec -- "$KUBECTL_PROGRAM" --kubeconfig "$file" --request-timeout=10s "$@"
}

test_install() {
    part "an inventory of Kubespray installs as it is"
    mkdir -p "$WORK/$HOME_SSH" && cp "$LAB_KNOWN_HOSTS" "$WORK/$HOME_SSH/known_hosts"
    kinstall convert -i "$INVENTORY" >"$WORK/ours.yaml"
    contains "convert" "$(cat "$WORK/ours.yaml")" 'all.yml:4: bin_dir' 'network: "flannel"' '[control-plane, worker]'
    kinstall --key "$PUB" --bundle "$BUNDLE" -i "$INVENTORY" >"$WORK/out" 2>&1 || fail "install: $(tail -n 40 "$WORK/out")"
    contains "notes" "$(cat "$WORK/out")" "without a meaning here" kube_apiserver_ip
    rm -rf "$WORK/$CLUSTER.state" && ln -s mycluster/mycluster.state "$WORK/$CLUSTER.state"
    fetch_kubectl
    expect "nodes" "node1 node2" "$(kubectl get nodes -o json | jq -r '[.items[].metadata.name] | join(" ")')"
    expect "label" a "$(kubectl get node node2 -o json | jq -r .metadata.labels.zone)"
    seen kubespray running
}

kubelet_of() { kubectl get --raw "/api/v1/nodes/$1/proxy/configz" | jq -r ".kubeletconfig.$2"; }

test_settings() {
    part "its settings are in effect: arguments, gates, kubelets by node, sysctls, patches; what another key decides is listed"
    local args
    contains "listed" "$(cat "$WORK/out")" "profiling is decided by security.profiling"
    args=$(node sh -c "tr '\\0' '\\n' </proc/\$(pidof kube-apiserver)/cmdline")
    contains "API server" "$args" --max-requests-inflight=500 --event-ttl=2h0m0s --feature-gates=NodeSwap=false --profiling=false
    contains "scheduler" "$(kubectl -n kube-system get pod kube-scheduler-node1 -o json)" --v=3 '"site/patched": "yes"'
    expect "kubelets" "80 90 4 4 100Mi" "$(kubelet_of node1 maxPods) $(kubelet_of node2 maxPods) $(kubelet_of node1 containerLogMaxFiles) $(kubelet_of node2 containerLogMaxFiles) $(kubelet_of node2 kubeReserved.memory)"
    expect "sysctl" 3000 "$("$SITE" run node2 -- sysctl -n net.core.somaxconn)"
    seen kubespray-settings running
}

test_pods() {
    part "a privileged pod is refused; a pod that asks for nothing has seccomp's default"
    kubectl create namespace shop >/dev/null
    refused 1 kubectl -n shop run bad --image docker.io/library/none:1 --privileged
    contains "privileged" "$OUTPUT" "violates PodSecurity" baseline
    expect "seccomp" true "$(node sh -c "grep -o 'seccompDefault: true' /var/lib/kubelet/config.yaml" | sed 's/.*: //')"
    seen pod-security running
    seen seccomp running
}

test_secrets() {
    part "a Secret cannot be read in etcd, nor by anybody but root on the control plane"
    kubectl -n shop create secret generic pass --from-literal=word=nightingale >/dev/null
    expect "read back" nightingale "$(kubectl -n shop get secret pass -o json | jq -r .data.word | base64 -d)"
    node grep -rqa "k8s:enc:secretbox:v1:key1" /var/lib/etcd/member || fail "nothing in etcd is encrypted"
    ! node grep -rqa nightingale /var/lib/etcd/member || fail "the Secret stands in etcd as it is"
    node grep -rqa "/registry/secrets/shop/pass" /var/lib/etcd/member || fail "the Secret is not in etcd at all"
    expect "mode" "600 root" "$(node stat -c '%a %U' /etc/kubernetes/kpack/encryption.yaml)"
    expect "mode here" 600 "$(stat -c %a "$WORK/$CLUSTER.state/encryption.yaml")"
    seen encryption running
}

test_audit() {
    part "the audit log has who made the Secret, and not what is in it"
    node cat /var/log/kubernetes/audit/audit.log >"$WORK/audit.log"
    expect "who" kubernetes-admin "$(jq -r 'select(.verb == "create" and .objectRef.resource == "secrets" and .objectRef.name == "pass") | .user.username' "$WORK/audit.log")"
    ! grep -q "$(printf nightingale | base64)\|nightingale" "$WORK/audit.log" || fail "a Secret is in the audit log"
    seen audit-log running
}

test_roles() {
    part "admin, operator, auditor: what they may, and what they may not"
    local role
    for role in admin operator auditor; do
        kinstall kubeconfig -i "$INVENTORY" --key "$PUB" --role $role --user "ann-$role" --hours 1 -o "$WORK/$role.conf" >/dev/null
        expect "$role's mode" 600 "$(stat -c %a "$WORK/$role.conf")"
    done
    expect "who" ann-auditor "$(as_role "$WORK/auditor.conf" auth whoami -o json | jq -r .status.userInfo.username)"
    as_role "$WORK/auditor.conf" get pods,clusterroles,nodes -A >/dev/null || fail "the auditor cannot read"
    refused 1 as_role "$WORK/auditor.conf" -n shop get secret pass
    contains "auditor" "$OUTPUT" orbidden
    refused 1 as_role "$WORK/auditor.conf" -n shop create configmap a
    contains "auditor" "$OUTPUT" orbidden
    as_role "$WORK/operator.conf" -n shop create configmap a >/dev/null || fail "the operator cannot write"
    as_role "$WORK/operator.conf" cordon node2 >/dev/null && as_role "$WORK/operator.conf" uncordon node2 >/dev/null || fail "the operator cannot cordon"
    refused 1 as_role "$WORK/operator.conf" create clusterrolebinding x --clusterrole cluster-admin --user ann-operator
    contains "operator" "$OUTPUT" orbidden
    as_role "$WORK/admin.conf" delete configmap -n shop a >/dev/null || fail "the admin cannot"
    expect "requests left behind" 0 "$(kubectl get csr -o json | jq '[.items[] | select(.metadata.name | startswith("kpack-"))] | length')"
    refused 2 kinstall kubeconfig -i "$INVENTORY" --key "$PUB" --role king --user ann
    seen roles running
}

test_doors() {
    part "without credentials: health and nothing else; no old TLS; no profiling"
    expect "healthz" 200 "$(api /healthz)"
    expect "readyz" 200 "$(api '/readyz?verbose')"
    expect "version" 403 "$(api /version)"
    expect "namespaces" 403 "$(api /api/v1/namespaces)"
    refused 1 kubectl get --raw /debug/pprof/
    refused 1 "$SITE" exec -- sh -c 'echo | openssl s_client -tls1_1 -connect 10.77.0.11:6443 -cipher "ALL:@SECLEVEL=0"'
    expect "kubelet" 401 "$("$SITE" exec -- curl -sk -o /dev/null -w '%{http_code}' https://10.77.0.12:10250/pods)"
    seen anonymous running
    seen tls running
    seen profiling running
}

# What the kubelet on ADDRESS shows, verified by the cluster's CA.
kubelet_shows() {
    "$SITE" exec -- sh -c "openssl s_client -connect $1:10250 -CAfile '$WORK/ca.crt' -verify_return_error -verify_ip $1 </dev/null 2>/dev/null | openssl x509 -noout -serial -subject 2>/dev/null"
}

kubelet_shows_another() { # ADDRESS SHOWN
    local now
    now=$(kubelet_shows "$1") && [[ -n $now && $now != "$2" ]]
}

request() { # NAME SUBJECT SANS SIGNER USAGES: a CertificateSigningRequest
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj "$2" -addext "subjectAltName=$3" -out "$WORK/csr" 2>/dev/null
    printf '{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"%s"},"spec":{"signerName":"%s","usages":[%s],"request":"%s"}}\n' \
        "$1" "$4" "$5" "$(base64 -w0 <"$WORK/csr")"
}

serving_request() { request "$1" "$2" "$3" kubernetes.io/kubelet-serving '"digital signature","server auth"'; }

# By the kubelet's own credential: what somebody has who broke into node2.
as_kubelet() {
    "$SITE" exec -- "$KUBECTL_PROGRAM" --kubeconfig /dev/null --server https://10.77.0.11:6443 --certificate-authority "$WORK/ca.crt" \
        --client-certificate "$WORK/node2.pem" --client-key "$WORK/node2.pem" create -f - >/dev/null
}
as_approver() { node kubectl --kubeconfig /etc/kubernetes/kpack-approver.conf "$@"; }

test_serving() {
    part "each kubelet serves with a certificate of the cluster's CA; the API servers ask for it"
    local pod
    node cat /etc/kubernetes/pki/ca.crt >"$WORK/ca.crt"
    contains "node1" "$(kubelet_shows 10.77.0.11)" "CN = system:node:node1"
    contains "node2" "$(kubelet_shows 10.77.0.12)" "CN = system:node:node2"
    node grep -q kubelet-certificate-authority=/etc/kubernetes/pki/ca.crt /etc/kubernetes/manifests/kube-apiserver.yaml || fail "the API server does not verify kubelets"
    pod=$(kubectl get pods -n kube-system -l k8s-app=kube-proxy --field-selector spec.nodeName=node2 -o name)
    kubectl logs -n kube-system "$pod" --tail=1 >/dev/null || fail "no logs through the API server"
    contains "exec" "$(kubectl exec -n kube-system "$pod" -- kube-proxy --version)" "Kubernetes v"
    expect "requests" "Approved,Issued" "$(kubectl get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving --no-headers | awk '{ print $NF }' | sort -u | xargs)"
    part "the credential that approves can do nothing else"
    expect "mode" "600 root" "$(node stat -c '%a %U' /etc/kubernetes/kpack-approver.conf)"
    refused 1 as_approver get secrets -A
    contains "secrets" "$OUTPUT" orbidden
    refused 1 as_approver get nodes
    contains "nodes" "$OUTPUT" orbidden
    refused 1 as_approver delete csr --all
    contains "delete" "$OUTPUT" orbidden
    request person /O=people/CN=me DNS:me kubernetes.io/kube-apiserver-client '"client auth"' | kubectl create -f - >/dev/null
    refused 1 as_approver certificate approve person
    contains "another signer" "$OUTPUT" orbidden
    kubectl delete csr person >/dev/null
    seen serving running
}

test_requests() {
    part "requests that want what is another's are left alone and named; nobody signs them"
    local subject=/O=system:nodes/CN=system:node:node2 shown name hostile
    (umask 077 && "$SITE" run node2 -- cat /var/lib/kubelet/pki/kubelet-client-current.pem >"$WORK/node2.pem")
    serving_request hostile-address "$subject" "DNS:node2,IP:10.77.0.11" | as_kubelet
    serving_request hostile-api "$subject" "DNS:kubernetes.default.svc,IP:10.77.0.12" | as_kubelet
    serving_request hostile-endpoint "$subject" "DNS:$CLUSTER.kpack.internal" | as_kubelet
    serving_request hostile-name /O=system:nodes/CN=system:node:node1 "DNS:node1,IP:10.77.0.11" | as_kubelet
    request hostile-client "$subject" DNS:node2 kubernetes.io/kubelet-serving '"digital signature","server auth","client auth"' | as_kubelet
    request hostile-signer "$subject" DNS:node2 kubernetes.io/kube-apiserver-client '"digital signature","client auth"' | as_kubelet
    # By an admin: not by a node at all, and for a node that is in no inventory.
    serving_request hostile-person "$subject" "DNS:node2,IP:10.77.0.12" | kubectl create -f - >/dev/null
    serving_request hostile-ghost /O=system:nodes/CN=system:node:node9 DNS:node9 |
        kubectl create --as system:node:node9 --as-group system:nodes --as-group system:authenticated -f - >/dev/null
    hostile="hostile-address hostile-api hostile-client hostile-endpoint hostile-ghost hostile-name hostile-person hostile-signer"
    shown=$(kubelet_shows 10.77.0.12)
    part "the timer approves node2's own new request while no kinstall runs, and names the others"
    "$SITE" run node2 -- sh -c 'rm /var/lib/kubelet/pki/kubelet-server-*.pem; systemctl restart kubelet'
    soon 150 kubelet_shows_another 10.77.0.12 "$shown" || fail "no new certificate: $(node journalctl -u kpack-approve -n 20) $(kubectl get csr)"
    expect "what is pending" "$hostile" "$(kubectl get csr --no-headers | awk '$NF == "Pending" { print $1 }' | sort | xargs)"
    contains "journal" "$(node journalctl -q -o cat -u kpack-approve)" \
        "left alone: hostile-address of system:node:node2: it asks for the address 10.77.0.11" \
        "left alone: hostile-api of system:node:node2: it asks for the name kubernetes.default.svc" \
        "left alone: hostile-name of system:node:node2: its subject is not" \
        "left alone: hostile-client of system:node:node2: it is for \"client auth\"" \
        "left alone: hostile-person of kubernetes-admin" "system:node:node9 is not a node of the inventory"
    refused 1 kinstall certs check -i "$INVENTORY" --key "$PUB"
    contains "certs check" "$OUTPUT" "the request hostile-endpoint of system:node:node2: it asks for the name" "7 requests for a certificate are left alone"
    for name in $hostile; do kubectl delete csr "$name" >/dev/null; done
    node systemctl start kpack-approve.service
    kinstall certs check -i "$INVENTORY" --key "$PUB" >"$WORK/out" || fail "certs check: $(cat "$WORK/out")"
    contains "certs check" "$(cat "$WORK/out")" kubelet-server-current.pem kpack-approver.conf
    seen serving-hostile running
}

test_cis() {
    part "the CIS checks: a fresh install passes; a mode and a flag that are changed are named"
    kinstall status --cis -i "$INVENTORY" --key "$PUB" >"$WORK/out" 2>&1 || fail "cis: $(grep -v ' ok$' "$WORK/out")"
    contains "cis" "$(cat "$WORK/out")" 1.2.16 4.2.1 "not covered"
    say "$(grep -c ' ok *$' "$WORK/out") checks ok, $(grep -c 'nothing there' "$WORK/out") have nothing to look at"
    "$SITE" run node2 -- chmod 644 /etc/kubernetes/kubelet.conf
    refused 1 kinstall status --cis --json -i "$INVENTORY" --key "$PUB"
    expect "what failed" "4.1.5 node2 644 root:root" "$(jq -r 'select(.checks) | .checks[] | select(.ok | not) | "\(.id) \(.failures[0].node) \(.failures[0].found)"' <<<"$OUTPUT")"
    "$SITE" run node2 -- chmod 600 /etc/kubernetes/kubelet.conf
    seen cis running
}

test_again() {
    part "again: nothing changes"
    kinstall --key "$PUB" --bundle "$BUNDLE" -i "$INVENTORY" >"$WORK/out" 2>&1 || fail "again: $(tail -n 40 "$WORK/out")"
    contains "second run" "$(cat "$WORK/out")" "nothing had to be changed"
}

e2e_begin secure
upstream_up
shared_bundle
"$SITE" up --node node1=10.77.0.11 --node node2=10.77.0.12
eval "$("$SITE" env)"
write_inventory
test_install
test_settings
test_pods
test_secrets
test_audit
test_roles
test_doors
test_serving
test_requests
test_cis
test_again
part end
