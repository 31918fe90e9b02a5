#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Networks: that each bundle is complete, and that one image less is named. With "long": Cilium, rendered
# from its chart, and Multus on top, on a control plane and a worker: policies that deny and allow, a second
# interface, a namespace that begins closed, a rebooted node, a reset that leaves nothing; Calico's manifest
# before that cluster's API server. The long half needs root. Run: tests/e2e/networks.sh [long]
# shellcheck disable=SC2016 # single quotes: for the shells of the nodes
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

CLUSTER=e2e
TOOL_IMAGE=quay.io/cilium/cilium:v1.15.19 # has a shell and curl, and is on every node

inventory() { printf '%s' "$WORK/hosts.yaml"; }

install_all() { kinstall --bundle "$WORK/cilium.tar.zst" -i "$(inventory)"; }

create_network() { # OUTPUT [OPTIONS…]
    local output=$1
    shift
    kpack create --k8s v1.30 --release "$WORK/lab.yaml" --mirrors "$WORK/mirrors.yaml" --key "$KEY" --output "$WORK/$output" "$@"
}

# The upstream with these groups, its files for kpack, a key of this test's own.
prepare() { # GROUPS
    upstream_up --with "$1"
    "$UPSTREAM" release-file "$WORK/lab.yaml" --with "$1"
    "$UPSTREAM" mirrors-file "$WORK/mirrors.yaml"
    KEY=$WORK/keys/net.key PUB=$WORK/keys/net.pub
    kpack keygen net --folder "$WORK/keys"
}

# complete NAME COUNT [OPTIONS…]: a bundle is made; without any one of its COUNT images of networks and add-ons it is
# not, and that image is named.
complete() {
    local name=$1 count=$2 lock=$WORK/$1.lock.json reference references
    shift 2
    part "$name: every image is in the bundle; without any one of $count there is none"
    create_network "$name.tar.zst" "$@" >"$WORK/out" 2>&1 || fail "create: $(cat "$WORK/out")"
    contains "create" "$(cat "$WORK/out")" "complete  every image"
    references=$(jq -r '.images[] | select(.why | test("^(network|add-on) ")) | .reference' "$lock")
    expect "images" "$count" "$(wc -w <<<"$references")"
    for reference in $references; do
        jq --arg ref "$reference" '.images |= map(select(.reference != $ref))' "$lock" >"$WORK/less.json"
        refused 5 kpack create --mirrors "$WORK/mirrors.yaml" --lock "$WORK/less.json" --unsigned --output "$WORK/less.tar.zst"
        contains "create without it" "$OUTPUT" "$reference" "is not in the bundle"
        [[ ! -e $WORK/less.tar.zst ]] || fail "a bundle was made all the same"
        say "without $reference: refused"
    done
}

test_complete() {
    complete flannel 2 --network flannel
    complete calico 3 --network calico
    part "a network of one's own, with the same proof"
    sed -n '/^apiVersion: apps/,$p' "$UPSTREAM_FILES_DIR"/github/flannel-io/flannel/releases/download/v*/kube-flannel.yml >"$WORK/own.yml"
    refused 5 create_network own.tar.zst --network-manifest "$WORK/own.yml" --image docker.io/flannel/flannel:v0.28.10
    contains "one image is not given" "$OUTPUT" docker.io/flannel/flannel-cni-plugin "own.yml"
    create_network own.tar.zst --network-manifest "$WORK/own.yml" --image docker.io/flannel/flannel:v0.28.10 \
        --image docker.io/flannel/flannel-cni-plugin:v0.9.1 >"$WORK/out" 2>&1 || fail "create: $(cat "$WORK/out")"
}

