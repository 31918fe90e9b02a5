#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The product beside named tools on the same data, on this machine, now: a table of both figures and
# their ratio. No pass or fail. Uses the bundle of tests/e2e and the lab's upstream (as root).
# Run: tests/bench/run.sh [verify|create|serve|install]…
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

RUNS=3
ROWS=()

ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# The best of $RUNS runs of a command, in milliseconds, into BEST; PREPARE runs before each.
best() {
    local i start took
    BEST=0
    for ((i = 0; i < RUNS; i++)); do
        "${PREPARE:-:}"
        start=$(ms)
        "$@" >"$WORK/out" 2>&1 || fail "$*: $(tail -n 5 "$WORK/out")"
        took=$(($(ms) - start))
        if ((BEST == 0 || took < BEST)); then BEST=$took; fi
    done
}

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", b ? a / b : 0 }'; }

row() { # WHAT OURS UNIT TOOL THEIRS AIM
    ROWS+=("$1|$2 $3|$4|$5 $3|$(ratio "$2" "$5")|$6")
}

bench_verify() {
    local size openssl cores
    cores=$(nproc) size=$(stat -c %s "$BUNDLE")
    cat "$BUNDLE" >/dev/null
    best kpack verify --quiet --key "$PUB" "$BUNDLE"
    local ours=$((size / BEST / 1000))
    openssl=$(openssl speed -mr -seconds 3 -bytes 1048576 -evp sha256 2>/dev/null | awk -F: '/^\+F/ { print int($NF / 1000000) }')
    row "verify" "$ours" MB/s "openssl speed sha256 x $cores cores" $((openssl * cores)) ">= 0.9"
    best sha256sum "$BUNDLE"
    row "verify" "$ours" MB/s "sha256sum, one pass" $((size / BEST / 1000)) "-"
}

