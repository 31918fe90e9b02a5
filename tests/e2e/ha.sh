#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Three control planes and two workers: a join of a control plane that fails is retried with the right
# members of etcd; each control plane is powered off in turn and comes back.
# Needs root. Run: tests/e2e/ha.sh; with "external" (long): the same power cuts where etcd runs
# beside Kubernetes, as a unit of each control plane; with "returned" (long): one that was removed as dead
# comes back with its old disk.
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

CLUSTER=ha
CONTROL=(cp1 cp2 cp3)
NODES=(cp1 cp2 cp3 w1 w2)
[[ ${1:-} != returned ]] || NODES=(cp1 cp2 cp3 w1)
API_S=15 # within which the API must answer after a power cut
declare -A ADDRESS=([cp1]=10.77.0.11 [cp2]=10.77.0.12 [cp3]=10.77.0.13 [w1]=10.77.0.14 [w2]=10.77.0.15)

apply() { kinstall --bundle "$BUNDLE" -i "$WORK/hosts.yaml"; }

# By the first control plane that answers, as an admin would.
kube() { kinstall kubectl -i "$WORK/hosts.yaml" -- --request-timeout=5s "$@" 2>/dev/null; }

# Members of etcd as "cp1 cp2 cp3", asked on the node.
members() {
    "$SITE" run "$1" -- /usr/local/bin/etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt \
        --cert=/etc/kubernetes/pki/apiserver-etcd-client.crt --key=/etc/kubernetes/pki/apiserver-etcd-client.key member list 2>/dev/null
}

member_names() { members "$1" | awk -F', ' '{ print $3 == "" ? "(" $2 ")" : $3 }' | sort | paste -sd ' '; }

# Kills kubeadm's unit on cp2 at the moment in which etcd knows of a member that never started.
test_failed_join() {
    part "kubeadm join of cp2 is killed when its member was added and has not started"
    (
        export HOME=$WORK/home XDG_CONFIG_HOME=$WORK/config XDG_CACHE_HOME=$CACHE
        exec "$SITE" exec -- "$PREFIX/libexec/kpack/$ARCH/kinstall" --bundle "$BUNDLE" -i "$WORK/hosts.yaml"
    ) </dev/null >"$WORK/first.out" 2>&1 &
    local run=$! deadline=$((SECONDS + 400))
    # Its etcd cannot speak to the others, so that it is added (by its client's port) and never starts.
    until grep -q '"event":"begin","node":"cp2","step":"kubeadm-join"' "$WORK/$CLUSTER.state/journal.jsonl" 2>/dev/null; do
        kill -0 $run 2>/dev/null || fail "the run ended before: $(tail -n 20 "$WORK/first.out")"
        ((SECONDS < deadline)) || fail "no join: $(tail -n 20 "$WORK/first.out")"
        sleep 0.2
    done
    "$SITE" run cp1 -- iptables -I INPUT -s "${ADDRESS[cp2]}" -p tcp --dport 2380 -j DROP
    until [[ $(members cp1) == *unstarted* ]]; do
        kill -0 $run 2>/dev/null || fail "the run ended before: $(tail -n 20 "$WORK/first.out")"
        ((SECONDS < deadline)) || fail "no member was added: $(tail -n 20 "$WORK/first.out")"
    done
    "$SITE" run cp2 -- sh -c 'systemctl kill -s KILL kpack-join.service; systemctl stop kubelet; crictl pods -q 2>/dev/null | xargs -r crictl stopp >/dev/null 2>&1; true'
    until grep -q '"event":"failed".*"node":"cp2"' "$WORK/$CLUSTER.state/journal.jsonl" || ! kill -0 $run 2>/dev/null; do
        ((SECONDS < deadline)) || fail "the run does not see it: $(tail -n 20 "$WORK/first.out")"
        sleep 0.2
    done
    kill -KILL $run 2>/dev/null || true
    wait $run 2>/dev/null || true
    say "members then: $(member_names cp1)"
    expect "members" "(unstarted) cp1" "$(member_names cp1)"
    "$SITE" run cp1 -- iptables -D INPUT -s "${ADDRESS[cp2]}" -p tcp --dport 2380 -j DROP
    part "the same command again: three control planes, two workers"
    apply >"$WORK/again.out" 2>&1 || fail "again: $(tail -n 30 "$WORK/again.out")"
    sed 's/^/     /' "$WORK/again.out"
    expect "members of etcd" "cp1 cp2 cp3" "$(member_names cp1)"
    [[ $(members cp1) != *true* ]] || fail "a learner is left: $(members cp1)"
    soon 60 all_are_ready || fail "not ready: $(kube get nodes) $(kube get pods -A)"
    expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
    apply >"$WORK/again.out" 2>&1 || fail "once more: $(tail -n 30 "$WORK/again.out")"
    contains "once more" "$(cat "$WORK/again.out")" "nothing had to be changed"
}