test_rendered() {
    complete cilium 3 --network cilium --with multus --runtime containerd-1.7,containerd-2.1
    part "the same lock: the same bytes, rendered again by helm from an empty cache"
    in_home env XDG_CACHE_HOME="$WORK/cold" "$PREFIX/bin/kpack" create --mirrors "$WORK/mirrors.yaml" --lock "$WORK/cilium.lock.json" --key "$KEY" \
        --output "$WORK/again.tar.zst" >"$WORK/out" 2>&1 || fail "create --lock: $(cat "$WORK/out")"
    cmp "$WORK/cilium.tar.zst" "$WORK/again.tar.zst" || fail "other bytes"
    rm -rf "$WORK/again.tar.zst" "$WORK/cold"
    part "the digests of the chart's values are those of the bundle"
    jq -r '.images[] | select(.reference | startswith("quay.io/cilium/")) | "\(.reference) \(.checked)"' "$WORK/cilium.lock.json" | sort >"$WORK/seen"
    printf '%s\n' "quay.io/cilium/cilium:v1.15.19 pinned" "quay.io/cilium/operator-generic:v1.15.19 pinned" | diff -u - "$WORK/seen" || fail "images of Cilium"
}

# This machine's kernel has no modules: what is built in must be named somewhere for Cilium to look for.
name_builtin() {
    "$SITE" run "$1" -- sh -ec 'd=/lib/modules/$(uname -r) && mkdir -p "$d"
        for m in ip_tables iptable_nat iptable_mangle iptable_raw iptable_filter ip6_tables ip6table_nat ip6table_mangle ip6table_raw ip6table_filter xt_socket; do
            echo "kernel/net/netfilter/$m.ko"
        done >"$d/modules.builtin"'
}

all_are_ready() { [[ $(ready_nodes) == "cp1=True w1=True" ]] && no_unready_pods; }

# Both families; MTU, port of VXLAN and interface are the site's.
write_inventory() {
    local name info
    info=$("$SITE" info --json)
    "$SITE" hosts-yaml --cluster "$CLUSTER" |
        sed "s/network: flannel/network: cilium, mtu: 1400, vxlan_port: 4790, interface: eth0/" >"$(inventory)"
    for name in cp1 w1; do
        sed -i -E "s/(name: $name, .*)address: ([0-9.]+)/\1address: [\2, \"$(jq -r --arg n "$name" '.nodes[] | select(.name == $n) | .ip6' <<<"$info")\"]/" "$(inventory)"
    done
}

test_install() {
    part "a control plane and a worker with both families; Cilium and Multus"
    "$SITE" up --node cp1=10.77.0.11 --node w1=10.77.0.12
    eval "$("$SITE" env)"
    write_inventory
    sed -i 's/name: w1,/name: w1, runtime: containerd-2.1,/' "$(inventory)"
    printf 'security: {isolated: [vault]}\n' >>"$(inventory)"
    local node
    for node in cp1 w1; do
        name_builtin "$node"
        traces "$node" >"$WORK/$node.before"
    done
    kinstall trust add "$PUB"
    "$SITE" egress selftest
    "$SITE" egress reset
    install_all >"$WORK/install.out" 2>&1 || fail "install: $(tail -n 40 "$WORK/install.out")"
    sed 's/^/     /' "$WORK/install.out"
    BUNDLE=$WORK/cilium.tar.zst
    fetch_kubectl
    expect "nodes" "cp1=True w1=True" "$(ready_nodes)"
    contains "w1's runtime" "$(kubectl get node w1 -o jsonpath='{.status.nodeInfo.containerRuntimeVersion}')" containerd://2.1
    part "the final verification says it: a policy denied and allowed, a second interface"
    contains "the screen" "$(cat "$WORK/install.out")" "NetworkPolicy denies and allows"
    expect "report: network policy" "true true" "$(jq -r '.checks[] | select(.name == "network policy") | "\(.ok) \(.enforced)"' "$WORK/$CLUSTER.state/report.json")"
    expect "report: second interface" "true" "$(jq -r '.checks[] | select(.name == "second interface").ok' "$WORK/$CLUSTER.state/report.json")"
    expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
    seen cilium running
    seen multus running
    seen network-policy running
}

# A pod that stays, of an image with a shell: pod NAMESPACE NAME [ANNOTATION]
pod() {
    kubectl apply -f - <<END
apiVersion: v1
kind: Pod
metadata: {name: $2, namespace: $1, labels: {app: $2}, annotations: {${3:-}}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: $TOOL_IMAGE, command: [sh, -c, "exec sleep 1000000"]}]
END
}

