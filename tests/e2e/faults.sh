#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What goes wrong amid an install and on the second day, each at a chosen moment. Behind each the same command
# ends in the same healthy cluster, etcd has exactly its members, and all that was written before is there.
#
#   kinstall killed -9   at each phase of an install, amid the bundle's transfer and kubeadm init   resume.sh
#                        amid kubeadm join of a worker, of a control plane                           faults.sh install, control
#                        amid an upgrade; a restore; a renewal; a rotation of keys                   upgrade.sh, etcd.sh, certs.sh, custom.sh rotate
#   a node rebooted      a worker amid its join, the control plane between phases, and afterwards    resume.sh
#   without power        a worker and the control plane amid a run; each control plane of three      faults.sh install, ha.sh
#   its link cut         for a minute, amid its join                                                 faults.sh install
#   its disk full        while images arrive                                                         faults.sh install
#   first control plane  without power while others join; lost for good                              faults.sh control, lost
#   a mirror's process   killed while pods pull and start                                            faults.sh install
#   two runs at once     from this host; from another one with a copy of the state folder            resume.sh, faults.sh install
#   the admin host       replaced by another one with the state folder's copy                        faults.sh install
#   SSH cut              at each phase of an install, amid kubeadm, in the middle of each command    faults.sh commands
#                        amid an upgrade, a rollback; another runtime; remove-addon and its --undo   upgrade.sh, runtimes.sh, addons.sh
#                        amid a renewal of several control planes' certificates                      certs.sh
#
# Needs root. Run: tests/e2e/faults.sh [install|commands|control|lost]
# shellcheck disable=SC2016 # single quotes: for the shells of the nodes
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"
# shellcheck source=tests/lib/runs.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/runs.sh"

CLUSTER=faults
NODES=(cp1 w1 w2)
WRITTEN=0

k() { kinstall "$@" -i "$(state_in)/hosts.yaml"; }

good() {
    "$@" >"$WORK/out" 2>&1 || fail "${*:0:6}: $(tail -n 40 "$WORK/out")"
}

# kubectl by the state folder that is in use now.
kubectl() { "$SITE" exec -- "$KUBECTL_PROGRAM" --kubeconfig "$(state_in)/$CLUSTER.state/kubeconfig" --request-timeout=10s "$@"; }

etcd_members() {
    "$SITE" run cp1 -- /usr/local/bin/etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt \
        --cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt --key=/etc/kubernetes/pki/etcd/healthcheck-client.key member list |
        awk -F', ' '{ print ($3 == "" ? "(" $2 ")" : $3) ($6 == "true" ? "(learner)" : "") }' | sort | paste -sd ' '
}

# The same on cp1, before any run has fetched a kubeconfig.
kubectl_early() { "$SITE" run cp1 -- kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s "$@"; }

# It may have been written where the answer was lost.
written() { # KUBECTL NUMBER
    "$1" create configmap "written-$2" --from-literal="n=$2" >/dev/null 2>&1 || "$1" get configmap "written-$2" >/dev/null 2>&1
}

# One more object, that every later check wants to see again.
write_down() { # [KUBECTL]
    soon 60 written "${1:-kubectl}" "$((WRITTEN + 1))" || fail "the API server takes nothing: $("${1:-kubectl}" get nodes 2>&1)"
    WRITTEN=$((WRITTEN + 1))
}

ready_as() { [[ $(ready_nodes 2>/dev/null) == "$1" ]] && no_unready_pods 2>/dev/null; }

# Healthy, with exactly these members of etcd and all that was written: CONTROL-PLANES…
expect_well() {
    local want='' node
    for node in "${NODES[@]}"; do want+="${want:+ }$node=True"; done
    soon 180 ready_as "$want" || fail "not well: $(ready_nodes) $(unready_pods)"
    expect "members of etcd" "$*" "$(etcd_members)"
    expect "what was written" "$(seq -s' ' "$WRITTEN")" \
        "$(kubectl get configmap -n default -o json | jq -r '[.items[] | select(.metadata.name | startswith("written-")) | .data.n | tonumber] | sort | join(" ")')"
}

nothing_to_change() {
    good kinstall --bundle "$BUNDLE" -i "$(state_in)/hosts.yaml"
    contains "one more run" "$(cat "$WORK/out")" "nothing had to be changed"
}

# --- an install ---------------------------------------------------------------------------------------