test_external() {
    part "install with etcd as a unit of each control plane"
    sed -i 's/roles: \[control-plane\]/roles: [control-plane, etcd]/' "$WORK/hosts.yaml"
    apply >"$WORK/out" 2>&1 || fail "install: $(tail -n 30 "$WORK/out")"
    expect "members of etcd" "cp1 cp2 cp3" "$(member_names cp1)"
    for node in "${CONTROL[@]}"; do
        "$SITE" run "$node" -- systemctl is-active --quiet etcd || fail "$node: no unit etcd"
        ! "$SITE" run "$node" -- test -e /etc/kubernetes/manifests/etcd.yaml || fail "$node: kubeadm made its own etcd too"
    done
    soon 60 all_are_ready || fail "not ready: $(kube get nodes) $(kube get pods -A)"
    apply >"$WORK/out" 2>&1 || fail "once more: $(tail -n 30 "$WORK/out")"
    contains "once more" "$(cat "$WORK/out")" "nothing had to be changed"
}

all_are_ready() {
    [[ $(kube get nodes --no-headers | awk '$2 == "Ready"' | wc -l) == "${#NODES[@]}" ]] &&
        [[ -z $(kube get pods -A --no-headers | awk '{ split($3, r, "/") } r[1] != r[2]') ]]
}

test_addresses() {
    part "where each node asks, and that its pods with the host's network ask there too"
    local node want stale
    for node in "${NODES[@]}"; do
        want=${ADDRESS[$node]}
        [[ $node != w? ]] || want=127.0.0.1
        expect "the name on $node" "$want" "$("$SITE" run "$node" -- getent ahostsv4 "$CLUSTER.kpack.internal" | awk 'NR == 1 { print $1 }')"
        stale=$("$SITE" run "$node" -- sh -c "grep -LE '^$want $CLUSTER.kpack.internal' \$(grep -lE ' $CLUSTER.kpack.internal' /var/lib/kubelet/pods/*-*/etc-hosts)" || true)
        expect "pods of $node with a hosts file of before" "" "$stale"
    done
    expect "contexts" "cp1@ha cp2@ha cp3@ha ha" "$(kube config get-contexts -o name | sort | paste -sd ' ')"
    expect "haproxy" "haproxy-w1 haproxy-w2" "$(kube get pods -n kube-system -l app.kubernetes.io/name=kpack-haproxy -o name | sed 's,pod/,,' | sort | paste -sd ' ')"
    part "the pod of kube-vip is one that the API server takes"
    for node in kube-vip kube-vip-making haproxy-pod; do
        "$SITE" exec -- sh -c "$(printf '%q ' "$PREFIX/libexec/kpack/$ARCH/kinstall") kubectl -i '$WORK/hosts.yaml' -- create --dry-run=server --validate=strict -f -" \
            <"$TOP/tests/data/rendered/$node.yaml" >/dev/null || fail "$node.yaml is refused"
    done
    seen haproxy running
    seen kube-vip validated
}

answers_on() { [[ $("$SITE" run "$1" -- curl -s --max-time 2 --cacert /etc/kubernetes/pki/ca.crt "https://$CLUSTER.kpack.internal:6443/readyz") == ok ]]; }

# kube-proxy of every node knows a Service that was made after the power cut.
proxies_know() { # ADDRESS NODE…
    local address=$1 node
    shift
    for node in "$@"; do
        "$SITE" run "$node" -- sh -c "iptables-save -t nat | grep '$address/32'" >/dev/null || return 1
    done
}

write_pods() { # NAME
    kube create -f - <<END
apiVersion: apps/v1
kind: Deployment
metadata: {name: $1}
spec:
  replicas: 2
  selector: {matchLabels: {app: $1}}
  template:
    metadata: {labels: {app: $1}}
    spec:
      containers: [{name: hello, image: "registry.k8s.io/pause:3.9", imagePullPolicy: Always}]
---
apiVersion: v1
kind: Service
metadata: {name: $1}
spec: {selector: {app: $1}, ports: [{port: 80}]}
END
}

pods_run() { [[ $(kube get deployment "$1" -o 'jsonpath={.status.readyReplicas}') == 2 ]]; }

# The last one in the file that containerd reads, which is the placed one where it is last already.
is_last_mirror() { # NODE ADDRESS
    "$SITE" run "$1" -- sh -c 'f=/run/kpack/certs.d/_default/hosts.toml; [ -e $f ] || f=/etc/containerd/certs.d/_default/hosts.toml
        grep -q "^server = \"https://$1:5000\"" $f' sh "$2"
}

mirrors_as_placed() { "$SITE" run "$1" -- sh -c '! [ -e /run/kpack/certs.d/_default ]'; }