inside() { # NAMESPACE POD COMMAND…
    local namespace=$1 pod=$2
    shift 2
    kubectl exec -n "$namespace" "$pod" -- "$@"
}

# In a pod: its routes have what VXLAN leaves of its interface.
test_told() {
    part "Cilium has the inventory's MTU, port of VXLAN and interface, and pods have both families"
    contains "cilium_vxlan" "$("$SITE" run w1 -- ip -d link show cilium_vxlan)" "dstport 4790"
    expect "config" "1450 4790 eth0 true" "$(kubectl get cm -n kube-system cilium-config -o json | jq -r '.data | [.mtu, ."tunnel-port", .devices, ."enable-ipv6"] | join(" ")')"
    contains "pairs" "$(jq -r '.checks[] | select(.name == "pod to pod") | .detail' "$WORK/$CLUSTER.state/report.json")" "by IPv4 and IPv6"
    kubectl create namespace told
    pod told sender >/dev/null
    kubectl wait --for=condition=Ready pod/sender -n told --timeout=120s
    contains "a pod's route" "$(inside told sender ip route show default)" "mtu 1400"
    expect "a pod's addresses" 2 "$(kubectl get pod -n told sender -o json | jq '.status.podIPs | length')"
    kubectl delete namespace told --timeout=120s
    seen cilium-settings running
}

# By the cluster's own means, not by kinstall's: names are resolved, all else is closed, a policy opens it.
test_policies() {
    local address dns
    part "a namespace that begins closed: names are resolved, nothing else; another policy opens it"
    kubectl create namespace open
    pod open client >/dev/null
    pod vault inner >/dev/null
    kubectl wait --for=condition=Ready pod/client -n open --timeout=120s
    kubectl wait --for=condition=Ready pod/inner -n vault --timeout=120s
    dns=$(kubectl get pods -n kube-system -l k8s-app=kube-dns -o jsonpath='{.items[0].status.podIP}')
    address="http://$dns:8080/health"
    inside open client curl -sS -m 5 "$address" >/dev/null || fail "CoreDNS is not reached from an open namespace"
    inside vault inner getent hosts kubernetes.default.svc.cluster.local >/dev/null || fail "no names in the closed namespace"
    ! inside vault inner curl -sS -m 3 "$address" >/dev/null 2>&1 || fail "the closed namespace reaches port 8080 of CoreDNS"
    kubectl apply -f - <<'END'
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: mine, namespace: vault}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress: [{ports: [{protocol: TCP, port: 8080}]}]
END
    soon 30 inside vault inner curl -sS -m 3 "$address" >/dev/null || fail "the policy that allows it does not"
    part "a NetworkAttachmentDefinition of one's own: a second interface with its address"
    kubectl apply -f - <<'END'
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: second, namespace: open}
spec: {config: '{"cniVersion": "0.3.1", "type": "macvlan", "master": "eth0", "mode": "bridge", "ipam": {"type": "static", "addresses": [{"address": "10.77.0.201/24"}]}}'}
END
    pod open attached '"k8s.v1.cni.cncf.io/networks": second' >/dev/null
    kubectl wait --for=condition=Ready pod/attached -n open --timeout=120s
    contains "net1" "$(inside open attached ip -4 -o addr show dev net1)" "10.77.0.201/24"
    kubectl delete namespace open vault --timeout=120s
    seen isolated running
    seen second-interface running
    seen networks-2.1 running
}

test_again() {
    part "run again: nothing changes but the namespace that was deleted"
    install_all >"$WORK/again.out" 2>&1 || fail "again: $(tail -n 40 "$WORK/again.out")"
    expect "the namespace's policies" "kpack-allow-dns kpack-default-deny" \
        "$(kubectl get networkpolicies -n vault -o jsonpath='{range .items[*]}{.metadata.name}{"\n"}{end}' | sort | xargs)"
    part "a node is rebooted: all Ready again, no packet left"
    "$SITE" reboot w1
    "$SITE" wait w1
    sleep 15 # until then the API server may not know yet that it was away
    soon 240 all_are_ready || fail "not ready: $(ready_nodes) $(unready_pods)"
    expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
}

