# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What tried to leave the site, and the proof that the counter would have seen it.

egress_json() { ip netns exec "$NETNS" nft -j list table inet egress; }

# Packets counted: of one kind (dns4, dns6, other4, other6), or all.
egress_count() {
    egress_json | jq --arg kind "${1:-}" \
        '[.nftables[].counter? | select(. != null and ($kind == "" or .name == $kind)) | .packets] | add // 0'
}

# One line per counter, then one per flow: from, to, protocol, port, packets.
egress_detail() {
    egress_json | jq -r '
        (.nftables[].counter? | select(. != null) | "\(.name) \(.packets)"),
        (.nftables[].set? | select(. != null) | .elem[]?.elem
            | "\(.val.concat | map(tostring) | join(" ")) packets=\(.counter.packets)")'
}

egress_reset() {
    ip netns exec "$NETNS" nft -f - <<<'reset counters table inet egress
flush set inet egress flows4
flush set inet egress flows6
flush set inet egress portless4
flush set inet egress portless6' >/dev/null
}

# Sends, from where it runs, a ping and a DNS query (example.com, A) to the outside, in both families.
# shellcheck disable=SC2016 # expanded by the shell that gets it
EGRESS_PROBE='
query="\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"
ping -4 -n -q -c1 -W0.2 "$1" >/dev/null 2>&1
ping -6 -n -q -c1 -W0.2 "$2" >/dev/null 2>&1
printf "$query" >"/dev/udp/$1/53"
printf "$query" >"/dev/udp/$2/53"'

# Fails unless each kind of packet, from each running node and from the admin, raises its counter.
egress_selftest() {
    local node
    egress_selftest_from admin ip netns exec "$NETNS"
    for node in $(node_names); do
        [[ -z $(node_init "$node") ]] || egress_selftest_from "$node" node_run "$node"
    done
    say "the counter now stands at $(egress_count); \"site egress reset\" sets it to 0"
}

egress_selftest_from() {
    local who=$1 kind before after
    local -A count=()
    shift
    for kind in dns4 dns6 other4 other6; do
        count[$kind]=$(egress_count "$kind")
    done
    "$@" bash -c "$EGRESS_PROBE" probe "$OUTSIDE4" "$OUTSIDE6"
    for kind in dns4 dns6 other4 other6; do
        before=${count[$kind]} after=$(egress_count "$kind")
        ((after > before)) ||
            die "egress selftest: a packet from $who to the outside did not raise $kind ($before, then $after)"
    done
    say "egress selftest: ping and DNS query from $who, IPv4 and IPv6: counted"
}
