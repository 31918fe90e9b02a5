#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kpack create against the lab's upstream: the bundle that the other tests share; the same bytes twice
# from one lock; killed and begun again; what it says when a source is bad or the disk full; and the
# bundle in the hands of programs that are not ours. Needs root (for a full disk). Run: tests/e2e/create.sh
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

# The shared cache must not help: a folder that each part of the test begins with.
fresh_cache() { printf '%s' "$WORK/cache.$1"; }

test_create() {
    part "kpack create --k8s v1.30 from the lab's upstream"
    upstream_up
    rm -f "$E2E/stamp"
    shared_bundle
    say "$(stat -c %s "$BUNDLE") bytes"
    kpack verify --key "$PUB" "$BUNDLE" | sed 's/^/     /'
    kpack inspect --key "$PUB" "$BUNDLE" | sed 's/^/     /'
    jq -e '.kind == "kpack.lock/v1"' "$LOCK" >/dev/null || fail "no lock beside the bundle"
    ! grep -E 'localhost|password|X-Amz|\?' "$LOCK" || fail "the lock has a mirror, a query or a secret"
    part "a plan fetches nothing large"
    create_from_lab "$WORK/plan.tar.zst" --unsigned --plan --cache "$(fresh_cache plan)" >"$WORK/plan.out" 2>&1 || fail "$(cat "$WORK/plan.out")"
    [[ ! -e $WORK/plan.tar.zst ]] || fail "--plan wrote a bundle"
    (($(du -sm "$(fresh_cache plan)" | cut -f1) < 10)) || fail "--plan fetched $(du -sh "$(fresh_cache plan)")"
    sed 's/^/     /' "$WORK/plan.out" | tail -n 6
}

from_lock() { # OUTPUT OPTIONS…
    local output=$1
    shift
    kpack create --lock "$LOCK" --mirrors "$E2E/mirrors.yaml" --key "$KEY" --output "$output" "$@"
}

test_same_bytes() {
    part "twice from one lock: identical bytes, with the cache and with an empty one"
    from_lock "$WORK/a.tar.zst" >"$WORK/out" 2>&1 || fail "$(tail "$WORK/out")"
    cmp "$BUNDLE" "$WORK/a.tar.zst" || fail "the lock gave other bytes"
    rm "$WORK/a.tar.zst"
    from_lock "$WORK/b.tar.zst" --cache "$(fresh_cache lock)" --jobs 1 >"$WORK/out" 2>&1 || fail "$(tail "$WORK/out")"
    cmp "$BUNDLE" "$WORK/b.tar.zst" || fail "the lock gave other bytes from an empty cache"
    rm -rf "$WORK/b.tar.zst" "$(fresh_cache lock)"
}

# Starts create in the background, as its own process, with an empty cache: CREATE is its number.
start_create() { # OUTPUT CACHE
    (
        export HOME=$WORK/home XDG_CONFIG_HOME=$WORK/config XDG_CACHE_HOME=$CACHE
        exec "$PREFIX/bin/kpack" create --lock "$LOCK" --mirrors "$E2E/mirrors.yaml" --key "$KEY" --output "$1" --cache "$2"
    ) </dev/null >"$WORK/out" 2>&1 &
    CREATE=$!
}

cache_size() { { du -sb "$1" 2>/dev/null || true; } | cut -f1; } # files may go while it counts