# The replacements of a lock's manifest, with the values that tests/unit/test_clusternet.c has seen kinstall give.
as_kinstall_puts_it() {
    python3 -c 'import json, sys
env = "\n            - name: %s\n              value: \"%s\""
values = {"pods": lambda find: "10.233.64.0/18", "calico-mtu": lambda find: "veth_mtu: \"1400\"",
    "calico-address": lambda find: find + env % ("IP_AUTODETECTION_METHOD", "interface=^eth0$"),
    "calico-ipip": lambda find: find.replace("Always", "Never"),
    "calico-vxlan": lambda find: find.replace("Never", "Always") + env % ("FELIX_VXLANPORT", "4790")}
text = sys.stdin.read()
for one in [r for m in json.load(open(sys.argv[1]))["manifests"] for r in m["replace"]]:
    assert one["find"] in text, one
    text = text.replace(one["find"], values[one["with"]](one["find"]))
print(text)' "$1"
}

# Calico cannot run here: its manifest, as kinstall would put it, before this cluster's API server.
test_calico() {
    local manifest
    complete calico 3 --network calico
    part "Calico's manifest is accepted by the API server (dry run)"
    manifest=$(jq -r '.manifests[] | select(.name == "calico").sha256' "$WORK/calico.lock.json")
    find "$CACHE" -name "$manifest" -exec cat {} \; | as_kinstall_puts_it "$WORK/calico.lock.json" >"$WORK/calico.yaml"
    contains "told" "$(cat "$WORK/calico.yaml")" '- name: CALICO_IPV4POOL_CIDR' 'value: "10.233.64.0/18"' 'veth_mtu: "1400"' FELIX_VXLANPORT "interface=^eth0$"
    kubectl apply --server-side --dry-run=server -f - <"$WORK/calico.yaml" >"$WORK/out" 2>&1 || fail "$(cat "$WORK/out")"
    contains "dry run" "$(cat "$WORK/out")" "daemonset.apps/calico-node serverside-applied (server dry run)" \
        "deployment.apps/calico-kube-controllers serverside-applied (server dry run)"
    say "$(grep -c 'server dry run' "$WORK/out") objects"
    seen calico validated
    seen calico-settings validated
}

# What a network leaves on a node, for comparing.
traces() {
    "$SITE" run "$1" -- bash -c '
        ip -o link | awk -F": " "{ print \"link \" \$2 }" | sed "s/@.*//" | sort
        for f in -4 -6; do ip $f rule | sed "s/^/rule $f /"; ip $f route | sed "s/^/route $f /"; done | sort
        { iptables-save; ip6tables-save; } 2>/dev/null | grep -E "^:" | grep -vE "^:(INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING) " | sed "s/ \[[0-9:]*\]//" | sort
        awk "{ print \"mount \" \$2, \$3 }" /proc/mounts | grep -E "bpf|cilium|cgroupv2|kube|cni" | sort
        find /etc/cni /opt/cni /etc/sysctl.d /run/cilium /var/lib/cilium /var/lib/cni /etc/systemd/system -printf "file %p\n" 2>/dev/null | sort
        ls /sys/fs/bpf 2>/dev/null | sed "s/^/bpf /"'
}

test_reset() {
    part "reset: nothing of the network is left on the nodes"
    local node
    kinstall reset -i "$(inventory)" --yes >"$WORK/out" 2>&1 || fail "reset: $(tail -n 30 "$WORK/out")"
    for node in cp1 w1; do
        traces "$node" >"$WORK/$node.after"
        diff -u "$WORK/$node.before" "$WORK/$node.after" || fail "$node is not as it was"
    done
}

main() {
    if [[ ${1:-} != long ]]; then
        e2e_begin networks
        prepare calico
        test_complete
    else
        e2e_begin networks
        [[ $(id -u) == 0 ]] || fail "needs root"
        prepare cilium,multus,calico,runtimes
        test_rendered
        test_install
        test_told
        test_policies
        test_again
        test_calico
        test_reset
    fi
    part end
}

main "$@"