# A file system of its own for the node's images, which fills up once kinstall has looked at it.
test_disk_full() {
    part "the disk of w2 fills up while its images arrive: said so; behind it the same command goes on there"
    "$SITE" run w2 -- sh -c 'mkdir -p /var/lib/containerd && mount -t tmpfs -o size=2g,mode=711 tmpfs /var/lib/containerd'
    start_run
    wait_noted event=phase step=runtime
    # What arrives meanwhile takes of the same room.
    "$SITE" run w2 -- sh -c 'cd /var/lib/containerd; for i in 1 2 3 4 5 6 7 8 9; do
        fallocate -l $(($(df --output=avail -B1 . | tail -n 1) - 10000000)) filler && exit; done; exit 1'
    finish_run
    expect "exit code: $(tail -n 20 "$RUN_OUT")" 1 "$CODE"
    contains "the run" "$(cat "$RUN_OUT")" "w2: " "images did not arrive" "no space left"
    say "$(grep -a -i 'no space left' "$RUN_OUT" | sed -n 1p | cut -c1-100)…"
    "$SITE" run w2 -- rm /var/lib/containerd/filler
    write_down kubectl_early
    fetch_kubectl
    run_until_well
    expect_well cp1
    seen disk-full running
}

# Another admin host has a copy of the folder and the public key, and nothing else.
test_admin_host() {
    local joins
    part "a second run, from a copy on another admin host, is refused and says who; killed amid kubeadm join of w2"
    good k remove w2 --yes
    start_run
    wait_noted event=begin step=kubeadm-join node=w2
    soon 30 unit_is_active w2 kpack-join.service || fail "no unit kpack-join: $(tail "$RUN_OUT")"
    mkdir -p "$WORK/other" "$WORK/other.home" "$WORK/other.config"
    cp -a "$WORK/hosts.yaml" "$WORK/$CLUSTER.state" "$WORK/other/"
    refused 1 other_kinstall --key "$PUB" --bundle "$BUNDLE" -i "$WORK/other/hosts.yaml"
    contains "second run" "$OUTPUT" "another run works on this node: kinstall by $(id -un)@$(hostname)"
    seen two-runs running
    kill_run
    joins=$(unit_starts w2 kpack-join.service)
    part "the admin host is gone: the other one takes it up where it was"
    rm -rf "$WORK/other" && mkdir "$WORK/other"
    cp -a "$WORK/hosts.yaml" "$WORK/$CLUSTER.state" "$WORK/other/" && rm -r "$WORK/$CLUSTER.state" "$WORK/hosts.yaml"
    mv "$WORK/home" "$WORK/home.gone" && mv "$WORK/config" "$WORK/config.gone"
    mkdir "$WORK/home" "$WORK/config"
    STATE_IN=$WORK/other
    kinstall trust add "$PUB" >/dev/null
    start_run
    finish_run
    say "that run ended with $CODE"
    run_until_well
    expect "starts of kubeadm join on w2" "$joins" "$(unit_starts w2 kpack-join.service)"
    expect_well cp1
    seen killed-amid running
    nothing_to_change
    seen admin-host running
    good k status
    good kinstall audit -i "$(state_in)/hosts.yaml"
}

other_kinstall() {
    HOME=$WORK/other.home XDG_CONFIG_HOME=$WORK/other.config XDG_CACHE_HOME=$CACHE \
        "$SITE" exec -- "$PREFIX/libexec/kpack/$ARCH/kinstall" "$@"
}

test_link() {
    part "w1 is removed; its link is cut for a minute amid its next join"
    good k remove w1 --yes
    start_run
    wait_noted event=begin step=kubeadm-join node=w1
    "$SITE" link w1 down
    sleep 60
    "$SITE" link w1 up
    finish_run
    say "that run ended with $CODE"
    run_until_well
    expect_well cp1
    seen link-cut running
    write_down
}

test_power() {
    part "w1 without power amid a run, then the control plane"
    start_run
    wait_noted event=phase step=network
    "$SITE" poweroff w1
    finish_run
    [[ $CODE != 0 ]] || fail "a run ended well without w1: $(tail -n 20 "$RUN_OUT")"
    contains "the run without w1" "$(cat "$RUN_OUT")" w1
    "$SITE" poweron w1
    "$SITE" wait w1
    run_until_well
    expect_well cp1
    start_run
    wait_noted event=phase step=addons
    "$SITE" poweroff cp1
    sleep 5
    "$SITE" poweron cp1
    "$SITE" wait cp1
    finish_run
    say "that run ended with $CODE"
    run_until_well
    expect_well cp1
    seen no-power running
}

# One that is there: "kill 0" would end this test.
kill_mirror() {
    "$SITE" run cp1 -- sh -c 'p=$(systemctl show -p MainPID --value kregistry); [ "$p" -gt 1 ] && kill -KILL "$p"'
}

