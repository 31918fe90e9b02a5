#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a site changes of Kubernetes' own configuration: seen in effect on a new cluster; three of
# the settings changed while it runs. rotate: the keys of the Secrets rotated, cut off midway. long: an
# argument that a component refuses, a kubelet's field that it refuses, and a CA of the site. control:
# settings changed on three control planes, which are asked all along. Needs root. Run:
# tests/e2e/custom.sh [rotate|long|control]
# shellcheck disable=SC2016 # single quotes: for the shells of the nodes
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

CLUSTER=custom
INVENTORY=

k() { kinstall "$@" --key "$PUB" -i "$INVENTORY"; }
apply() { k apply --bundle "$BUNDLE" >"$WORK/out" 2>&1; }
on() { "$SITE" run "$@"; }

# The inventory of the lab with what a site may say; its ssh and nodes are the lab's own.
write_inventory() {
    INVENTORY=$WORK/hosts.yaml
    "$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/lab.yaml"
    mkdir -p "$WORK/patches"
    printf 'metadata:\n  annotations:\n    site/patched: "yes"\n' >"$WORK/patches/kube-scheduler0+merge.yaml"
    python3 - "$WORK/lab.yaml" "$INVENTORY" <<'END'
import re, sys
text = open(sys.argv[1]).read()
text, n = re.subn(r"(?m)^kubernetes: \{(.*)\}$", lambda m: "kubernetes:\n  " + m.group(1).replace(", ignore", "\n  ignore") + """
  kubelet: {imageGCHighThresholdPercent: 100, evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}
  patches: patches
  feature_gates: {NodeSwap: false}
  apiserver:
    args: {event-ttl: 2h0m0s}
    volumes: [{name: site, host_path: /srv/site, mount_path: /srv/site}]
  controller_manager: {args: {terminated-pod-gc-threshold: "100"}}
  scheduler: {args: {v: "3"}}
  kube_proxy_config: {iptables: {minSyncPeriod: 2s}}""", text, count=1)
assert n == 1
text = re.sub(r"(name: w1,)", r"\1 groups: small,", text)
text += """
etcd: {args: {auto-compaction-retention: "8"}}
sysctls: {net.core.somaxconn: 2048}
groups:
  small:
    labels: {size: small}
    annotations: {site/note: "a small one"}
    kubelet: {maxPods: 40}
"""
open(sys.argv[2], "w").write(text)
END
}

change() { sed -i "$1" "$INVENTORY"; }
arg_on() { on "$1" -- sh -c 'tr "\0" "\n" </proc/$(pidof '"$2"')/cmdline' | grep -cxF -e "$3"; }
has_arg() { arg_on cp1 "$@"; }
kubelet_of() { kubectl get --raw "/api/v1/nodes/$1/proxy/configz" | jq -r ".kubeletconfig.$2"; }
started() { on "$1" -- systemctl show -P ExecMainStartTimestampMonotonic kubelet; }

test_refused() {
    part "what cannot be is named before any node is reached"
    cp "$INVENTORY" "$WORK/good.yaml"
    change 's/event-ttl/profiling/'
    refused 2 k check --bundle "$BUNDLE"
    contains "argument" "$OUTPUT" "hosts.yaml:" "decided by security.profiling"
    cp "$WORK/good.yaml" "$INVENTORY"
    change 's/groups: small,/groups: smal,/'
    refused 2 k check --bundle "$BUNDLE"
    contains "group" "$OUTPUT" "no group smal" "did you mean 'small'"
    cp "$WORK/good.yaml" "$INVENTORY"
    echo '- op: x' >"$WORK/patches/etcd+json.yaml"
    refused 2 k check --bundle "$BUNDLE"
    contains "patch" "$OUTPUT" "patches/etcd+json.yaml:1" "operation"
    rm "$WORK/patches/etcd+json.yaml"
    change 's/somaxconn: 2048/nosuchthing: 1/'
    refused 1 k check --bundle "$BUNDLE"
    contains "sysctl" "$OUTPUT" "net.core.nosuchthing cannot be set"
    cp "$WORK/good.yaml" "$INVENTORY"
}

