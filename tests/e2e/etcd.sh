#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# etcd, external and stacked: a cluster on an etcd of its own node, its status, a snapshot, the loss of
# every member's data and the way back; the same with etcd on the control plane; a worker added
# and removed. Needs root. Run: tests/e2e/etcd.sh [external|stacked]
# shellcheck disable=SC2016 # single quotes: for the shells of the nodes
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

CLUSTER=keep
KEYS=60

inventory() { printf '%s' "$WORK/hosts.yaml"; }
k() { kinstall "$@" -i "$(inventory)"; }
apply() { kinstall --bundle "$BUNDLE" -i "$(inventory)"; }

# Runs kinstall and shows what it said where it fails.
good() {
    "$@" >"$WORK/out" 2>&1 || fail "${*:0:6}: $(tail -n 40 "$WORK/out")"
}

# Roles and options of the lab's inventory: write_inventory NODE=ROLES… ; stdin: lines for the top.
write_inventory() {
    local pair
    "$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/lab.yaml"
    cat >"$WORK/top.yaml"
    {
        sed '/^nodes:/,$d' "$WORK/lab.yaml"
        cat "$WORK/top.yaml"
        echo 'nodes:'
        for pair in "$@"; do
            grep "name: ${pair%%=*}," "$WORK/lab.yaml" | sed "s/roles: \[[^]]*\]/roles: [${pair#*=}]/"
        done
    } >"$(inventory)"
}

ready_as() { [[ $(ready_nodes 2>/dev/null) == "$1" ]] && no_unready_pods 2>/dev/null; }

tunables() { echo 'etcd: {quota_bytes: 1GiB, heartbeat_ms: 200, election_ms: 2000, backup: {schedule: hourly, keep: 2}}'; }

members() { k etcd status --json 2>/dev/null | jq -r '[.members[] | "\(.node)=\(.state)"] | sort | join(" ")'; }
members_are() { [[ $(members) == "$1" ]]; }

test_external() {
    part "a control plane that carries etcd, two nodes with etcd alone, one for later"
    "$SITE" up --node cp1=10.77.0.11 --node e1=10.77.0.21 --node e2=10.77.0.22 --node w1=10.77.0.12
    kinstall trust add "$PUB"
    tunables | write_inventory cp1="control-plane, worker, etcd" e1=etcd e2=etcd
    part "install on external etcd"
    good apply
    tail -n 2 "$WORK/out" | sed 's/^/     /'
    fetch_kubectl
    expect "nodes" "cp1=True" "$(ready_nodes)"
    expect "members" "cp1=healthy e1=healthy e2=healthy" "$(members)"
    contains "the API server's endpoints" "$("$SITE" run cp1 -- cat /etc/kubernetes/manifests/kube-apiserver.yaml)" \
        "--etcd-servers=https://10.77.0.11:2379,https://10.77.0.21:2379,https://10.77.0.22:2379"
    ! "$SITE" run cp1 -- test -e /etc/kubernetes/manifests/etcd.yaml || fail "kubeadm made its own etcd too"
    expect "keys that others may read" "" \
        "$("$SITE" run e1 -- find /etc/kpack/etcd -name '*.key' -not -perm 600)$(find "$WORK/$CLUSTER.state" -name '*.key' -not -perm 600)"
    contains "settings" "$("$SITE" run e1 -- cat /etc/kpack/etcd/etcd.env)" HEARTBEAT_INTERVAL=200 QUOTA_BACKEND_BYTES=1073741824
    refused 1 "$SITE" run e1 -- env ETCDCTL_API=3 etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kpack/etcd/ca.pem --command-timeout=3s get /
    part "again: nothing changes"
    good apply
    contains "second run" "$(cat "$WORK/out")" "nothing had to be changed"
    seen etcd-external running
}

test_scheduled() {
    part "the timer's service: a verified snapshot, the oldest goes"
    local i
    for i in 1 2 3; do
        "$SITE" run e1 -- systemctl start kpack-etcd-backup.service || fail "$("$SITE" run e1 -- journalctl -u kpack-etcd-backup -n 20)"
        sleep 1.1
    done
    expect "snapshots that stay" 2 "$("$SITE" run e1 -- sh -c 'ls /var/lib/kpack-etcd-backup/*.db | wc -l')"
    "$SITE" run e1 -- sh -c 'cd /var/lib/kpack-etcd-backup && for f in *.db; do etcdutl snapshot status "$f" >/dev/null && [ "$(cat "$f.sha256")" = "$(sha256sum <"$f" | cut -d" " -f1)" ] || exit 1; done' ||
        fail "a snapshot is not what it says"
    "$SITE" run e1 -- systemctl is-enabled --quiet kpack-etcd-backup.timer || fail "the timer is not enabled"
    seen etcd-timer running
}

