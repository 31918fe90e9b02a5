#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# One bit flipped at 200 places of a bundle: headers, frames, padding, manifest and signature block
# among them. Each time kpack verify exits 3 or 4 and names the entry, and kinstall ends before it
# sends one packet. Where the entries lie is computed here from docs/format.md, not asked of kpack.
# Needs root (for a network namespace). Run: tests/e2e/tamper.sh [SEED]
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

PLACES=200
SEED=${1:-$(date +%s)}
BLOCK=131072 HEAD=529 # bytes of a full zstd block; of a header's frame

# Lists "start end kind path" (end exclusive) of every run of bytes: header, frame (zstd's headers),
# content, padding. One line per entry and kind, blocks of content as a whole.
map_bundle() {
    local offset=0 path size
    while read -r path size; do
        map_entry "$path" "$size"
    done < <(
        tar --zstd -xOf "$1" bundle.json >"$WORK/bundle.json"
        echo "bundle.json $(stat -c %s "$WORK/bundle.json")"
        echo "bundle.sig 16384"
        jq -r '.entries[] | "\(.path) \(.size)"' "$WORK/bundle.json"
    )
    echo "$offset $((offset + 14 + 3 + 1024)) end end"
}

map_entry() { # PATH SIZE; moves offset on
    local path=$1 size=$2 padded blocks body
    echo "$offset $((offset + HEAD)) header $path"
    offset=$((offset + HEAD))
    ((size > 0)) || return 0
    padded=$(((size + 511) / 512 * 512)) blocks=$(((padded + BLOCK - 1) / BLOCK))
    body=$((14 + 3 * blocks + padded))
    echo "$offset $((offset + 17)) frame $path"
    echo "$((offset + 17)) $((offset + body - (padded - size))) content $path"
    ((padded == size)) || echo "$((offset + body - (padded - size))) $((offset + body)) padding $path"
    offset=$((offset + body))
}

# Sets RND: a command substitution would be a subshell, whose RANDOM begins anew.
random_below() { RND=$(((RANDOM << 30 | RANDOM << 15 | RANDOM) % $1)); }

# A place inside a random line of the map of one kind (and path): sets PLACE, KIND, ENTRY.
choose() { # KIND-PATTERN
    local -a lines
    local start end
    mapfile -t lines < <(grep -E "^[0-9]+ [0-9]+ $1" "$WORK/map")
    random_below ${#lines[@]}
    read -r start end KIND ENTRY <<<"${lines[RND]}"
    random_below $((end - start))
    PLACE=$((start + RND))
}

# Any byte of the file, each as likely as the other.
choose_any() {
    random_below "$FILE_SIZE"
    PLACE=$RND
    read -r KIND ENTRY < <(awk -v p="$PLACE" '$1 <= p && p < $2 { print $3, $4 }' "$WORK/map")
}

choose_nth() {
    case $(($1 % 10)) in
        0) choose 'header blobs/' ;;
        1) choose 'frame ' ;;
        2) choose 'padding ' ;;
        3) choose 'content bundle.sig' ;;
        4) choose 'content bundle.json' ;;
        5) choose '(header|frame|padding|content) (bundle.leaves|oci-layout|index.json|bundle.json|bundle.sig)' ;;
        6) choose 'content blobs/' ;; # small blobs are as likely as large ones
        7) if (($1 % 50 == 7)); then choose 'end '; else choose_any; fi ;;
        *) choose_any ;;
    esac
}

flip() { # PLACE BIT
    local byte
    byte=$(od -An -tu1 -j "$1" -N 1 "$COPY")
    # shellcheck disable=SC2059 # the format is the byte
    printf "\\x$(printf %02x $((byte ^ (1 << $2))))" | dd of="$COPY" bs=1 seek="$1" conv=notrunc status=none
}

# TCP connections begun and packets sent in this network namespace.
packets() { awk '/^Tcp: [0-9]/ { tcp = $6 } END { print tcp }' /proc/net/snmp; }
sent() { awk '$1 == "lo:" { print $10 }' /proc/net/dev; }

names_entry() { # OUTPUT
    case $ENTRY in
        bundle.json | bundle.sig) [[ $1 =~ bundle\.(json|sig)|signature|signed ]] ;;
        end) [[ $1 == *end* ]] ;;
        *) [[ $1 == *"$ENTRY"* ]] ;;
    esac
}

kinstall_here() { in_home "$PREFIX/libexec/kpack/$ARCH/kinstall" --bundle "$COPY" -i "$WORK/hosts.yaml" --key "$PUB" "$@"; }

try_place() {
    local bit=$((RANDOM % 8)) began
    began=$(packets)
    flip "$PLACE" "$bit"
    refused "3|4" kpack verify --key "$PUB" "$COPY"
    names_entry "$OUTPUT" || fail "byte $PLACE bit $bit ($KIND of $ENTRY): the entry is not named: $OUTPUT"
    refused "3|4" kinstall_here
    expect "connections begun with byte $PLACE bit $bit ($KIND of $ENTRY) flipped" "$began" "$(packets)"
    flip "$PLACE" "$bit"
}

# Runs in a network namespace of its own: nothing else sends there.
inside() {
    local i
    local -A kinds=()
    ip link set lo up
    RANDOM=$SEED
    part "the bundle as it is: verified, and kinstall begins to connect"
    kpack verify --key "$PUB" "$COPY" >/dev/null
    local before
    before=$(packets)
    refused 1 kinstall_here
    (($(packets) > before)) || fail "the counter of connections does not count: $OUTPUT"
    local sent_before
    sent_before=$(sent)
    part "$PLACES places, one bit each (seed $SEED)"
    for ((i = 0; i < PLACES; i++)); do
        choose_nth "$i"
        try_place
        kinds[$KIND]=$((${kinds[$KIND]:-0} + 1))
    done
    expect "bytes sent" "$sent_before" "$(sent)"
    for i in "${!kinds[@]}"; do say "$i: ${kinds[$i]}"; done
    part "and the bundle is what it was"
    expect "sha256" "$SUM" "$(sha256_of "$COPY")"
    kpack verify --key "$PUB" "$COPY" >/dev/null
    part "cut short, and something behind"
    truncate -s -1 "$COPY"
    refused 4 kpack verify --key "$PUB" "$COPY"
    cp "$BUNDLE" "$COPY"
    printf '\0' >>"$COPY"
    refused 4 kpack verify --key "$PUB" "$COPY"
    part end
}

if [[ ${2:-} == inside ]]; then
    inside
    exit
fi
e2e_begin tamper
part "the bundle and its map"
shared_bundle
COPY=$WORK/k8s.tar.zst
cp "$BUNDLE" "$COPY"
FILE_SIZE=$(stat -c %s "$COPY") SUM=$(sha256_of "$COPY")
map_bundle "$COPY" >"$WORK/map"
expect "end of the map" "$FILE_SIZE" "$(awk 'END { print $2 }' "$WORK/map")"
say "$(wc -l <"$WORK/map") runs of bytes in $FILE_SIZE bytes"
host_key=$(ssh-keygen -q -t ed25519 -N '' -f "$WORK/host" && cut -d' ' -f1,2 "$WORK/host.pub")
cat >"$WORK/hosts.yaml" <<END
cluster: tamper
ssh: {user: root, key: $WORK/host, connect_timeout: 2}
nodes:
  - {name: cp1, address: 127.0.0.1, roles: [control-plane], host_key: "$host_key"}
END
export WORK COPY PUB BUNDLE FILE_SIZE SUM
part end
unshare --net bash "${BASH_SOURCE[0]}" "$SEED" inside
