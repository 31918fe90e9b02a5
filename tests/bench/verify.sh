#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# verify.sh KPACK MAKE_BUNDLE COST [MIB…]: kpack verify of bundles of that size (512 and 8192) out of a warm page
# cache, beside OpenSSL's SHA-256 over a buffer that stays in the cache (what `openssl speed` measures) on as many
# threads, and beside sha256sum. One after the other, five times; the best of each, so that what else runs on the
# machine weighs least. CPU seconds per GB say what verifying costs, wall GB/s what came out just now.
set -euo pipefail
kpack=$(readlink -f "$1") make_bundle=$(readlink -f "$2") cost=$(readlink -f "$3")
shift 3
(($#)) || set -- 512 8192
LAYER_MIB=64
work=$(mktemp -d "${TMPDIR:-/tmp}/kp-verify-XXXXXX")
trap 'rm -rf "$work"' EXIT
cores=$(nproc)

# One run more in a row of "wall cpu rss" lines.
note() { "${@:2}" >>"$work/$1" || { echo "failed: ${*:2}" >&2; exit 1; }; }
least() { sort -n -k"$2,$2" "$work/$1" | awk -v c="$2" 'NR == 1 { print $c }'; }

for mib in "$@"; do
    rm -f "$work"/{ours,openssl,sha256sum}
    "$make_bundle" "$work/b" $((mib / LAYER_MIB)) $((LAYER_MIB << 20)) 1 sparse >/dev/null
    bundle=$work/b/test.tar.zst
    size=$(stat -c %s "$bundle")
    cat "$bundle" >/dev/null
    for _ in 1 2 3 4 5; do
        note openssl "$cost" hash "$cores" $((mib < 2048 ? mib : 2048))
        note ours "$cost" run "$kpack" verify --quiet --key "$work/b/test.pub" "$bundle"
    done
    note sha256sum "$cost" run sha256sum "$bundle"
    awk -v size="$size" -v mib=$((mib < 2048 ? mib : 2048)) -v cores="$cores" -v ow="$(least ours 1)" -v oc="$(least ours 2)" -v rss="$(least ours 3)" \
        -v hw="$(least openssl 1)" -v hc="$(least openssl 2)" -v sw="$(least sha256sum 1)" -v sc="$(least sha256sum 2)" 'BEGIN {
        gb = size / 1e9; hgb = mib * 1048576 / 1e9
        printf "bundle of %.2f GB, %d cores\n", gb, cores
        printf "  %-28s %6.2f GB/s wall  %6.3f CPU s/GB  %d MiB\n", "kpack verify", gb / ow, oc / gb, rss / 1024
        printf "  %-28s %6.2f GB/s wall  %6.3f CPU s/GB\n", "openssl sha256 x " cores, hgb / hw, hc / hgb
        printf "  %-28s %6.2f GB/s wall  %6.3f CPU s/GB\n", "sha256sum", gb / sw, sc / gb
        printf "  ratio to openssl: wall %.2f, CPU %.2f (aim 0.9); to sha256sum: wall %.2f\n", (gb / ow) / (hgb / hw), (hc / hgb) / (oc / gb), sw / ow
    }'
    rm -rf "$work/b"
done
echo "load $(cut -d' ' -f1-3 /proc/loadavg)"
