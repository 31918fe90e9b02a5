#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A machine that dies for good: the first control plane is taken out and replaced by one of the same name
# with an empty disk. Needs root. Run: tests/e2e/replace.sh
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

CLUSTER=replace
declare -A ADDRESS=([cp1]=10.77.0.11 [cp2]=10.77.0.12 [cp3]=10.77.0.13 [w1]=10.77.0.14)

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
test_install() {
    local name nodes=()
    part "three control planes, a worker"
    for name in cp1 cp2 cp3 w1; do
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

e2e_begin replace
part "a bundle"
shared_bundle
test_install
test_same_name
part "no packet left the site"
expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
part end