test_killed() {
    part "killed with -9 amid the downloads and amid the writing, and begun again"
    local cache limit size
    cache=$(fresh_cache killed)
    for limit in 20000000 120000000 250000000; do
        start_create "$WORK/k.tar.zst" "$cache"
        until size=$(cache_size "$cache") && ((${size:-0} > limit)); do
            kill -0 "$CREATE" 2>/dev/null || break
            sleep 0.005
        done
        kill -KILL "$CREATE" 2>/dev/null || say "it was through before it had $limit bytes"
        wait "$CREATE" 2>/dev/null || true
        say "killed with $(cache_size "$cache") bytes in the cache"
    done
    start_create "$WORK/k.tar.zst" "$cache"
    until [[ -e $WORK/k.tar.zst.partial || -e $WORK/k.tar.zst ]]; do
        kill -0 "$CREATE" 2>/dev/null || fail "$(tail "$WORK/out")"
        sleep 0.002
    done
    kill -KILL "$CREATE" 2>/dev/null || true
    wait "$CREATE" 2>/dev/null || true
    [[ ! -e $WORK/k.tar.zst ]] || cmp "$BUNDLE" "$WORK/k.tar.zst" || fail "half a bundle has the name of a whole one"
    from_lock "$WORK/k.tar.zst" --cache "$cache" >"$WORK/out" 2>&1 || fail "$(tail "$WORK/out")"
    cmp "$BUNDLE" "$WORK/k.tar.zst" || fail "begun again it gave other bytes"
    [[ -z $(find "$WORK" -maxdepth 1 -name '*.partial') ]] || fail "a .partial is left"
    rm -rf "$cache" "$WORK/k.tar.zst"
}

# Lab mirrors whose files come through one of upstream's faults.
faulty_mirrors() { # KIND
    sed -e "s,https://dl.localhost:$UPSTREAM_PORT/,$UPSTREAM_FAULT/$1/dl/," "$E2E/mirrors.yaml" >"$E2E/faulty.yaml"
    grep -q "$1/dl" "$E2E/faulty.yaml" || fail "the mirrors file names no dl.localhost"
}

with_fault() { # KIND CODES WORD…: create must fail with each word in its message, and leave nothing
    local kind=$1 codes=$2
    shift 2
    faulty_mirrors "$kind"
    refused "$codes" kpack create --lock "$LOCK" --mirrors "$E2E/faulty.yaml" --unsigned --output "$WORK/f.tar.zst" --cache "$(fresh_cache fault)"
    contains "fault $kind" "$OUTPUT" "$@"
    [[ -z $(find "$WORK" -maxdepth 1 -name 'f.tar.zst*') ]] || fail "fault $kind left $(ls "$WORK"/f.tar.zst*)"
    say "$kind: exit $CODE: $(tail -n 2 <<<"$OUTPUT" | tr '\n' ' ')"
    rm -rf "$(fresh_cache fault)"
}

test_faults() {
    part "what is wrong with a source is said, and nothing is left"
    with_fault 404 "1|5" 404 kube
    with_fault flip "1|4" sha256 kube
    with_fault truncate 1 kube
    with_fault 500 1 500 kube
    part "a source that asks for patience, or breaks off once, is only slower"
    local kind
    for kind in "429-$RANDOM$RANDOM" "cut-$RANDOM$RANDOM"; do
        faulty_mirrors "$kind"
        kpack create --lock "$LOCK" --mirrors "$E2E/faulty.yaml" --key "$KEY" --output "$WORK/f.tar.zst" --cache "$(fresh_cache fault)" >"$WORK/out" 2>&1 ||
            fail "$kind: $(tail "$WORK/out")"
        cmp "$BUNDLE" "$WORK/f.tar.zst" || fail "$kind gave other bytes"
        rm -rf "$WORK/f.tar.zst" "$(fresh_cache fault)"
    done
    part "a certificate that nobody vouches for"
    sed 's/, ca: [^,}]*//' "$E2E/mirrors.yaml" >"$E2E/faulty.yaml"
    refused 1 kpack create --lock "$LOCK" --mirrors "$E2E/faulty.yaml" --unsigned --output "$WORK/f.tar.zst" --cache "$(fresh_cache fault)"
    contains "certificate" "$OUTPUT" certificate localhost
    rm -f "$E2E/faulty.yaml"
}