test_backup() {
    part "backup: 0600, with the cluster's identity"
    write_keys 1 "$KEYS"
    good k etcd backup -o "$WORK/one.db"
    expect "modes" "600 600" "$(stat -c %a "$WORK/one.db" "$WORK/one.db.json" | xargs)"
    expect "digest" "$(sha256_of "$WORK/one.db")" "$(jq -r .sha256 "$WORK/one.db.json")"
    expect "cluster" "$CLUSTER" "$(jq -r .cluster "$WORK/one.db.json")"
    write_keys $((KEYS + 1)) $((KEYS + 5)) # after the snapshot: must be gone by the restore
    part "what is damaged, of another cluster, or not confirmed is refused, and nothing stops"
    cp "$WORK/one.db" "$WORK/bad.db" && cp "$WORK/one.db.json" "$WORK/bad.db.json"
    printf 'X' | dd of="$WORK/bad.db" bs=1 seek=5000 conv=notrunc status=none
    refused 4 k etcd restore "$WORK/bad.db" --yes
    cp "$WORK/one.db" "$WORK/other.db"
    jq '.ca = ("0" * 64) | .cluster = "elsewhere"' "$WORK/one.db.json" >"$WORK/other.db.json"
    refused 3 k etcd restore "$WORK/other.db" --yes
    contains "another cluster" "$OUTPUT" elsewhere --other-cluster
    rm "$WORK/other.db.json"
    refused 3 k etcd restore "$WORK/other.db" --yes
    refused 2 k etcd restore "$WORK/one.db"
    contains "not confirmed" "$OUTPUT" --yes
    expect "keys after all that" "$(wanted_keys $((KEYS + 5)))" "$(read_keys)"
    seen etcd-backup running
}

# As the process that runs has it.
api_servers_etcd() { "$SITE" run cp1 -- sh -c 'tr "\\0" "\\n" </proc/$(pidof kube-apiserver)/cmdline | sed -n s/^--etcd-servers=//p'; }

destroy() { # NODE…: every member's data
    local node
    for node in "$@"; do
        "$SITE" run "$node" -- sh -c 'systemctl stop etcd 2>/dev/null; rm -rf /var/lib/kpack-etcd/* /var/lib/etcd/*; pid=$(pidof etcd) && kill -KILL $pid || true'
    done
}

# Kills a restore once it says $1, and runs it again.
restore_killed_at() {
    local deadline=$((SECONDS + 300))
    (
        export HOME=$WORK/home XDG_CONFIG_HOME=$WORK/config XDG_CACHE_HOME=$CACHE
        exec "$SITE" exec -- "$PREFIX/libexec/kpack/$ARCH/kinstall" etcd restore "$WORK/one.db" -i "$(inventory)" --yes
    ) </dev/null >"$WORK/killed" 2>&1 &
    local pid=$!
    until grep -q "$1" "$WORK/killed"; do
        kill -0 "$pid" 2>/dev/null || fail "the restore ended before \"$1\": $(cat "$WORK/killed")"
        ((SECONDS < deadline)) || fail "no \"$1\": $(cat "$WORK/killed")"
        sleep 0.05
    done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
    good k etcd restore "$WORK/one.db" --yes
    contains "second run" "$(cat "$WORK/out")" "going on with the restore"
}

# ALIVE: "cp1=True …"; NODES that carry etcd
test_restore() {
    local ready=$1 data=$2
    shift 2
    part "every member's data destroyed; the restore is killed midway and run again: keys are there, nodes Ready"
    destroy "$@"
    [[ $data == */etcd ]] || refused 1 k etcd status # a stacked one is started again by its kubelet, empty
    restore_killed_at "data restored"
    tail -n 3 "$WORK/out" | sed 's/^/     /'
    soon 120 ready_as "$ready" || fail "not ready: $(ready_nodes) $(unready_pods)"
    expect "keys" "$(wanted_keys "$KEYS")" "$(read_keys)"
    "$SITE" run "$1" -- sh -c "ls -d $data.before-*" >/dev/null || fail "the old data were not kept"
    ! test -e "$WORK/$CLUSTER.state/etcd-restore.json" || fail "the restore still counts as begun"
    part "the cluster works: it takes new keys, and pods start"
    write_keys $((KEYS + 1)) $((KEYS + 2))
    expect "keys" "$(wanted_keys $((KEYS + 2)))" "$(read_keys)"
    kubectl rollout restart -n kube-system deployment/coredns >/dev/null
    kubectl rollout status -n kube-system deployment/coredns --timeout=120s >/dev/null || fail "CoreDNS does not come back"
    seen etcd-restore running
}

