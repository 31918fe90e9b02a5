#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A medium that really fails: a file system that answers EIO for some bytes, gives other bytes without telling,
# or goes away altogether, under kpack, kinstall and kregistry. usage: failing_medium.sh FAILING_FS BUNDLE_MAKE KPACK
# KINSTALL KREGISTRY
set -euo pipefail
export LC_ALL=C NO_COLOR=1
FS=$(readlink -f "$1") MAKE=$(readlink -f "$2") KPACK=$(readlink -f "$3") KINSTALL=$(readlink -f "$4") KREGISTRY=$(readlink -f "$5")
[[ -r /dev/fuse && -w /dev/fuse ]] && command -v fusermount3 >/dev/null || { echo "no FUSE here"; exit 77; }
WORK=$(mktemp -d /tmp/kpack-failing.XXXXXX)
SERVER='' MEDIUM=''
cleanup() {
    [[ -z $SERVER ]] || kill "$SERVER" 2>/dev/null || true
    fusermount3 -uzq "$WORK/stick" 2>/dev/null || true
    [[ -z $MEDIUM ]] || kill "$MEDIUM" 2>/dev/null || true
    rm -rf "$WORK"
}
trap cleanup EXIT
cd "$WORK"
export HOME=$WORK XDG_CONFIG_HOME=$WORK/config XDG_CACHE_HOME=$WORK/cache
FAILED=0
fail() { echo "FAIL $*" >&2; FAILED=1; }
ran() { # CODE TEXT PROGRAM ARGS…: ends with that code, and TEXT is in what it says
    local wanted=$1 text=$2 code=0
    shift 2
    "$@" >out 2>&1 || code=$?
    [[ $code == "$wanted" ]] || { fail "$*: exit code $code, not $wanted"; cat out >&2; }
    grep -qF -- "$text" out || { fail "$*: '$text' is not in:"; cat out >&2; }
}
plug_in() {
    "$FS" "$WORK/files" "$WORK/control" "$WORK/stick" &
    MEDIUM=$!
    for _ in {1..100}; do
        if mountpoint -q stick; then return; fi
        sleep 0.05
    done
    echo "the file system did not come up" >&2
    exit 1
}
pull_out() { # a reader's open file stays, and answers that nothing is there any more
    fusermount3 -uz "$WORK/stick"
    kill -KILL "$MEDIUM" 2>/dev/null || true
    wait "$MEDIUM" 2>/dev/null || true
    MEDIUM=''
}