test_power() { # NODE
    local off=$1 node others=() cut took
    for node in "${NODES[@]}"; do [[ $node == "$off" ]] || others+=("$node"); done
    part "$off without power: the API within $API_S s, for the admin and on each node"
    "$SITE" poweroff "$off"
    cut=$EPOCHREALTIME
    soon $API_S kube create configmap "without-$off" --from-literal=x=y >/dev/null || fail "no write within $API_S s"
    took=$(since "$cut")
    for node in "${others[@]}"; do
        soon $((API_S - $(since "$cut" | cut -d. -f1))) answers_on "$node" || fail "no answer on $node within $API_S s"
    done
    say "the admin after $took s, all nodes after $(since "$cut") s"
    part "$off without power: pods are scheduled and pulled, every kube-proxy follows"
    write_pods "without-$off" >/dev/null
    soon 90 pods_run "without-$off" || fail "no pods: $(kube get pods -o wide) $(kube get events | tail -n 20)"
    took=$(since "$cut")
    soon 60 proxies_know "$(kube get service "without-$off" -o 'jsonpath={.spec.clusterIP}')" "${others[@]}" || fail "a kube-proxy does not follow"
    say "pods run $took s after the cut, rules on all nodes $(since "$cut") s"
    part "$off without power: its mirror is tried last, a pull waits for nobody"
    for node in "${others[@]}"; do
        soon 20 is_last_mirror "$node" "${ADDRESS[$off]}" || fail "on $node the mirror of $off is not the last"
    done
    cut=$EPOCHREALTIME
    "$SITE" run w1 -- crictl -r unix:///run/containerd/containerd.sock -i unix:///run/containerd/containerd.sock pull registry.k8s.io/pause:3.9 >/dev/null ||
        fail "no pull"
    took=$(since "$cut")
    say "a pull took $took s"
    ((${took%.*} < 3)) || fail "a pull took $took s"
    part "$off with power again: Ready, its member and its pods healthy"
    "$SITE" poweron "$off"
    "$SITE" wait "$off"
    soon 120 member_is_back "$off" || fail "etcd on $off: $(members "$off")"
    soon 180 all_are_ready || fail "not ready: $(kube get nodes) $(kube get pods -A)"
    expect "members of etcd" "cp1 cp2 cp3" "$(member_names "$off")"
    for node in "${NODES[@]}"; do
        soon 30 mirrors_as_placed "$node" || fail "on $node the order of the mirrors did not come back"
    done
    kube get configmap "without-$off" >/dev/null || fail "what was written is gone"
}

test_power_cuts() {
    kinstall kubectl --bundle "$BUNDLE" -i "$WORK/hosts.yaml" -- version --client >/dev/null
    test_addresses
    for node in "${CONTROL[@]}"; do test_power "$node"; done
}

test_returned() {
    part "cp1 is removed as dead"
    apply >"$WORK/out" 2>&1 || fail "install: $(tail -n 30 "$WORK/out")"
    kinstall kubectl --bundle "$BUNDLE" -i "$WORK/hosts.yaml" -- version --client >/dev/null
    "$SITE" poweroff cp1
    kinstall remove cp1 --yes --force-dead -i "$WORK/hosts.yaml" >"$WORK/out" 2>&1 || fail "remove: $(tail -n 30 "$WORK/out")"
    expect "members of etcd" "cp2 cp3" "$(member_names cp2)"
    expect "nodes" "cp2 cp3 w1" "$(kube get nodes --no-headers | awk '{ print $1 }' | paste -sd ' ')"
    part "it comes back with its old disk: another one is the hand, nothing is done to it, and how it comes back in is said"
    "$SITE" poweron cp1
    "$SITE" wait cp1
    refused 1 apply
    contains "apply" "$OUTPUT" "cp1" "it was removed as dead" "kinstall remove cp1"
    expect "members of etcd" "cp2 cp3" "$(member_names cp2)"
    kinstall etcd status -i "$WORK/hosts.yaml" >"$WORK/out" 2>&1 || true
    contains "etcd status" "$(cat "$WORK/out")" cp2 cp3
    part "remove, this time without --force-dead, cleans it"
    kinstall remove cp1 --yes -i "$WORK/hosts.yaml" >"$WORK/out" 2>&1 || fail "remove: $(tail -n 30 "$WORK/out")"
    expect "members of etcd" "cp2 cp3" "$(member_names cp2)"
    seen removed-returns running
}

member_is_back() { [[ $(member_names "$1") == "cp1 cp2 cp3" ]] && answers_on "$1"; }

e2e_begin ha
part "the bundle and ${#NODES[@]} nodes"
shared_bundle
nodes=()
for node in "${NODES[@]}"; do
    role=worker
    [[ $node == w? ]] || role=control-plane
    nodes+=(--node "$node=${ADDRESS[$node]},role=$role")
done
"$SITE" up "${nodes[@]}"
"$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/hosts.yaml"
kinstall trust add "$PUB"
"$SITE" egress reset
case ${1:-} in
    returned) test_returned ;;
    external)
        test_external
        test_power_cuts
        seen ha-power-external running
        ;;
    *)
        test_failed_join
        test_power_cuts
        seen ha-power running
        ;;
esac
part "no packet left the site"
expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
part end
