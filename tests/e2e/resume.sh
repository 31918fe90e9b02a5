#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# One install that is killed with -9 at each phase boundary, amid the bundle's transfer, amid kubeadm
# init, and loses a node to a reboot amid its join and the control plane to one between phases; each time the same command is run again. It ends
# in one healthy cluster. Needs root. Run: tests/e2e/resume.sh
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"
# shellcheck source=tests/lib/runs.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/runs.sh"

CLUSTER=resume

kill_at_phase() {
    part "killed at the boundary of phase $1"
    start_run
    wait_noted event=phase "step=$1"
    kill_run
}

cluster_uid() {
    "$SITE" run cp1 -- kubectl --kubeconfig /etc/kubernetes/admin.conf get namespace kube-system -o 'jsonpath={.metadata.uid}'
}

ca_hash() { "$SITE" run cp1 -- sha256sum /etc/kubernetes/pki/ca.crt | cut -d' ' -f1; }

kill_mid_transfer() {
    part "killed amid the transfer of the bundle; the next run goes on where it was"
    local folder total size
    folder=$(jq -r .nodes[0].name <("$SITE" info --json))
    folder=${KPACK_LAB_ROOT:-/var/lib/kpack-lab/sites}/$KPACK_LAB_SITE/roots/$folder/var/lib/kpack/bundles
    total=$(stat -c %s "$BUNDLE")
    start_run
    until size=$(cat "$folder"/*.partial 2>/dev/null | wc -c) && ((size > total / 10)); do
        running || fail "the run ended before a transfer was seen: $(tail -n 30 "$RUN_OUT")"
        sleep 0.01
    done
    kill_run
    sleep 1
    ls "$folder"/*.tar.zst >/dev/null 2>&1 && fail "the transfer was over before the run was killed"
    size=$(cat "$folder"/*.partial | wc -c)
    say "$size of $total bytes were there"
    ((size < total)) || fail "nothing was left to send"
}

two_at_once() {
    part "a second run beside the first is refused"
    start_run
    wait_noted event=phase step=mirror
    refused 1 kinstall --bundle "$BUNDLE" -i "$WORK/hosts.yaml"
    contains "second run" "$OUTPUT" "another run works on this cluster" "pid $KINSTALL on $(hostname)"
    running || fail "the first run ended too early"
    kill_run
}

kill_mid_init() {
    part "killed amid kubeadm init; it goes on by itself and is not started a second time"
    start_run
    wait_noted event=begin step=kubeadm-init
    soon 30 unit_is_active cp1 kpack-init.service || fail "no unit kpack-init: $(tail "$RUN_OUT")"
    sleep 1
    kill_run
    start_run
    wait_noted event=phase step=join
    kill_run
    expect "starts of kubeadm init" 1 "$(unit_starts cp1 kpack-init.service)"
    UID_BEFORE=$(cluster_uid) CA_BEFORE=$(ca_hash)
    "$SITE" run cp1 -- kubectl --kubeconfig /etc/kubernetes/admin.conf create configmap written-early \
        --from-literal=by=resume.sh >/dev/null
}

reboot_mid_join() {
    part "w1 reboots amid its join"
    start_run
    wait_noted event=begin step=kubeadm-join node=w1
    sleep 0.5
    "$SITE" reboot w1
    "$SITE" wait w1
    finish_run
    say "that run ended with $CODE"
    run_until_well
}

# The API server, etcd and the journal's first node go away at once: the run may end with an error, the
# same command goes on.
reboot_control_plane() { # PHASE
    part "cp1 reboots at the boundary of phase $1"
    start_run
    wait_noted event=phase "step=$1"
    "$SITE" reboot cp1
    "$SITE" wait cp1
    finish_run
    say "that run ended with $CODE"
    run_until_well
}

reboot_after() {
    part "cp1 reboots when all is done: the same command finds it healthy"
    "$SITE" reboot cp1
    "$SITE" wait cp1
    start_run
    finish_run
    run_until_well
}

test_end() {
    part "one more run changes nothing"
    start_run
    finish_run
    expect "exit code" 0 "$CODE"
    contains "last run" "$(cat "$RUN_OUT")" "nothing had to be changed"
    part "the same cluster, healthy, with all its data"
    fetch_kubectl
    expect "nodes" "cp1=True w1=True w2=True" "$(ready_nodes)"
    soon 180 no_unready_pods || fail "not ready: $(unready_pods)"
    expect "uid of kube-system" "$UID_BEFORE" "$(cluster_uid)"
    expect "the cluster's CA" "$CA_BEFORE" "$(ca_hash)"
    expect "the early config map" resume.sh "$(kubectl get configmap written-early -o 'jsonpath={.data.by}')"
    expect "starts of kubeadm init since cp1 was rebooted" 0 "$(unit_starts cp1 kpack-init.service)"
    expect "starts of kubeadm join on w2" 1 "$(unit_starts w2 kpack-join.service)"
    expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
    say "$RUNS runs in all"
}

e2e_begin resume
part "the bundle, three nodes"
shared_bundle
"$SITE" up --node cp1=10.77.0.11 --node w1=10.77.0.12 --node w2=10.77.0.13
"$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/hosts.yaml"
kinstall trust add "$PUB"
kill_at_phase mirror
kill_mid_transfer
two_at_once
for phase in prepare runtime tools init; do kill_at_phase "$phase"; done
kill_mid_init
kill_at_phase join
reboot_mid_join
reboot_control_plane network
for phase in addons secure custom prove; do kill_at_phase "$phase"; done
reboot_after
test_end
part end