test_install() {
    part "a cluster with settings of its site"
    SOMAXCONN=$(on w1 -- sysctl -n net.core.somaxconn)
    apply || fail "install: $(tail -n 40 "$WORK/out")"
    fetch_kubectl
    expect "API server" 1 "$(has_arg kube-apiserver --event-ttl=2h0m0s)"
    expect "gate" 1 "$(has_arg kube-apiserver --feature-gates=NodeSwap=false)"
    expect "controllers" 1 "$(has_arg kube-controller-manager --terminated-pod-gc-threshold=100)"
    expect "etcd" 1 "$(has_arg etcd --auto-compaction-retention=8)"
    expect "volume" /srv/site "$(kubectl -n kube-system get pod kube-apiserver-cp1 -o json | jq -r '.spec.volumes[] | select(.name == "site") | .hostPath.path')"
    expect "kubeadm's patch" yes "$(kubectl -n kube-system get pod kube-scheduler-cp1 -o json | jq -r '.metadata.annotations["site/patched"]')"
    expect "w1's pods" 40 "$(kubelet_of w1 maxPods)"
    expect "cp1's pods" 110 "$(kubelet_of cp1 maxPods)"
    expect "label, annotation" "small a small one" "$(kubectl get node w1 -o json | jq -r '.metadata | .labels.size + " " + .annotations["site/note"]')"
    expect "sysctl" 2048 "$(on w1 -- sysctl -n net.core.somaxconn)"
    expect "kube-proxy" 2s "$(kubectl -n kube-system get cm kube-proxy -o json | jq -r '.data["config.conf"]' | sed -n 's/.*minSyncPeriod: //p' | sed -n 1p)"
    apply || fail "again: $(tail -n 40 "$WORK/out")"
    contains "second run" "$(cat "$WORK/out")" "nothing had to be changed"
    seen args running
    seen volumes running
    seen feature-gates running
    seen patches running
    seen group-kubelet running
    seen annotations running
    seen sysctls running
    seen kube-proxy-config running
    seen etcd-args running
}

test_change() {
    part "three settings changed on the running cluster; plan shows each, and no other kubelet restarts"
    local cp1 w1
    cp1=$(started cp1) w1=$(started w1)
    change 's/event-ttl: 2h0m0s/event-ttl: 3h0m0s/; s/maxPods: 40/maxPods: 50/; s/somaxconn: 2048/somaxconn: 4096/'
    k plan --bundle "$BUNDLE" >"$WORK/plan" 2>&1 || fail "plan: $(cat "$WORK/plan")"
    contains "plan" "$(cat "$WORK/plan")" 'event-ttl: "3h0m0s"' '"maxPods": 50' somaxconn=4096
    apply || fail "change: $(tail -n 40 "$WORK/out")"
    expect "API server" 1 "$(has_arg kube-apiserver --event-ttl=3h0m0s)"
    expect "w1's pods" 50 "$(kubelet_of w1 maxPods)"
    expect "sysctl" 4096 "$(on w1 -- sysctl -n net.core.somaxconn)"
    expect "cp1's kubelet went on" "$cp1" "$(started cp1)"
    [[ $w1 != "$(started w1)" ]] || fail "w1's kubelet was not restarted"
    contains "the cluster, for those that join" "$(kubectl -n kube-system get cm kubeadm-config -o json)" 3h0m0s
    seen changed-settings running
}

# A sysctl that leaves the inventory; a namespace that Pod Security is to leave alone.
test_leave() {
    part "a sysctl taken out is as it was before; another policy is one that the API server knows"
    kubectl create namespace shop >/dev/null
    refused 1 kubectl -n shop run bad --image docker.io/library/none:1 --privileged --dry-run=server
    change '/^sysctls:/d'
    printf 'security: {pod_security_exempt: [shop]}\n' >>"$INVENTORY"
    k plan --bundle "$BUNDLE" >"$WORK/plan" 2>&1 || fail "plan: $(cat "$WORK/plan")"
    contains "plan" "$(cat "$WORK/plan")" "put kernel parameters back: net.core.somaxconn=$SOMAXCONN" admission.yaml
    apply || fail "leave: $(tail -n 40 "$WORK/out")"
    expect "sysctl" "$SOMAXCONN" "$(on w1 -- sysctl -n net.core.somaxconn)"
    ! on w1 -- grep -q somaxconn /etc/sysctl.d/90-kpack.conf || fail "the parameter comes back at the next boot"
    kubectl -n shop run bad --image docker.io/library/none:1 --privileged --dry-run=server >/dev/null || fail "the API server has the old policy"
    apply || fail "again: $(tail -n 40 "$WORK/out")"
    contains "second run" "$(cat "$WORK/out")" "nothing had to be changed"
    seen sysctl-back running
    seen changed-policies running
}

