#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A machine that dies for good: the first control plane is taken out and replaced by one of the same name
# with an empty disk. With "other": by one of another name and address, then a mirror loses its power while a newer
# bundle comes, and catches up by itself. Needs root. Run: tests/e2e/replace.sh [other]
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"
# shellcheck source=tests/lib/runs.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/runs.sh"

CLUSTER=replace
NODES=(cp1 cp2 cp3 w1)
[[ ${1:-} != other ]] || NODES+=(cp4)
declare -A ADDRESS=([cp1]=10.77.0.11 [cp2]=10.77.0.12 [cp3]=10.77.0.13 [w1]=10.77.0.14 [cp4]=10.77.0.15)

k() { kinstall "$@" -i "$WORK/hosts.yaml"; }
apply() { kinstall --bundle "$BUNDLE" -i "$WORK/hosts.yaml"; }

# Runs kinstall and shows what it said where it fails.
good() {
    "$@" >"$WORK/out" 2>&1 || fail "${*:0:6}: $(tail -n 40 "$WORK/out")"
}

# By the first control plane that answers, as an admin would.
kubectl() { kinstall kubectl -i "$WORK/hosts.yaml" -- "$@" 2>/dev/null; }

# The inventory of these nodes, in this order, with the host keys that they have now.
write_inventory() { # NODE…
    local name
    "$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/lab.yaml"
    {
        sed '/^nodes:/,$d' "$WORK/lab.yaml"
        echo 'nodes:'
        for name; do grep "name: $name," "$WORK/lab.yaml"; done
    } >"$WORK/hosts.yaml"
}

members() { # NODE: as it sees them
    "$SITE" run "$1" -- /usr/local/bin/etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt \
        --cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt --key=/etc/kubernetes/pki/etcd/healthcheck-client.key member list 2>/dev/null
}

# Exactly these, each with its name, none a learner.
expect_members() { # NODE… ; the last one is asked
    local list names=$*
    list=$(members "${!#}")
    expect "members of etcd" "${names// /$'\n'}" "$(awk -F', ' '{ print $3 }' <<<"$list" | sort)"
    [[ $list != *true* ]] || fail "a learner is left: $list"
}

ready_as() { [[ $(ready_nodes) == "$1" ]] && no_unready_pods; }

# All of them Ready, nothing but them in the cluster, the keys there, and one more run changes nothing.
expect_healthy() { # KEYS NODE…
    local keys=$1 name ready=''
    shift
    for name in $(printf '%s\n' "$@" | sort); do ready+="${ready:+ }$name=True"; done
    soon 120 ready_as "$ready" || fail "not ready: $(ready_nodes) $(unready_pods)"
    expect "keys" "$(wanted_keys "$keys")" "$(read_keys)"
    good apply
    contains "once more" "$(cat "$WORK/out")" "nothing had to be changed"
}

api_endpoints() { kubectl get endpoints kubernetes -o json | jq -r '[.subsets[].addresses[].ip] | sort | join(" ")'; }
api_is_at() { [[ $(api_endpoints) == "$1" ]]; }


haproxy_asks() { "$SITE" run w1 -- sed -n 's/^ *server [^ ]* \([0-9.]*\):6443.*/\1/p' /etc/kpack/haproxy/haproxy.cfg | sort | paste -sd ' '; }
mirrors_of() { "$SITE" run "$1" -- sed -n 's,.*https://\([0-9.]*\):5000".*,\1,p' /etc/containerd/certs.d/_default/hosts.toml | sort -u | paste -sd ' '; }

test_install() {
    local name nodes=()
    part "three control planes, a worker"
    for name in "${NODES[@]}"; do
        nodes+=(--node "$name=${ADDRESS[$name]},role=$([[ $name == w1 ]] && echo worker || echo control-plane)")
    done
    "$SITE" up "${nodes[@]}"
    write_inventory cp1 cp2 cp3 w1
    kinstall trust add "$PUB"
    good apply
    tail -n 2 "$WORK/out" | sed 's/^/     /'
    kinstall kubectl --bundle "$BUNDLE" -i "$WORK/hosts.yaml" -- version --client >/dev/null
    write_keys 1 40
}