# Pulled anew: the name is taken from the workers first.
test_mirror() {
    part "the mirror's process is killed again and again while pods pull and start"
    local image node i started
    image=$(kpack list --key "$PUB" --json "$BUNDLE" | jq -r '[.. | .reference? // empty | select(contains("coredns"))][0]')
    for node in w1 w2; do "$SITE" run "$node" -- ctr -n k8s.io images rm --sync "$image" >/dev/null; done
    kubectl create deployment many --replicas=6 --image="$image" >/dev/null 2>&1
    kubectl patch deployment many -p '{"spec":{"template":{"spec":{"containers":[{"name":"coredns","imagePullPolicy":"Always"}]}}}}' >/dev/null 2>&1
    for ((i = 0; i < 8; i++)); do
        soon 30 kill_mirror || fail "the mirror does not come back"
        sleep 0.7
    done
    kubectl rollout status deployment/many --timeout=180s >/dev/null || fail "pods do not start: $(kubectl get pods -o wide)"
    started=$("$SITE" run cp1 -- systemctl show -p NRestarts --value kregistry)
    ((started >= 8)) || fail "the mirror was started $started times more"
    "$SITE" run cp1 -- systemctl is-active --quiet kregistry || fail "the mirror is not back"
    kubectl delete deployment many >/dev/null
    expect_well cp1
    seen mirror-killed running
}

# --- every command, with its connections cut ------------------------------------------------------------

test_apply_cut() {
    part "an install whose every SSH connection is cut at each phase, and amid kubeadm init and join"
    local phase
    start_run
    for phase in mirror prepare runtime tools init; do cut_at event=phase "step=$phase"; done
    cut_at event=begin step=kubeadm-init
    finish_run
    say "that run ended with $CODE"
    start_run
    for phase in join network addons secure custom prove; do cut_at event=phase "step=$phase"; done
    finish_run
    say "the next run ended with $CODE"
    run_until_well
    fetch_kubectl
    expect "starts of kubeadm init" 1 "$(unit_starts cp1 kpack-init.service)"
    write_down
    expect_well cp1
    nothing_to_change
}

test_commands_cut() {
    local inventory
    inventory=$(state_in)/hosts.yaml
    part "every SSH connection is cut in the middle of each command; the same command again ends well"
    cut_amid 0.3 check --bundle "$BUNDLE" -i "$inventory"
    cut_amid 0.5 plan --bundle "$BUNDLE" -i "$inventory"
    cut_amid 0.2 status -i "$inventory"
    cut_amid 1 status --cis -i "$inventory"
    cut_amid 0.2 etcd status -i "$inventory"
    cut_amid 0 etcd backup -o "$WORK/one.db" -i "$inventory"
    [[ $CUT_SAID != *"no control plane has"* ]] || fail "a lost connection is taken for a file that is not there: $CUT_SAID"
    cut_amid 1 etcd backup -o "$WORK/one.db" -i "$inventory"
    cut_amid 0.5 etcd defrag -i "$inventory"
    cut_amid 0.2 certs check -i "$inventory"
    cut_amid 1 support -o "$WORK/support.tar.zst" -i "$inventory"
    cut_amid 0.3 receipt -o "$WORK/receipt.json" -i "$inventory"
    cut_amid 0.5 audit --nodes --bundle "$BUNDLE" -i "$inventory"
    cut_amid 0.7 kubeconfig --role operator --user ann --hours 1 -o "$WORK/ann.conf" -i "$inventory"
    cut_amid 0.3 encryption status -i "$inventory"
    cut_amid 0.3 remove-addon -i "$inventory"
    expect_well cp1
    part "cut amid audit acknowledge of a log that has lost what the nodes were told of"
    sed -i '4,$d' "$(state_in)/$CLUSTER.state/audit.jsonl"
    rm "$(state_in)/$CLUSTER.state/audit.head"
    refused 1 k audit --nodes --bundle "$BUNDLE"
    cut_amid 0.7 audit acknowledge --reason "a test" --yes -i "$inventory"
    good k audit --nodes --bundle "$BUNDLE"
    part "cut amid encryption rotate"
    cut_amid "event=begin step=encryption-write node=cp1" encryption rotate -i "$inventory"
    expect_well cp1
    write_down
    part "cut amid certs renew"
    cut_amid "event=begin step=certs-restart node=cp1" certs renew -i "$inventory"
    expect_well cp1
    write_down
    part "cut amid etcd restore"
    good k etcd backup -o "$WORK/two.db"
    cut_amid 7 etcd restore "$WORK/two.db" --yes -i "$inventory"
    expect_well cp1
    part "cut amid remove, and amid adding it again"
    cut_amid "event=remove node=w2" remove w2 --yes -i "$inventory"
    expect "nodes" "cp1 w1" "$(kubectl get nodes -o json | jq -r '[.items[].metadata.name] | sort | join(" ")')"
    start_run
    wait_noted event=begin step=kubeadm-join node=w2
    sleep 1
    cut_ssh "${NODES[@]}"
    finish_run
    say "apply: cut amid w2's join, ended with $CODE"
    run_until_well
    expect_well cp1
    nothing_to_change
    part "cut amid reset: the same command again leaves nothing"
    cut_amid "event=reset" reset --yes -i "$inventory"
    ! "$SITE" run cp1 -- sh -c 'ls -d /etc/kubernetes /var/lib/kpack /var/lib/etcd 2>/dev/null' || fail "cp1 is not clean"
    good k reset --yes
    expect "a reset more" "cp1 w1 w2" "$(grep "nothing of kinstall's is there" "$WORK/out" | awk '{ print $1 }' | paste -sd' ')"
    seen ssh-cut running
}