test_bad() {
    part "an argument that the scheduler refuses: named, and it gets back what it had"
    change 's/v: "3"/no-such-flag: "3"/'
    refused 1 apply
    contains "said" "$(cat "$WORK/out")" kube-scheduler "has what it had before"
    soon 60 has_arg kube-scheduler --v=3 >/dev/null || fail "the scheduler does not run as before"
    change 's/no-such-flag: "3"/v: "3"/'
    apply || fail "corrected: $(tail -n 40 "$WORK/out")"
    expect "unready pods" "" "$(unready_pods)"
    seen refused-argument running
}

test_bad_kubelet() {
    part "a field that the kubelet refuses: named, and it gets back what it had"
    change 's/maxPods: 40/maxPods: -7/'
    refused 1 apply
    contains "said" "$(cat "$WORK/out")" "w1" "has what it had before"
    soon 60 kubelet_has w1 maxPods 40 || fail "w1's kubelet does not run as before"
    change 's/maxPods: -7/maxPods: 41/'
    apply || fail "corrected: $(tail -n 40 "$WORK/out")"
    expect "w1's pods" 41 "$(kubelet_of w1 maxPods)"
    seen refused-kubelet running
}
kubelet_has() { [[ $(kubelet_of "$1" "$2") == "$3" ]]; }

# A CA of the site's own, which signs what kinstall asks for.
test_ca() {
    part "the cluster's CA is one that the site's CA has signed"
    printf 'pki: {requested: true}\n' >>"$INVENTORY"
    refused 5 k check --bundle "$BUNDLE"
    contains "nothing taken in" "$OUTPUT" "certs request"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$WORK/root.key" -out "$WORK/root.pem" -days 3650 -subj "/CN=the site" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
    k certs request -o "$WORK/ca.csr"
    openssl x509 -req -in "$WORK/ca.csr" -CA "$WORK/root.pem" -CAkey "$WORK/root.key" -CAcreateserial -days 1800 \
        -copy_extensions copyall -out "$WORK/signed.pem" 2>/dev/null
    refused 2 k certs accept "$WORK/signed.pem"
    contains "no root" "$OUTPUT" "up to the root"
    cat "$WORK/signed.pem" "$WORK/root.pem" >"$WORK/chain.pem"
    k certs accept "$WORK/chain.pem" >/dev/null
    apply || fail "install: $(tail -n 40 "$WORK/out")"
    fetch_kubectl
    on cp1 -- cat /etc/kubernetes/pki/apiserver.crt >"$WORK/served.pem"
    openssl verify -CAfile "$WORK/root.pem" -untrusted "$WORK/signed.pem" "$WORK/served.pem" >/dev/null || fail "the API server's certificate is not the site's"
    expect "for clients" 1 "$(on cp1 -- grep -c BEGIN /etc/kubernetes/pki/ca.crt)"
    expect "for pods" 2 "$(kubectl get cm kube-root-ca.crt -o json | jq -r '.data["ca.crt"]' | grep -c BEGIN)"
    apply || fail "again: $(tail -n 40 "$WORK/out")"
    contains "second run" "$(cat "$WORK/out")" "nothing had to be changed"
    seen own-ca-requested running
}

# How many Secrets the key has encrypted; all of them: same.
counts() { k encryption status --json | jq -r '.secrets as $n | [.keys[] | .key + "=" + (if .secrets == $n then "all" else (.secrets | tostring) end)] | join(" ")'; }

rotate_killed_at() { # PATTERN OF THE JOURNAL
    local deadline=$((SECONDS + 300))
    (
        export HOME=$WORK/home XDG_CONFIG_HOME=$WORK/config XDG_CACHE_HOME=$CACHE
        exec "$SITE" exec -- "$PREFIX/libexec/kpack/$ARCH/kinstall" encryption rotate --key "$PUB" -i "$INVENTORY"
    ) </dev/null >"$WORK/killed" 2>&1 &
    local pid=$!
    until grep -q "$1" "$WORK/$CLUSTER.state/journal.jsonl"; do
        kill -0 "$pid" 2>/dev/null || fail "the rotation ended before \"$1\": $(cat "$WORK/killed")"
        ((SECONDS < deadline)) || fail "no \"$1\": $(cat "$WORK/killed")"
        sleep 0.05
    done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
}