test_full_disk() {
    part "a full disk, for the bundle and for the cache"
    mkdir "$WORK/small"
    mount -t tmpfs -o size=64m tmpfs "$WORK/small"
    refused 1 from_lock "$WORK/small/x.tar.zst"
    contains "full disk" "$OUTPUT" space "$WORK/small"
    [[ -z $(find "$WORK/small" -name 'x.tar.zst*') ]] || fail "left on the full disk: $(ls "$WORK/small")"
    say "$(tail -n 1 <<<"$OUTPUT")"
    refused 1 from_lock "$WORK/x.tar.zst" --cache "$WORK/small/cache"
    contains "full disk under the cache" "$OUTPUT" space
    [[ -z $(find "$WORK" -maxdepth 1 -name 'x.tar.zst*') ]] || fail "half a bundle is left"
    umount "$WORK/small"
}

e2e_cleanup() {
    ! mountpoint -q "$WORK/small" || umount "$WORK/small"
    [[ -z ${REGISTRY:-} ]] || kill "$REGISTRY" 2>/dev/null || true
    rm -f "$E2E/faulty.yaml"
}

test_auditor() {
    part "an auditor with tar, sha256sum and openssl alone"
    "$TOP/tests/interop/auditor.sh" "$BUNDLE" "$PUB" >"$WORK/out" 2>&1 || fail "$(tail "$WORK/out")"
    tail -n 3 "$WORK/out" | sed 's/^/     /'
}

test_layout() {
    part "skopeo and oras copy an image out of the unpacked layout"
    local image=registry.k8s.io/pause:3.9 wanted
    mkdir "$WORK/layout"
    tar --zstd -xf "$BUNDLE" -C "$WORK/layout"
    wanted=$(jq -r --arg i "$image" '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $i) | .digest' "$WORK/layout/index.json")
    [[ $wanted == sha256:* ]] || fail "$image is not in the layout's index"
    skopeo copy -q --override-arch "$ARCH" "oci:$WORK/layout:$image" "dir:$WORK/skopeo" || fail "skopeo"
    "$ORAS" copy --from-oci-layout "$WORK/layout@$wanted" --to-oci-layout "$WORK/oras:pause" --platform "linux/$ARCH" >"$WORK/out" 2>&1 || fail "$(cat "$WORK/out")"
    same_layers "$WORK/layout" "$wanted" "$WORK/skopeo/manifest.json"
    part "skopeo copies out of the bundle as it is"
    zstd -q -dc "$BUNDLE" >"$WORK/bundle.tar"
    skopeo copy -q --override-arch "$ARCH" "oci-archive:$WORK/bundle.tar:$image" "dir:$WORK/archive" || fail "skopeo"
    same_layers "$WORK/layout" "$wanted" "$WORK/archive/manifest.json"
    rm "$WORK/bundle.tar"
}

# The manifest that a client took is the one that the index names for this architecture.
same_layers() { # LAYOUT INDEX-DIGEST MANIFEST
    local child
    child=$(jq -r --arg a "$ARCH" '.manifests[] | select(.platform.architecture == $a) | .digest' "$1/blobs/sha256/${2#sha256:}")
    expect "digest of the copied manifest" "$child" "sha256:$(sha256_of "$3")"
}

test_crane() {
    part "crane pulls from kregistry"
    local port=15742 id
    id=$(kpack inspect --key "$PUB" --json "$BUNDLE" | jq -r .id)
    "$PREFIX/libexec/kpack/$ARCH/kregistry" --bundle "$BUNDLE" --id "$id" --plain 127.0.0.1:$port 2>"$WORK/kregistry.log" &
    REGISTRY=$!
    soon 20 curl -sf -o /dev/null "http://127.0.0.1:$port/healthz" || fail "kregistry: $(cat "$WORK/kregistry.log")"
    "$CRANE" pull --platform "linux/$ARCH" --format oci "127.0.0.1:$port/pause:3.9" "$WORK/crane" || fail "crane"
    expect "digest by crane" "$(jq -r '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == "registry.k8s.io/pause:3.9") | .digest' "$WORK/layout/index.json")" \
        "$("$CRANE" digest "127.0.0.1:$port/pause:3.9")"
    kill "$REGISTRY"
    wait "$REGISTRY" || fail "kregistry ended with $?"
    REGISTRY=''
}

e2e_begin create
test_create
test_same_bytes
test_killed
test_faults
test_full_disk
test_auditor
test_layout
test_crane
part end
