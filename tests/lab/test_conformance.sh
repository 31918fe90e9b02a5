#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/lab/test_conformance.sh BUILD_DIR: the pull half of the conformance suite of the OCI
# distribution specification against kregistry. The suite is built from its Go modules, once.
set -euo pipefail
BUILD=$(readlink -f "${1:?usage: $0 BUILD_DIR}")
MODULE=github.com/opencontainers/distribution-spec/conformance
VERSION=v0.0.0-20260831232431-97274622c111
CACHE=${KPACK_LAB_CACHE:-$HOME/.cache/kpack-lab}/conformance/$VERSION
# Where tests/lab/upstream looks for Go, or has put it.
PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin:/usr/lib/go-1.23/bin:${KPACK_LAB_CACHE:-$HOME/.cache/kpack-lab}/upstream/go-venv/bin
WORK=$(mktemp -d /tmp/kp-conformance-XXXXXX)
pid=
cleanup() {
    [[ -z $pid ]] || kill "$pid" 2>/dev/null || true
    rm -rf "$WORK"
}
trap cleanup EXIT

if [[ ! -x $CACHE/conformance ]]; then
    mkdir -p "$CACHE" "$WORK/module"
    (
        cd "$WORK/module"
        export CGO_ENABLED=0 GOFLAGS=-mod=mod GOTOOLCHAIN=auto
        go mod init conformance.test
        go get "$MODULE@$VERSION"
        go build -o "$CACHE/conformance" "$MODULE"
    ) >"$WORK/build.log" 2>&1 || { cat "$WORK/build.log"; exit 1; }
fi

cd "$WORK"
kregistry=$(find "$BUILD/libexec" -name kregistry -type f -print -quit)
[[ -n $kregistry ]] || { echo "no kregistry in $BUILD" >&2; exit 2; }
id=$("$BUILD/tests/interop/make_bundle" site 2 64Ki)
# What the suite is told to ask for comes from the signed manifest: `KEY` of the first line with TEXT.
listed() { # TEXT KEY
    tar --zstd -xOf site/test.tar.zst bundle.json | grep -F "$1" | sed -n 1p | grep -oE "\"$2\":\"[0-9a-f]{64}\"" | cut -d'"' -f4
}
index=$(listed '"reference":"registry.k8s.io/img0:v1"' digest)
layer=$(listed '"media_type":"application/vnd.oci.image.layer' sha256)
"$kregistry" --bundle site/test.tar.zst --id "$id" --plain 127.0.0.1:0 2>log &
pid=$!
for _ in {1..100}; do
    grep -q 'serving on' log && break
    sleep 0.1
done
url=$(sed -n 's,.*\(http://[^ ]*\)$,\1,p' log | sed -n 1p)
[[ -n $url ]] || { cat log; exit 1; }

OCI_ROOT_URL=$url OCI_NAMESPACE=img0 OCI_TAG_NAME=v1 OCI_TAG_LIST=v1 \
    OCI_MANIFEST_DIGEST=sha256:$index OCI_BLOB_DIGEST=sha256:$layer \
    OCI_TEST_PULL=1 OCI_TEST_CONTENT_DISCOVERY=1 OCI_TEST_PUSH=0 OCI_TEST_CONTENT_MANAGEMENT=0 \
    OCI_RESULTS_DIR=$WORK/results timeout 120 "$CACHE/conformance" >out 2>&1 || true # judged by its table
grep -E '^ .*: +(Pass|FAIL|Error|Skip|[0-9]+)$' out || { cat out; exit 1; }
failed=0
for what in 'Tag listing' 'Blob get' 'Blob head' 'Manifest get by digest' 'Manifest get by tag' \
    'Manifest head by digest' 'Manifest head by tag' Referrers Ping; do
    grep -qE "^  $what\.*: +Pass$" out || { echo "FAIL  $what"; failed=1; }
done
grep -qE '^  FAIL\.*: +0$' out && grep -qE '^  Error\.*: +0$' out || { cat out; failed=1; }
exit "$failed"
