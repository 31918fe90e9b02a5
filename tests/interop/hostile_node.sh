#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# hostile_node.sh DRIVER MAKE_NODE_BUNDLE KNODE: kinstall's side of a session against a node that lies.
# An `ssh` of our own stands first in PATH and plays sshd, shell and knode: it answers the handshake
# and then what its case says. Each time the session must end soon, with an error that names the node.
# ok and bad cannot fail, so A && ok || bad is what it looks like.
# shellcheck disable=SC2015
set -uo pipefail
driver=$1 maker=$2 knode=$3
work=$(mktemp -d /tmp/kpack-hostile.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/home"
failures=0
ok() { echo "ok: $1"; }
bad() { echo "FAILED: $1"; failures=$((failures + 1)); }

cat >"$work/bin/ssh" <<'END'
#!/usr/bin/env bash
# The last word of the remote command is the nonce.
exec 2>/dev/null
nonce=${*: -1}
nonce=${nonce##* }
byte() { printf "\\x$(printf %02x "$1")"; }
frame() { # TYPE FLAGS ID LENGTH: the header
    byte "$1"; byte "$2"; printf '\0\0'
    local n
    for n in $3 $4; do byte $((n >> 24 & 255)); byte $((n >> 16 & 255)); byte $((n >> 8 & 255)); byte $((n & 255)); done
}
DATA=2 CREDIT=3 NOTE=4 RESULT=5 ERROR=6 MORE=1
say() { frame "$1" "${3:-0}" "${4:-1}" ${#2}; printf %s "$2"; }
big() { head -c "$1" /dev/zero | tr '\0' "${2:-x}"; }
# An answer that comes before its question is nobody's.
accept() { say $RESULT '{"id":"x","serial":1,"first_contact":true}'; sleep 0.5; }
LC_ALL=C
case $HOSTILE in
    loud) while big 65536; do :; done ;;
    other_nonce) echo "kpack-place/1 00000000000000000000000000000000 x86_64 0"; exit ;;
    no_arch) echo "kpack-place/1 $nonce evil 0"; exit ;;
esac
echo "kpack-place/1 $nonce x86_64 0"
read -r _
echo "kpack-have $nonce"
echo "kpack-knode/1 $nonce"
sleep 0.5
case $HOSTILE in
    ends) exit ;;
    wrong_id) say $RESULT '{}' 0 77 ;;
    oversize_frame) frame $RESULT 0 1 2147483647 ;;
    frame_one_too_long) frame $RESULT 0 1 65537; big 65537 ;;
    unknown_type) frame 200 0 1 0 ;;
    unknown_flags) frame $RESULT 128 1 2; printf '{}' ;;
    a_request) say 1 '{"op":"facts"}' ;;
    flood_of_data) for _ in $(seq 40); do frame $DATA 0 1 65536; big 65536; done ;;
    endless_get) accept; while frame $DATA 0 2 65536 && big 65536; do :; done ;;
    endless_answer) for _ in $(seq 80); do frame $RESULT $MORE 1 65536; big 65536; done ;;
    endless_note) for _ in $(seq 20); do frame $NOTE $MORE 1 65536; big 65536; done ;;
    flood_of_credit) for _ in 1 2; do frame $CREDIT 0 1 4; printf '\xff\xff\xff\xff'; done ;;
    short_credit) frame $CREDIT 0 1 2; printf '\0\1' ;;
    no_json) say $RESULT 'nonsense' ;;
    cut_json) say $RESULT '{"id":' ;;
    not_utf8) say $RESULT $'{"id":"\xff\xfe"}' ;;
    deep_json) say $RESULT "$(big 20000 '[')" ;;
    twice_json) say $RESULT '{"a":1,"a":2}' ;;
    strange_error) say $ERROR '{"code":-7,"message":5,"reason":["x"]}' ;;
    error_is_no_object) say $ERROR '[]' ;;
    long_error) say $ERROR "{\"code\":1,\"message\":\"$(big 60000)\"}" ;;
    cut_frame) frame $RESULT 0 1 500; printf 'half' ;;
    facts_are_a_list) accept; say $RESULT '[]' 0 2; say $RESULT '{"utc_ns":1}' 0 3 ;;
    changed_is_a_word) accept; say $RESULT '{"changed":"yes"}' 0 2 ;;
    get_lies_about_size) accept; say $DATA 'abc' 0 2; say $RESULT '{"found":true,"size":4}' 0 2 ;;
    status_is_a_word) accept; say $RESULT '{"status":"fine"}' 0 2 ;;
    placed_without_word) accept; say $RESULT '{"changed":true}' 0 2 ;;
    placed_elsewhere) accept; say $RESULT '{"changed":true,"placed":"{\"path\":\"/etc/shadow\"}"}' 0 2 ;;
    placed_other_bytes) accept; say $RESULT '{"changed":true,"placed":"{\"path\":\"/opt/kpack-test/x\",\"sha256\":\"00\"}"}' 0 2 ;;
    placed_no_json) accept; say $RESULT '{"changed":true,"placed":"nonsense"}' 0 2 ;;
    offset_beyond) accept; say $NOTE '{"need":true,"offset":99999999999999}' 0 2 ;;