test_rotate() {
    part "the key of the Secrets rotated, killed amid it; every Secret is written with the new one"
    kubectl create secret generic pass --from-literal=word=nightingale >/dev/null
    expect "before" "key1=all" "$(counts)"
    rotate_killed_at '"step":"encryption-write"'
    k encryption rotate >"$WORK/rotate" 2>&1 || fail "rotate: $(cat "$WORK/rotate")"
    contains "rotate" "$(cat "$WORK/rotate")" "going on with the rotation to key2" "encrypted with key2"
    expect "after" "key2=all" "$(counts)"
    ! on cp1 -- grep -q key1 /etc/kubernetes/kpack/encryption.yaml || fail "the old key is still there"
    expect "the Secret" nightingale "$(kubectl get secret pass -o json | jq -r .data.word | base64 -d)"
    expect "kept for old snapshots" 600 "$(stat -c %a "$WORK/$CLUSTER.state/encryption-retired.yaml")"
    apply || fail "again: $(tail -n 40 "$WORK/out")"
    contains "second run" "$(cat "$WORK/out")" "nothing had to be changed"
    seen encryption-rotate running
}

# A line each moment: which of the three API servers answers.
watch_api() {
    local node line
    while :; do
        line=''
        for node in 1 2 3; do
            [[ $("$SITE" exec -- curl -sk --max-time 2 "https://10.77.0.1$node:6443/readyz") == ok ]] && line+=" cp$node" || line+=" -"
        done
        echo "$line"
        sleep 0.2
    done
}

test_control() {
    part "three control planes with settings of their site"
    apply || fail "install: $(tail -n 40 "$WORK/out")"
    fetch_kubectl
    part "their settings change on one after the other: two of the three API servers answer all along"
    change 's/event-ttl: 2h0m0s/event-ttl: 3h0m0s/; s/v: "3"/v: "4"/; s/auto-compaction-retention: "8"/auto-compaction-retention: "9"/'
    watch_api >"$WORK/watch" &
    local watcher=$! node
    apply || fail "change: $(tail -n 40 "$WORK/out")"
    kill "$watcher"
    wait "$watcher" 2>/dev/null || true
    say "$(grep -c . "$WORK/watch") looks, $(grep -c -- - "$WORK/watch") with one away, $(grep -c -- '-.*-' "$WORK/watch" || true) with more"
    for node in cp1 cp2 cp3; do
        expect "$node: API server" 1 "$(arg_on "$node" kube-apiserver --event-ttl=3h0m0s)"
        expect "$node: scheduler" 1 "$(arg_on "$node" kube-scheduler --v=4)"
        expect "$node: etcd" 1 "$(arg_on "$node" etcd --auto-compaction-retention=9)"
    done
    # One look alone is a machine that was busy for two seconds.
    [[ -z $(awk '{ away = gsub(/-/, "-") > 1 } away && before { print } { before = away }' "$WORK/watch") ]] || fail "two API servers were away at once"
    apply || fail "again: $(tail -n 40 "$WORK/out")"
    contains "second run" "$(cat "$WORK/out")" "nothing had to be changed"
    seen changed-three running
}

e2e_begin custom
upstream_up
shared_bundle
if [[ ${1:-} == control ]]; then
    "$SITE" up --node cp1=10.77.0.11,role=control-plane --node cp2=10.77.0.12,role=control-plane --node cp3=10.77.0.13,role=control-plane --node w1=10.77.0.14
else
    "$SITE" up --node cp1=10.77.0.11 --node w1=10.77.0.12
fi
eval "$("$SITE" env)"
write_inventory
case ${1:-} in
    long)
        test_ca
        test_bad
        test_bad_kubelet
        ;;
    control) test_control ;;
    rotate)
        test_install
        test_rotate
        ;;
    *)
        test_refused
        test_install
        test_change
        test_leave
        ;;
esac
part end
