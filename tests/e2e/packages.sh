#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A node that lacks conntrack and socat, and a bundle that carries them as packages: check says where
# they will come from, the install goes through without a network, reset takes away just them, and puts
# kernel parameters back. Needs root and Debian's packages. Run: tests/e2e/packages.sh
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

CLUSTER=packages
WITH=() # --bundle and inventory

run_all() { kinstall "$@" --bundle "$WORK/with.tar.zst" -i "$WORK/hosts.yaml"; }

# The site's node works as well, so that the pods of the verification have a place.
test_up() {
    part "a node without conntrack and socat"
    "$SITE" up --node one=10.77.0.11,without=conntrack+socat
    "$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/plain.yaml"
    sed 's/roles: \[control-plane\]/roles: [control-plane, worker]/' "$WORK/plain.yaml" >"$WORK/hosts.yaml"
    "$SITE" run one -- dpkg-query -W >"$WORK/packages.before"
    "$SITE" run one -- sysctl -n net.ipv4.ip_forward net.ipv4.ip_local_reserved_ports >"$WORK/kernel.before"
    kinstall trust add "$PUB"
}

test_bundle() {
    part "packages by apt, and a bundle that carries them"
    mkdir -m 755 "$WORK/debs"
    (cd "$WORK/debs" && apt-get -qq -o DPkg::Lock::Timeout=600 -o APT::Sandbox::User=root download conntrack socat)
    local deb
    for deb in "$WORK/debs"/*.deb; do WITH+=(--package "$deb"); done
    expect "packages" 4 "${#WITH[@]}"
    create_from_lab "$WORK/with.tar.zst" --key "$KEY" "${WITH[@]}" >"$WORK/create.out" 2>&1 || fail "$(tail "$WORK/create.out")"
    [[ $(grep "Debian, Ubuntu" "$WORK/create.out") != *conntrack* ]] || fail "create misses conntrack: $(cat "$WORK/create.out")"
    contains "create" "$(grep "RHEL" "$WORK/create.out")" conntrack-tools
}

test_check() {
    part "check: what is missing comes from the bundle, and is no error"
    refused 1 kinstall check --bundle "$BUNDLE" -i "$WORK/hosts.yaml"
    contains "check without the packages" "$OUTPUT" "the program conntrack is not installed"
    run_all check >"$WORK/check.out" 2>&1 || fail "check: $(cat "$WORK/check.out")"
    contains "check" "$(cat "$WORK/check.out")" "conntrack will be installed from the bundle (conntrack_" \
        "socat will be installed from the bundle (socat_" ".deb)" "nothing was changed"
    run_all plan >"$WORK/plan.out" 2>&1 || fail "plan: $(tail -n 30 "$WORK/plan.out")"
    contains "plan" "$(cat "$WORK/plan.out")" "install the package conntrack_" "install the package socat_"
    "$SITE" run one -- sh -c '! command -v conntrack' || fail "check or plan has changed the node"
}

test_install() {
    part "install: the packages are there, nothing left the site, the cluster is ready"
    "$SITE" egress reset
    run_all >"$WORK/install.out" 2>&1 || fail "install: $(tail -n 40 "$WORK/install.out")"
    "$SITE" run one -- sh -ec 'command -v conntrack; command -v socat' >/dev/null || fail "conntrack or socat is not there"
    expect "state of the packages" "ii ii" "$("$SITE" run one -- dpkg-query -W -f '${db:Status-Abbrev}' conntrack socat | xargs)"
    expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
    fetch_kubectl
    expect "nodes" "one=True" "$(ready_nodes)"
    "$SITE" run one -- sh -c '! grep -rq "apt-get\|apt " /var/log/apt/history.log 2>/dev/null' || fail "apt was called"
    contains "the kubelet's configuration" "$("$SITE" run one -- cat /var/lib/kubelet/config.yaml)" "protectKernelDefaults: true"
    part "audit: the packages are placed, by digest"
    kinstall audit --bundle "$WORK/with.tar.zst" -i "$WORK/hosts.yaml" >"$WORK/audit.out" 2>&1 || fail "audit: $(cat "$WORK/audit.out")"
    grep -q '/var/lib/kpack/packages/conntrack_.*\.deb' "$WORK/$CLUSTER.state"/audit* || fail "no line of the package in the log"
    part "again: nothing changes"
    run_all >"$WORK/again.out" 2>&1 || fail "again: $(tail -n 40 "$WORK/again.out")"
    contains "again" "$(cat "$WORK/again.out")" "nothing had to be changed"
}

test_reset() {
    part "reset: the packages that were not there before are gone, and nothing else"
    kinstall reset --yes -i "$WORK/hosts.yaml" >"$WORK/reset.out" 2>&1 || fail "reset: $(cat "$WORK/reset.out")"
    "$SITE" run one -- dpkg-query -W >"$WORK/packages.after"
    diff "$WORK/packages.before" "$WORK/packages.after" || fail "the packages are not those of before"
    part "reset: kernel parameters are what they were"
    "$SITE" run one -- sysctl -n net.ipv4.ip_forward net.ipv4.ip_local_reserved_ports >"$WORK/kernel.after"
    diff "$WORK/kernel.before" "$WORK/kernel.after" || fail "kernel parameters are not those of before"
    part "status after it: not installed"
    refused 1 kinstall status -i "$WORK/hosts.yaml"
    contains "status" "$OUTPUT" "not installed"
    [[ $OUTPUT != *unreachable* ]] || fail "status calls it unreachable: $OUTPUT"
}

e2e_begin packages
part "the bundle"
shared_bundle
test_up
test_bundle
test_check
test_install
test_reset
part end
