#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# auditor_test.sh MAKER: a fresh bundle passes the auditor's commands; each tampered one does not.
# The unpacked layout and the archive itself are read by skopeo.
set -euo pipefail
maker=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$maker" "$work/x.tar.zst" "$work/site.pub"

fail() {
    echo "auditor_test: $*" >&2
    exit 1
}
refused() { # WHAT FILE
    if "$here/auditor.sh" "$2" "$work/site.pub" > "$work/log" 2>&1; then
        cat "$work/log" >&2
        fail "$1 was not noticed"
    fi
    echo "refused: $1"
}
flip() { # FILE OFFSET
    local byte
    byte=$(od -An -tu1 -j "$2" -N1 "$1")
    printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
tampered() { # WHAT OFFSET
    cp "$work/x.tar.zst" "$work/y.tar.zst"
    flip "$work/y.tar.zst" "$2"
    refused "$1" "$work/y.tar.zst"
}

"$here/auditor.sh" "$work/x.tar.zst" "$work/site.pub"
size=$(stat -c %s "$work/x.tar.zst")
tampered "a bit of bundle.json" 700
tampered "a bit of a tar header" 40
tampered "a bit in the middle" $((size / 2))
tampered "a bit of the last blob" $((size - 2000))

# repacked by a stranger with one entry more
mkdir "$work/t"
tar --zstd -xf "$work/x.tar.zst" -C "$work/t"
(cd "$work/t" && echo hello > extra &&
    tar --zstd -cf "$work/z.tar.zst" bundle.json bundle.sig bundle.leaves oci-layout index.json \
        blobs/sha256/* extra)
refused "an entry too many" "$work/z.tar.zst"

# a link in the place of a file
(cd "$work/t" && ln -sf /etc/hostname index.json &&
    tar --zstd -cf "$work/l.tar.zst" bundle.json bundle.sig bundle.leaves oci-layout index.json \
        blobs/sha256/*)
refused "a link" "$work/l.tar.zst"
tar --zstd -xf "$work/x.tar.zst" -C "$work/t"

# another key
openssl genpkey -algorithm ed25519 -out "$work/other.key" 2> /dev/null
openssl pkey -in "$work/other.key" -pubout -out "$work/other.pub"
if "$here/auditor.sh" "$work/x.tar.zst" "$work/other.pub" > /dev/null 2>&1; then
    fail "another key was taken"
fi

skopeo copy "oci:$work/t:registry.k8s.io/pause:3.9" "dir:$work/from-layout" > /dev/null
skopeo copy "oci-archive:$work/x.tar.zst:registry.k8s.io/pause:3.9" "dir:$work/from-archive" > /dev/null
cmp "$work/from-layout/manifest.json" "$work/from-archive/manifest.json"
echo "skopeo reads the layout and the archive"