test_same_name() {
    part "the first control plane is dead: not by itself, by name"
    "$SITE" poweroff cp1
    refused 1 k remove cp1 --yes
    contains "dead" "$OUTPUT" "--force-dead"
    good k remove cp1 --yes --force-dead
    expect_members cp2 cp3
    soon 60 api_is_at "10.77.0.12 10.77.0.13" || fail "the API's endpoints: $(api_endpoints)"
    write_keys 41 50
    part "a new machine of its name, with an empty disk, still the first of the inventory"
    "$SITE" replace cp1
    write_inventory cp1 cp2 cp3 w1
    good apply
    tail -n 2 "$WORK/out" | sed 's/^/     /'
    expect_members cp1 cp2 cp3
    expect_healthy 50 cp1 cp2 cp3 w1
    expect "haproxy of w1" "10.77.0.11 10.77.0.12 10.77.0.13" "$(haproxy_asks)"
    soon 60 api_is_at "10.77.0.11 10.77.0.12 10.77.0.13" || fail "the API's endpoints: $(api_endpoints)"
    [[ $("$SITE" run cp1 -- systemctl is-active kregistry) == active ]] || fail "no mirror on cp1"
    seen replace-first running
}

# Files in which a name or an address stands, on the nodes and beside the inventory. etcd's manifest has what
# kubeadm join wrote: whom a member that has no data yet asks.
named_in() { # WORD NODE…
    local word=$1 node
    shift
    for node; do
        "$SITE" run "$node" -- sh -c 'grep -rlwF -e "$1" /etc/hosts /etc/kpack /etc/containerd /etc/kubernetes /etc/systemd/system 2>/dev/null | grep -v manifests/etcd.yaml || true' sh "$word" | sed "s/^/$node:/"
    done
    grep -lwF -e "$word" "$WORK/$CLUSTER.state/kubeconfig" || true
}

test_other_name() {
    part "the first control plane, whose mirror had the bundle first, is dead; one of another name and address in its place"
    "$SITE" poweroff cp1
    good k remove cp1 --yes --force-dead
    expect_members cp2 cp3
    write_keys 41 50
    write_inventory cp4 cp2 cp3 w1
    good apply
    tail -n 2 "$WORK/out" | sed 's/^/     /'
    expect_members cp2 cp3 cp4
    expect_healthy 50 cp2 cp3 cp4 w1
    part "everything names the new one, nothing the old one"
    expect "haproxy of w1" "10.77.0.12 10.77.0.13 10.77.0.15" "$(haproxy_asks)"
    for node in cp4 cp2 cp3 w1; do expect "mirrors of $node" "10.77.0.12 10.77.0.13 10.77.0.15" "$(mirrors_of "$node")"; done
    soon 60 api_is_at "10.77.0.12 10.77.0.13 10.77.0.15" || fail "the API's endpoints: $(api_endpoints)"
    expect "contexts" "cp2@$CLUSTER cp3@$CLUSTER cp4@$CLUSTER $CLUSTER" "$(kubectl config get-contexts -o name | sort | paste -sd ' ')"
    expect "files that name cp1" "" "$(named_in cp1 cp4 cp2 cp3 w1)"
    expect "files that name its address" "" "$(named_in 10.77.0.11 cp4 cp2 cp3 w1)"
    seen replace-other running
}

bundle_of() { "$SITE" run "$1" -- sha256sum "/var/lib/kpack/bundles/$2.tar.zst" 2>/dev/null | cut -d' ' -f1; }
has_bundle() { [[ $(bundle_of "$1" "$2") == "$3" ]]; }
serves_image() { # NODE: what only the newer bundle has
    [[ $("$SITE" exec -- curl -s -o /dev/null -w '%{http_code}' --cacert "$WORK/$CLUSTER.state/mirror-ca.pem" \
        "https://${ADDRESS[$1]}:5000/v2/kpacklab/hello/manifests/1?ns=docker.io") == 200 ]]
}