mkdir files stick
"$MAKE" files/x.tar.zst maker.pub
: >control
"$KPACK" keygen site >/dev/null 2>&1
"$KPACK" sign files/x.tar.zst >/dev/null 2>&1
mkdir files/sliced
"$KPACK" split files/x.tar.zst --size 1500000 -o files/sliced/x.tar.zst >/dev/null 2>&1
BLOB=$(tar --zstd -xOf files/x.tar.zst bundle.json | grep -o '"path":"blobs/sha256/[0-9a-f]*","size":2109497' | cut -c22-85)
[[ ${#BLOB} == 64 ]] || { echo "no blob of that size" >&2; exit 1; }
OTHER=$(tar --zstd -xOf files/x.tar.zst bundle.json | grep -o '"path":"blobs/sha256/[0-9a-f]*","size":1048577' | cut -c22-85)
[[ ${#OTHER} == 64 ]] || { echo "no other blob" >&2; exit 1; }
AT=$(grep -abo "blobs/sha256/$BLOB" files/x.tar.zst | tail -1 | cut -d: -f1)
plug_in
ran 0 "ok " "$KPACK" verify stick/x.tar.zst

# --- reads that fail
echo "x.tar.zst $((AT + 1200000)) $((AT + 1200100)) 5" >control
ran 1 "stick/x.tar.zst: bytes " "$KPACK" verify stick/x.tar.zst
grep -q "cannot be read: Input/output error" out || { fail "verify: no I/O error"; cat out >&2; }
first=$(sed -n 's/.*bytes \([0-9 ]*\) – .*/\1/p' out | sed -n 1p | tr -d ' ')
last=$(sed -n 's/.* – \([0-9 ]*\) cannot be read.*/\1/p' out | sed -n 1p | tr -d ' ')
((first <= AT + 1200000 && AT + 1200000 <= last && last - first < 1200000)) || fail "range $first – $last, it fails at $((AT + 1200000))"
[[ $("$KPACK" verify --json stick/x.tar.zst 2>/dev/null | jq -r .reason) == io_error ]] || fail "reason of --json"
# repaired onto another disk from two media that fail at different places
cp files/x.tar.zst third
printf 'xxxx' | dd of=third bs=1 seek=$((AT + 1200050)) conv=notrunc status=none
ran 5 "no copy has them right" "$KPACK" repair third --from stick/x.tar.zst
ran 0 "1 range" "$KPACK" repair third --from stick/x.tar.zst --from files/sliced
cmp third files/x.tar.zst || fail "repaired from failing media"
# the site: before it knows any node kinstall reads every byte
printf 'cluster: c\nssh: {user: root}\nnodes:\n  - {name: a, address: 127.0.0.1, roles: [control-plane], host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMeG9WcxHPrkmgoXBLwGBmSEHHLUPlRuMTnbL3BgXNbJ"}\n' >hosts.yaml
ran 1 "cannot be read: Input/output error" "$KINSTALL" check --bundle stick/x.tar.zst -i hosts.yaml --key config/kpack/trusted.d/site.pub
grep -q "if the medium was pulled out put it back" out || { fail "kinstall: no way out is named"; cat out >&2; }
: >control
ran 0 "ok " "$KPACK" verify stick/x.tar.zst

# --- under kregistry
PORT=$((20000 + RANDOM % 20000))
echo "x.tar.zst $((AT + 1200000)) $((AT + 1200100)) 5" >control
"$KREGISTRY" --bundle stick/x.tar.zst --key maker.pub --plain 127.0.0.1:$PORT >log 2>&1 &
SERVER=$!
get() { curl -sS -D head -o body -w '%{http_code}' "http://127.0.0.1:$PORT/$1" 2>/dev/null || true; }
for _ in {1..100}; do
    [[ $(get healthz) != 200 ]] || break
    sleep 0.1
done
served() { # WHAT DIGEST: comes whole within 15 s
    for _ in {1..30}; do
        if [[ $(get blobs/sha256/$2) == 200 && $(sha256sum <body) == "$2"* ]]; then return; fi
        sleep 0.5
    done
    fail "$1: not served"
    cat log head >&2
}
refused() { # WHAT CODE DIGEST
    local code
    code=$(get blobs/sha256/$3)
    [[ $code == "$2" ]] || { fail "$1: $code, not $2"; cat log >&2; }
}
refused "bytes that cannot be read" 503 $BLOB
served "the rest meanwhile" $OTHER
: >control
served "once it can be read" $BLOB

# a file system that tells nothing: other bytes under the same size and times
echo "x.tar.zst $((AT + 1200000)) $((AT + 1200100)) flip" >control
get blobs/sha256/$BLOB >/dev/null
cmp -s body <(tar --zstd -xOf files/x.tar.zst blobs/sha256/$BLOB) && fail "the changed range was not read at all"
[[ $(stat -c %s body) -le 1200000 ]] || fail "bytes went out that nobody has verified"
refused "changed without a trace" 404 $BLOB
served "the rest meanwhile" $OTHER
: >control

# --- pulled out under it
pull_out
refused "pulled out" 503 $OTHER
[[ $(get healthz) == 200 && $(head -1 body) == degraded ]] || fail "healthz is not degraded"
grep -q "Transport endpoint is not connected\|no such file" log || { fail "why is not said"; cat log >&2; }
plug_in
served "put back" $OTHER
served "put back" $BLOB
kill "$SERVER"
wait "$SERVER" || fail "kregistry ended with $?"
SERVER=''
grep -q "Sanitizer:\|runtime error:" log && cat log
exit $FAILED