esac
# What kinstall still sends is taken, as by a node that is alive, for a while.
timeout 3 cat >/dev/null
END
chmod +x "$work/bin/ssh"
case $(uname -m) in x86_64) ;; *) sed -i "s/x86_64 0/$(uname -m) 0/" "$work/bin/ssh" ;; esac
"$maker" "$work" "$knode" 2 100KB >/dev/null || { echo "no bundle"; exit 1; }
ssh-keygen -q -t ed25519 -N '' -f "$work/host"
host_key=$(cut -d' ' -f1,2 "$work/host.pub")

# try CASE WORDS…: "reason, or a part of the message" must be in the error
try() {
    local name=$1 want=$2 out began=$SECONDS code
    shift 2
    out=$(HOSTILE=$name PATH=$work/bin:$PATH HOME=$work/home DRIVER_WITNESS=1 timeout 30 "$driver" --bundle "$work/test.tar.zst" \
        --trust "$work/test.pub" --transport openssh --key "$work/host" --host-key "$host_key" -- "$@" 2>"$work/err")
    code=$?
    if grep -qE 'Sanitizer:|runtime error:' "$work/err"; then bad "$name: $(head -5 "$work/err")"; return; fi
    if [ "$code" = 0 ] || [ "$code" -ge 100 ]; then bad "$name: exit code $code: $out"; return; fi
    ((SECONDS - began < 25)) || { bad "$name took $((SECONDS - began)) s"; return; }
    [[ $out == *"node "* ]] || { bad "$name: the node is not named: $out"; return; }
    [[ $out =~ $want ]] && ok "$name: ${out:0:140}" || bad "$name: no \"$want\": ${out:0:400}"
}

try loud 'error noise' run true
try other_nonce 'error' run true
try no_arch 'no_arch' run true
try ends 'connection_lost' run true
try wrong_id 'connection_lost' run true
try oversize_frame 'frame|connection_lost' run true
try frame_one_too_long 'frame|connection_lost' run true
try unknown_type 'connection_lost|bad_frame' run true
try unknown_flags 'connection_lost|bad_frame' run true
try a_request 'sent a request' run true
try flood_of_data 'data that nobody asked for|more than it may' run true
try endless_get 'data that nobody asked for|more than it may' get /opt/kpack-test/x
try endless_answer 'an answer too long' run true
try endless_note 'a note too long' run true
try flood_of_credit 'more credit' run true
try short_credit 'connection_lost|bad_frame' run true
try no_json 'answer' run true
try cut_json 'answer' run true
try not_utf8 'answer' run true
try deep_json 'answer' run true
try twice_json 'answer' run true
try strange_error 'unknown error' run true
try error_is_no_object 'unknown error' run true
try long_error 'xxxx' run true
try cut_frame 'connection_lost' run true
try facts_are_a_list 'bad_reply' facts
try changed_is_a_word 'bad_reply' put /opt/kpack-test/x text 0644
try get_lies_about_size 'bad_reply' get /opt/kpack-test/x
try status_is_a_word 'bad_reply' run true
try placed_without_word 'bad_reply' put /opt/kpack-test/x text 0644
try placed_elsewhere 'bad_reply.*/etc/shadow' put /opt/kpack-test/x text 0644
try placed_other_bytes 'damaged' put /opt/kpack-test/x text 0644
try placed_no_json 'error' put /opt/kpack-test/x text 0644
try offset_beyond 'bad_reply' fetch big
[ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
