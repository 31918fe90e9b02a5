#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Keys and policy on a real node: a trust list with a threshold of two, an older bundle refused and
# taken by its serial, a revoked one refused by the node itself though the admin host has forgotten
# everything, and a cluster made without trust that says so. Needs root. Run: tests/e2e/trust.sh
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

CLUSTER=trust

node() { "$SITE" run cp1 -- "$@"; }
state_of() { jq -r "$1" "$WORK/$CLUSTER.state/journal.jsonl"; }
apply() { kinstall --bundle "$1" -i "$WORK/hosts.yaml" "${@:2}"; }
forget() { rm -rf "$WORK/config/kpack/trusted.d" "$WORK/$CLUSTER.state"; }
id_of() { tar --zstd -xOf "$1" bundle.json | sha256sum | cut -d' ' -f1; }

e2e_begin trust
part "keys, a list of two, bundles of two serials, one node"
shared_bundle
upstream_up
for name in ann bob eve; do kpack keygen "$name" --folder "$WORK/keys" >/dev/null; done
rm -rf "$WORK/config/kpack/trusted.d"
kpack trust init "$WORK/site-1.json" "$WORK"/keys/{ann,bob,eve}.pub --sign 2 --revoke 2 --root 2
for name in ann bob; do kpack trust sign "$WORK/site-1.json" --key "$WORK/keys/$name.key"; done
create_from_lab "$WORK/new.tar.zst" --serial 20 --key "$WORK/keys/ann.key" >/dev/null
create_from_lab "$WORK/old.tar.zst" --serial 10 --key "$WORK/keys/ann.key" >/dev/null
"$SITE" up --node cp1=10.77.0.11
eval "$("$SITE" env)"
"$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/hosts.yaml"

part "one of two signatures is not enough, for the site and with --key for the node"
kinstall trust import "$WORK/site-1.json"
refused 3 kinstall check --json --bundle "$WORK/new.tar.zst" -i "$WORK/hosts.yaml"
contains "threshold" "$OUTPUT" '"threshold"'
refused 2 kinstall check --bundle "$WORK/new.tar.zst" -i "$WORK/hosts.yaml" --insecure-no-ver
node sh -c '! test -e /etc/kpack/trusted.d' || fail "the node was changed"

part "without trust, in full: a cluster that says so"
apply "$WORK/new.tar.zst" --insecure-no-verify >"$WORK/out" 2>&1 || fail "install: $(tail -n 30 "$WORK/out")"
contains "screen" "$(cat "$WORK/out")" "NOT VERIFIED"
KUBECTL_PROGRAM=$WORK/kubectl
XDG_CONFIG_HOME=$WORK/nobody "$PREFIX/bin/kpack" extract --key "$WORK/keys/ann.pub" --file kubectl --to "$WORK" "$WORK/new.tar.zst" >/dev/null
expect "annotation" "$(id_of "$WORK/new.tar.zst")" \
    "$(kubectl get namespace kube-system -o json | jq -r '.metadata.annotations["kpack.io/insecure-bundle"]')"
expect "journal" 1 "$(state_of 'select(.event == "insecure-no-verify") | .event' | wc -l)"
contains "node" "$(node cat /var/lib/kpack/insecure.jsonl)" "$(id_of "$WORK/new.tar.zst")"
kinstall audit -i "$WORK/hosts.yaml" >"$WORK/out"
contains "audit" "$(<"$WORK/out")" "NOT VERIFIED"
kinstall audit --json -i "$WORK/hosts.yaml" >"$WORK/audit.json"
expect "the run's line of the audit log" "true $(id_of "$WORK/new.tar.zst")" "$(jq -r '.runs[-1] | "\(.policy.insecure) \(.bundle.id)"' "$WORK/audit.json")"
node sh -c '! ls /etc/kpack/trusted.d/*.pub /etc/kpack/trusted.d/trust.1.json 2>/dev/null' || fail "keys were kept"

part "signed by two: the node keeps the list and the serial"
for file in new old; do kpack sign "$WORK/$file.tar.zst" --key "$WORK/keys/bob.key" >/dev/null; done
apply "$WORK/new.tar.zst" >"$WORK/out" 2>&1 || fail "apply: $(tail -n 30 "$WORK/out")"
contains "signers" "$(cat "$WORK/out")" "2 of 2 needed"
node test -f /etc/kpack/trusted.d/trust.1.json || fail "the node has no list"

part "an older bundle: refused by the site, and by the node where the site has forgotten"
refused 3 apply "$WORK/old.tar.zst" --json
contains "site" "$OUTPUT" '"rollback"'
forget
kinstall trust import "$WORK/site-1.json" >/dev/null
refused "1|3" apply "$WORK/old.tar.zst"
contains "node" "$OUTPUT" "this node" "serial 10"

part "a revoked bundle: refused by the node where the site has forgotten"
kpack revoke "$WORK/revoked.json" --revoke-bundle "$(id_of "$WORK/old.tar.zst")" --why bad
for name in ann eve; do kpack trust sign "$WORK/revoked.json" --key "$WORK/keys/$name.key"; done
kinstall trust import "$WORK/revoked.json"
refused 3 apply "$WORK/old.tar.zst" --json --allow-downgrade 10
contains "site" "$OUTPUT" '"revoked"'
refused 3 apply "$WORK/old.tar.zst" --allow-downgrade 10 --insecure-no-verify
apply "$WORK/new.tar.zst" >"$WORK/out" 2>&1 || fail "apply: $(tail -n 30 "$WORK/out")"
node grep -q "$(id_of "$WORK/old.tar.zst")" /etc/kpack/trusted.d/revoked.json || fail "the node was not told"
forget
kinstall trust import "$WORK/site-1.json" >/dev/null
refused "1|3" apply "$WORK/old.tar.zst" --allow-downgrade 10
contains "node" "$OUTPUT" "is revoked"
part end