# --- several control planes -----------------------------------------------------------------------------

test_control() {
    part "kinstall killed amid kubeadm join of the second control plane; the same command takes it up"
    start_run
    wait_noted event=begin step=kubeadm-join node=cp2
    soon 60 unit_is_active cp2 kpack-join.service || fail "no unit kpack-join: $(tail "$RUN_OUT")"
    sleep 1
    kill_run
    write_down kubectl_early
    part "the first control plane loses its power while the third joins"
    start_run
    wait_noted event=begin step=kubeadm-join node=cp3
    expect "starts of kubeadm join on cp2" 1 "$(unit_starts cp2 kpack-join.service)"
    soon 60 unit_is_active cp3 kpack-join.service || fail "no unit kpack-join: $(tail "$RUN_OUT")"
    sleep 1
    write_down kubectl_early
    "$SITE" poweroff cp1
    finish_run
    [[ $CODE != 0 ]] || fail "a run ended well without cp1: $(tail -n 20 "$RUN_OUT")"
    say "$(grep -a '✗' "$RUN_OUT" | sed -n 1p | cut -c1-160)"
    "$SITE" poweron cp1
    "$SITE" wait cp1
    run_until_well
    fetch_kubectl
    write_down
    expect_well cp1 cp2 cp3
    seen first-lost running
    nothing_to_change
}

test_lost() {
    part "install"
    good kinstall --bundle "$BUNDLE" -i "$(state_in)/hosts.yaml"
    fetch_kubectl
    write_down
    part "the first control plane is lost for good while a worker joins: removed by name, a new one takes its place"
    good k remove w1 --yes
    start_run
    wait_noted event=begin step=kubeadm-join node=w1
    write_down
    "$SITE" poweroff cp1
    finish_run
    say "that run ended with $CODE"
    good k remove cp1 --yes --force-dead
    "$SITE" poweron cp1
    "$SITE" wait cp1
    # Its disk has what it had: a machine that comes back without knowing that it was removed.
    good k reset --node cp1 --yes
    good kinstall --bundle "$BUNDLE" -i "$(state_in)/hosts.yaml"
    expect_well cp1 cp2 cp3
    seen lost-for-good running
    nothing_to_change
}

up() { # NODE=ADDRESS…
    local pair nodes=()
    for pair; do nodes+=(--node "$pair"); done
    "$SITE" up "${nodes[@]}"
    "$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/hosts.yaml"
    grep -q e2e <<<"$(kinstall trust list 2>/dev/null)" || kinstall trust add "$PUB" >/dev/null
}

e2e_begin faults
part "a bundle"
shared_bundle
part "nodes"
case ${1:-install} in
    install)
        up cp1=10.77.0.11 w1=10.77.0.12 w2=10.77.0.13
        # A kubelet takes five minutes to believe that there is room again.
        sed -i 's/^kubernetes: {/kubernetes: {kubelet: {evictionPressureTransitionPeriod: 5s}, /' "$WORK/hosts.yaml"
        test_disk_full
        test_admin_host
        test_link
        test_power
        test_mirror
        expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
        ;;
    commands)
        up cp1=10.77.0.11 w1=10.77.0.12 w2=10.77.0.13
        test_apply_cut
        test_commands_cut
        ;;
    control | lost)
        NODES=(cp1 cp2 cp3 w1)
        up cp1=10.77.0.11,role=control-plane cp2=10.77.0.12,role=control-plane cp3=10.77.0.13,role=control-plane w1=10.77.0.14,role=worker
        "test_$1"
        expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
        ;;
    *) fail "install, commands, control or lost" ;;
esac
part end