test_catch_up() {
    local id digest file node
    id=$(kpack inspect --key "$PUB" --json "$NEWER" | jq -r .id)
    digest=$(sha256sum "$NEWER" | cut -d' ' -f1)
    file=/var/lib/kpack/bundles/$id.tar.zst
    part "a newer bundle comes; cp2 loses its power while it copies it: the others go on"
    BUNDLE=$NEWER
    start_run
    wait_noted event=begin step=mirror-others node=cp2
    "$SITE" run cp2 -- sh -c 'until [ -s "$1.partial" ]; do sleep 0.02; done' sh "$file"
    "$SITE" poweroff cp2
    finish_run
    expect "exit code: $(tail -n 20 "$RUN_OUT")" 1 "$CODE"
    contains "the run" "$(cat "$RUN_OUT")" "cp2"
    for node in cp4 cp3; do soon 30 serves_image $node || fail "$node does not serve it: $(tail -n 20 "$RUN_OUT")"; done
    part "cp2 has power again: it catches up by itself, byte for byte"
    "$SITE" poweron cp2
    "$SITE" wait cp2
    [[ -z $(bundle_of cp2 "$id") ]] || say "it was faster than the question"
    soon 240 has_bundle cp2 "$id" "$digest" || fail "cp2 has not got it: $("$SITE" run cp2 -- journalctl -q -o cat -u kpack-catch-up)"
    soon 60 serves_image cp2 || fail "cp2 does not serve it: $("$SITE" run cp2 -- journalctl -q -o cat -u kpack-catch-up -u kregistry)"
    "$SITE" run cp2 -- journalctl -q -o cat -u kpack-catch-up | sed 's/^/     /'
    contains "its journal" "$("$SITE" run cp2 -- journalctl -q -o cat -u kpack-catch-up)" "came from" "is served now"
    part "another has lost all of its bundles: they come back"
    "$SITE" run cp4 -- sh -c 'systemctl stop kregistry; rm -f /var/lib/kpack/bundles/*'
    soon 240 has_bundle cp4 "$id" "$digest" || fail "cp4 has not got it: $("$SITE" run cp4 -- journalctl -q -o cat -u kpack-catch-up)"
    soon 60 serves_image cp4 || fail "cp4 does not serve it: $("$SITE" run cp4 -- journalctl -q -o cat -u kpack-catch-up -u kregistry)"
    part "a run of kinstall finds nothing to do for the mirrors; cp2 gets the image that it missed"
    good apply
    grep -E '✓ mirror .* unchanged' "$WORK/out" >/dev/null || fail "the mirrors were changed: $(grep -a mirror "$WORK/out")"
    expect_members cp2 cp3 cp4
    expect_healthy 50 cp2 cp3 cp4 w1
    seen mirror-catches-up running
    part "a mirror that goes takes its catching up along, and nobody asks it any more"
    good k remove cp3 --yes
    expect "of catching up on cp3" "" "$("$SITE" run cp3 -- sh -c 'systemctl list-unit-files --no-legend "kpack-catch-up*"; ls -d /var/lib/kpack /etc/kpack 2>/dev/null' || true)"
    write_inventory cp4 cp2 w1
    good apply
    expect "whom cp2 asks" "https://10.77.0.15:5000" "$("$SITE" run cp2 -- sed -n 's/.* --mirror //p' /etc/systemd/system/kpack-catch-up.service)"
    expect_members cp2 cp4
}

# The same with one more image.
newer_bundle() {
    NEWER=$E2E/replace.tar.zst
    [[ ! -f $NEWER || $(cat "$NEWER.stamp" 2>/dev/null) != "$(bundle_stamp "$E2E/lab.yaml")" ]] || return 0
    upstream_up
    rm -f "$NEWER"
    create_from_lab "$NEWER" --image docker.io/kpacklab/hello:1 --key "$KEY"
    bundle_stamp "$E2E/lab.yaml" >"$NEWER.stamp"
}

e2e_begin replace
part "a bundle"
shared_bundle
[[ ${1:-} != other ]] || newer_bundle
test_install
if [[ ${1:-} == other ]]; then
    test_other_name
    test_catch_up
else
    test_same_name
fi
part "no packet left the site"
expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
part end
