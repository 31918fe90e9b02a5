#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A delta at a site: refused where its base is nowhere; made out of the site's receipt, only the delta
# is sent, the new image is pulled from the mirrors; again nothing changes. Needs root.
# Run: tests/e2e/delta.sh
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

CLUSTER=deltas
IMAGE=docker.io/kpacklab/hello:1
FOLDER=/var/lib/kpack/bundles

id_of() { kpack inspect --key "$PUB" --json "$1" | jq -r .id; }

# Bytes that the admin side has sent to the site so far. The bridge and its ports count the same ones.
sent() {
    # shellcheck disable=SC2016 # for the shell on the admin side
    "$SITE" exec -- sh -c 'for f in /sys/class/net/*; do [ "$f" = /sys/class/net/lo ] || cat "$f/statistics/tx_bytes"; done' |
        awk '$1 > n { n = $1 } END { printf "%d", n }'
}

untouched() { # NODE
    "$SITE" run "$1" -- sh -c '! ls -d /etc/kpack /var/lib/kpack /usr/local/bin/kubelet 2>/dev/null'
}

test_refused() {
    part "a delta without its base: exit 5, the list, and no node is touched"
    create_from_lab "$WORK/delta.tar.zst" --key "$KEY" --trust "$PUB" --image "$IMAGE" --base "$BUNDLE" >"$WORK/out" 2>&1 || fail "$(tail "$WORK/out")"
    sed 's/^/     /' "$WORK/out" | tail -n 6
    kpack verify --key "$PUB" "$WORK/delta.tar.zst" >"$WORK/out" || fail "the delta alone is not good"
    contains "verify" "$(cat "$WORK/out")" "needs base"
    local command node
    for command in apply check; do
        refused 5 kinstall $command --key "$PUB" --bundle "$WORK/delta.tar.zst" -i "$WORK/hosts.yaml"
        contains "$command" "$OUTPUT" "missing" "serial" "$(id_of "$BUNDLE" | cut -c1-12)"
    done
    for node in cp1 w1; do untouched $node || fail "$node was changed"; done
    say "$(tail -n 2 <<<"$OUTPUT" | tr '\n' ' ')"
    part "another bundle in place of the base"
    refused 5 kinstall check --key "$PUB" --bundle "$WORK/delta.tar.zst" --base "$WORK/delta.tar.zst" -i "$WORK/hosts.yaml"
    contains "wrong base" "$OUTPUT" "is not a base"
}

test_base() {
    part "the base is installed"
    kinstall --key "$PUB" --bundle "$BUNDLE" -i "$WORK/hosts.yaml" >"$WORK/out" 2>&1 || fail "install: $(tail -n 40 "$WORK/out")"
    say "$(tail -n 2 "$WORK/out" | sed -n 1p)"
}

test_receipt() {
    part "the receipt of the site, with no bundle at hand; a delta made of it is the same"
    kinstall receipt -i "$WORK/hosts.yaml" -o "$WORK/receipt.json" >"$WORK/out" 2>&1 || fail "receipt: $(cat "$WORK/out")"
    sed 's/^/     /' "$WORK/out"
    expect "id in the receipt" "$(id_of "$BUNDLE")" "$(jq -r '.bundles[0].id' "$WORK/receipt.json")"
    expect "mirrors in the receipt" cp1 "$(jq -r '.bundles[0].mirrors | join(" ")' "$WORK/receipt.json")"
    kpack create --lock "$WORK/delta.lock.json" --mirrors "$E2E/mirrors.yaml" --key "$KEY" --have "$WORK/receipt.json" \
        --output "$WORK/again.tar.zst" >"$WORK/out" 2>&1 || fail "create --have: $(tail "$WORK/out")"
    cmp "$WORK/delta.tar.zst" "$WORK/again.tar.zst" || fail "--have and --base made different deltas"
}

test_delta() {
    part "the delta is applied: only it is sent"
    local before after size
    before=$(sent)
    kinstall --key "$PUB" --bundle "$WORK/delta.tar.zst" -i "$WORK/hosts.yaml" >"$WORK/out" 2>&1 || fail "delta: $(tail -n 40 "$WORK/out")"
    after=$(sent)
    size=$(stat -c %s "$WORK/delta.tar.zst")
    say "base $(stat -c %s "$BUNDLE") bytes, delta $size, sent $((after - before))"
    ((after - before < size + size / 10 + 4000000)) || fail "$((after - before)) bytes were sent for a delta of $size"
    ((after - before < $(stat -c %s "$BUNDLE") / 2)) || fail "the base was sent again"
    "$SITE" run cp1 -- ls "$FOLDER/$(id_of "$BUNDLE").tar.zst" "$FOLDER/$(id_of "$WORK/delta.tar.zst").tar.zst" >/dev/null
    part "again: nothing changes"
    kinstall --key "$PUB" --bundle "$WORK/delta.tar.zst" -i "$WORK/hosts.yaml" >"$WORK/out" 2>&1 || fail "again: $(tail -n 40 "$WORK/out")"
    contains "second run" "$(cat "$WORK/out")" "nothing had to be changed"
    kinstall receipt -i "$WORK/hosts.yaml" >"$WORK/out" || fail "receipt"
    expect "bundles on the mirror" 2 "$(grep -c ' cp1 *$' "$WORK/out")"
    part "the worker pulls the new image, and one of the base, from the mirror"
    "$SITE" run w1 -- crictl pull "$IMAGE" >/dev/null || fail "pull $IMAGE"
    "$SITE" run w1 -- crictl pull docker.io/flannel/flannel-cni-plugin:v0.9.1 >/dev/null || fail "pull out of the base"
    expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
}

test_lost() {
    part "the base is lost on the mirror: kregistry says so, a run with --base mends it"
    local path
    path=$FOLDER/$(id_of "$BUNDLE").tar.zst
    "$SITE" run cp1 -- sh -c "rm $path && ! systemctl restart kregistry || true"
    refused 5 kinstall check --key "$PUB" --bundle "$WORK/delta.tar.zst" -i "$WORK/hosts.yaml"
    kinstall --key "$PUB" --bundle "$WORK/delta.tar.zst" --base "$BUNDLE" -i "$WORK/hosts.yaml" >"$WORK/out" 2>&1 || fail "mend: $(tail -n 40 "$WORK/out")"
    "$SITE" run w1 -- crictl pull "$IMAGE" >/dev/null || fail "pull after mending"
}

e2e_begin delta
upstream_up
shared_bundle
"$SITE" up --node cp1=10.77.0.11 --node w1=10.77.0.12
eval "$("$SITE" env)"
"$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/hosts.yaml"
test_refused
test_base
test_receipt
test_delta
test_lost
part end