test_defrag() {
    part "defragmentation, the leader last"
    good k etcd defrag
    expect "members" 3 "$(grep -c -- '->' "$WORK/out")"
    contains "order" "$(grep -- '->' "$WORK/out" | tail -n 1)" leader
}

test_workers() {
    part "a worker named by the inventory joins the running cluster"
    tunables | write_inventory cp1="control-plane, worker, etcd" e1=etcd e2=etcd w1=worker
    good apply
    expect "nodes" "cp1=True w1=True" "$(ready_nodes)"
    part "remove: a budget that cannot be met stops it, and says so"
    kubectl create deployment held --image=registry.k8s.io/pause:3.9 >/dev/null
    kubectl patch deployment held -p '{"spec":{"template":{"spec":{"nodeSelector":{"kubernetes.io/hostname":"w1"}}}}}' >/dev/null
    kubectl rollout status deployment/held --timeout=90s >/dev/null || fail "no pod on w1"
    kubectl create poddisruptionbudget held --selector=app=held --min-available=1 >/dev/null
    refused 1 k remove w1 --yes --drain-timeout 8
    contains "budget" "$OUTPUT" budget w1
    part "without it: w1 is out, and clean"
    kubectl delete poddisruptionbudget held >/dev/null
    kubectl delete deployment held >/dev/null
    good k remove w1 --yes
    expect "nodes" "cp1=True" "$(ready_nodes)"
    ! "$SITE" run w1 -- sh -c 'command -v kubelet || test -e /var/lib/kpack || test -e /etc/kubernetes' || fail "w1 is not clean"
    seen add-remove running
}

test_dead_member() {
    part "a member whose node is dead: not by itself, not beyond the quorum, by name"
    tunables | write_inventory cp1="control-plane, worker, etcd" e1=etcd e2=etcd
    "$SITE" poweroff e2
    refused 1 k remove e2 --yes
    contains "dead" "$OUTPUT" --force-dead
    refused 1 k remove e1 --yes
    contains "quorum" "$OUTPUT" quorum
    refused 2 k remove cp1 --yes
    contains "last" "$OUTPUT" "only control plane"
    good k remove e2 --yes --force-dead
    tunables | write_inventory cp1="control-plane, worker, etcd" e1=etcd
    expect "members" "cp1=healthy e1=healthy" "$(members)"
    good apply
    expect "the API server's endpoints" "https://10.77.0.11:2379,https://10.77.0.21:2379" "$(api_servers_etcd)"
    part "it comes back, not knowing that it was removed: joins anew, as a learner first"
    "$SITE" poweron e2
    "$SITE" wait e2
    tunables | write_inventory cp1="control-plane, worker, etcd" e1=etcd e2=etcd
    good apply
    expect "members" "cp1=healthy e1=healthy e2=healthy" "$(members)"
    expect "the API server's endpoints" "https://10.77.0.11:2379,https://10.77.0.21:2379,https://10.77.0.22:2379" "$(api_servers_etcd)"
    expect "keys" "$(wanted_keys $((KEYS + 2)))" "$(read_keys)"
    seen dead-member running
}

test_stacked() {
    part "stacked on one control plane"
    "$SITE" up --node cp1=10.77.0.11
    grep -q e2e <<<"$(kinstall trust list)" || kinstall trust add "$PUB"
    tunables | write_inventory cp1="control-plane, worker"
    good apply
    fetch_kubectl
    expect "members" "cp1=healthy" "$(members)"
    contains "settings" "$("$SITE" run cp1 -- cat /etc/kubernetes/manifests/etcd.yaml)" "--heartbeat-interval=200" "--quota-backend-bytes=1073741824"
    write_keys 1 "$KEYS"
    good k etcd backup -o "$WORK/one.db"
    test_restore "cp1=True" /var/lib/etcd cp1
}

e2e_begin etcd
part "a bundle"
shared_bundle
if [[ ${1:-external} == external ]]; then
    test_external
    test_scheduled
    test_backup
    test_restore "cp1=True" /var/lib/kpack-etcd cp1 e1 e2
    test_defrag
    test_workers
    test_dead_member
    "$SITE" down
fi
if [[ ${1:-stacked} == stacked ]]; then
    rm -rf "$WORK/$CLUSTER.state"
    test_stacked
fi
part end