# What the bundle is made of, by the addresses at which this upstream has it: both fetch the same bytes
# from the same servers.
sources() {
    mkdir -p "$WORK/certs"
    cp "$UPSTREAM_CA" "$WORK/certs/ca.crt"
    mapfile -t IMAGES < <(sed -n 's/.*ref: "\([^"]*\)", digest.*/\1/p' "$E2E/lab.yaml")
    local url from to mirrors
    mapfile -t mirrors < <(sed -n 's/.*from: "\(https:[^"]*\)", to: "\([^"]*\)".*/\1 \2/p' "$E2E/mirrors.yaml")
    : >"$WORK/urls"
    for url in $(jq -r '.files[].url, .manifests[].url | select(startswith("https:"))' "$LOCK" | sort -u); do
        for from in "${mirrors[@]}"; do
            to=${from#* } from=${from% *}
            [[ $url != "$from"* ]] || url=$to${url#"$from"}
        done
        printf 'url = "%s"\noutput = "%s"\n' "$url" "$WORK/files/$(sha256sum <<<"$url" | cut -c-16)" >>"$WORK/urls"
    done
}

theirs_images() {
    local i
    for i in "${!IMAGES[@]}"; do
        skopeo copy -q --override-arch "$ARCH" --src-no-creds --src-cert-dir "$WORK/certs" \
            "docker://$UPSTREAM_REGISTRY/${IMAGES[i]}" "oci:$WORK/images/layout:$i" || return
    done
}

# Files while images are copied; then one file out of all, which is on the disk like ours.
theirs_create() {
    mkdir -p "$WORK/images" "$WORK/files"
    curl -sSfL --parallel --parallel-max 8 --cacert "$UPSTREAM_CA" -K "$WORK/urls" &
    local files=$!
    theirs_images || return
    wait "$files" || return
    tar -C "$WORK" -cf - images files | zstd -q -T0 -3 -f -o "$WORK/theirs.tar.zst" && sync "$WORK/theirs.tar.zst"
}

ours_create() { kpack create --quiet --lock "$LOCK" --mirrors "$E2E/mirrors.yaml" --key "$KEY" --output "$WORK/ours.tar.zst" --cache "$WORK/cache" --jobs 8; }

nothing_there() { rm -rf "$WORK"/{images,files,theirs.tar.zst,ours.tar.zst,cache}; }
no_bundle() { rm -f "$WORK/ours.tar.zst"; }

bench_create() {
    local theirs rss
    upstream_up
    sources
    PREPARE=nothing_there
    best theirs_create
    theirs=$BEST
    say "$(grep -c '^url' "$WORK/urls") files, ${#IMAGES[@]} images; curl + skopeo copy + tar | zstd -T0 -3: $(stat -c %s "$WORK/theirs.tar.zst") bytes; our bundle: $(stat -c %s "$BUNDLE")"
    best ours_create
    row "create, nothing cached" "$BEST" ms "curl + skopeo copy + tar, zstd -T0 -3" "$theirs" "<= 0.5"
    PREPARE=no_bundle
    best ours_create
    row "create, sources and blobs cached" "$BEST" ms "the same" "$theirs" "<= 0.2"
    PREPARE=
    nothing_there
    # shellcheck disable=SC2016 # for that shell
    rss=$(in_home bash -c 'TIMEFORMAT=; "$@" & pid=$!; top=0
        while now=$(awk "/VmHWM/ { print \$2 }" /proc/$pid/status 2>/dev/null) && [[ -n $now ]]; do top=$now; sleep 0.02; done
        wait "$pid"; echo "$top"' rss "$PREFIX/bin/kpack" create --quiet --lock "$LOCK" --mirrors "$E2E/mirrors.yaml" --key "$KEY" --output "$WORK/ours.tar.zst" --cache "$WORK/cache" | tail -n 1)
    row "create, peak resident memory" $((rss / 1024)) MiB "the aim" 64 "<= 1.0"
}

bench_serve() {
    [[ -x $TOP/tests/bench/serve.sh || -f $TOP/tests/bench/serve.sh ]] || return 0
    cmake --preset release -B "$TOP/build/bench" -DBUILD_TESTING=ON >"$WORK/out" 2>&1 || fail "$(tail "$WORK/out")"
    cmake --build "$TOP/build/bench" -j "$(nproc)" --target kregistry make_bundle crowd >"$WORK/out" 2>&1 || fail "$(tail "$WORK/out")"
    bash "$TOP/tests/bench/serve.sh" "$(find "$TOP/build/bench" -name kregistry -type f)" \
        "$(find "$TOP/build/bench" -name make_bundle -type f)" "$(find "$TOP/build/bench" -name crowd -type f)"
}

CLUSTER=bench
sent() { "$SITE" exec -- ip -s -j link show br0 | jq '.[0].stats64.tx.bytes'; }

# Three nodes, one control plane: beside kubeadm's own commands in the same run.
bench_install() {
    local before total own took
    "$SITE" up --node cp1=10.77.0.11 --node w1=10.77.0.12 --node w2=10.77.0.13 >/dev/null
    "$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/hosts.yaml"
    kinstall trust add "$PUB" >/dev/null
    before=$(sent)
    kinstall --json --bundle "$BUNDLE" -i "$WORK/hosts.yaml" >"$WORK/install.json" 2>"$WORK/out" || fail "$(tail -n 20 "$WORK/out")"
    row "admin host's uplink, the whole install" $((($(sent) - before) / 1000)) kB "the bundle" $(($(stat -c %s "$BUNDLE") / 1000)) "<= 1.05"
    total=$(jq '.seconds * 1000 | floor' "$WORK/install.json")
    own=$(jq '.kubeadm_seconds * 1000 | floor' "$WORK/install.json")
    row "install, three nodes" "$total" ms "kubeadm's own commands" "$own" "-"
    row "install, beyond kubeadm's own" $((total - own)) ms "the aim" 15000 "<= 1.0"
    best kinstall --bundle "$BUNDLE" -i "$WORK/hosts.yaml"
    row "run again, nothing to change" "$BEST" ms "the aim: seconds" 5000 "<= 1.0"
    best kinstall plan --bundle "$BUNDLE" -i "$WORK/hosts.yaml"
    row "plan, nothing to change" "$BEST" ms "the aim: seconds" 5000 "<= 1.0"
    took=$("$SITE" egress)
    row "packets that left the site" "$took" "" "the aim" 0 "0"
    "$SITE" down >/dev/null
}

print_rows() {
    {
        echo 'WHAT|OURS|BESIDE|THEIRS|RATIO|AIM'
        printf '%s\n' "${ROWS[@]}"
    } | column -t -s '|'
}

e2e_begin bench
part "the bundle"
shared_bundle
WANTED=("$@")
((${#WANTED[@]})) || WANTED=(verify create serve install)
for what in "${WANTED[@]}"; do
    [[ $(type -t "bench_$what") == function ]] || fail "there is no $what"
    part "$what"
    "bench_$what"
done
part end
echo
echo "$(nproc) cores, $(uname -m), load $(cut -d' ' -f1 /proc/loadavg), best of $RUNS runs"
print_rows
