#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kregistry while its bundle is cut short, replaced, damaged and put back. usage: medium.sh BUNDLE_MAKE KREGISTRY
set -euo pipefail
export LC_ALL=C
MAKE=$(readlink -f "$1") KREGISTRY=$(readlink -f "$2")
WORK=$(mktemp -d /tmp/kpack-medium.XXXXXX)
SERVER=
trap '[[ -z $SERVER ]] || kill $SERVER; rm -rf "$WORK"' EXIT
cd "$WORK"
FAILED=0
fail() { echo "FAIL $*" >&2; FAILED=1; }
"$MAKE" x.tar.zst maker.pub
cp x.tar.zst good
BLOB=$(tar --zstd -xOf x.tar.zst bundle.json | grep -o '"path":"blobs/sha256/[0-9a-f]*","size":2109497' | cut -c22-85)
[[ ${#BLOB} == 64 ]] || { echo "no blob of that size" >&2; exit 1; }
PORT=$((20000 + RANDOM % 20000))
"$KREGISTRY" --bundle x.tar.zst --key maker.pub --plain 127.0.0.1:$PORT >log 2>&1 &
SERVER=$!
get() { curl -sS -D head -o body -w '%{http_code}' "http://127.0.0.1:$PORT/$1" || true; }
for _ in {1..100}; do
    [[ $(get healthz 2>/dev/null) != 200 ]] || break
    sleep 0.1
done
served() { # WHAT: the blob comes, whole, within 12 s
    for _ in {1..24}; do
        if [[ $(get blobs/sha256/$BLOB) == 200 ]]; then
            [[ $(sha256sum <body) == "$BLOB"* ]] || fail "$1: other bytes"
            return
        fi
        sleep 0.5
    done
    fail "$1: not served"
    cat log head >&2
}
refused() { # WHAT CODE
    local code
    code=$(get blobs/sha256/$BLOB)
    [[ $code == "$2" ]] || { fail "$1: $code, not $2"; cat log >&2; }
}
served "at first"

truncate -s 1000 x.tar.zst
refused "cut short" 503
grep -qi '^retry-after: 5' head || fail "no Retry-After"
[[ $(get healthz) == 200 && $(head -1 body) == degraded ]] || fail "healthz is not degraded"
cat good >x.tar.zst
served "put back"
[[ $(get metrics) == 200 ]] && grep -q '^kregistry_medium_doubts_total [1-9]' body || fail "metrics"
grep -q "x.tar.zst" log || fail "the medium is not named"

head -c "$(stat -c %s good)" /dev/urandom >other
mv other x.tar.zst # the old file is still open, but that is not what is there
refused "another file" 503
cp good again && mv again x.tar.zst
served "the same file again"

AT=$(grep -abo "$BLOB" x.tar.zst | tail -1 | cut -d: -f1)
printf '\x01\x02\x03' | dd of=x.tar.zst bs=1 seek=$((AT + 5000)) conv=notrunc status=none
refused "damaged after it was verified" 404
cat good >x.tar.zst
served "repaired"
exit $FAILED
