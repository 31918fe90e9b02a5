# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The site's network: one namespace with a bridge and no way out. The nodes' default routes, and the
# admin's, end there, where a counter sees every packet that wanted to leave.
# shellcheck disable=SC2034 # some are set for the other parts

SITE_NET6=fd77::/64
SITE_GATEWAY6=fd77::1
# Addresses for documentation (RFC 5737, RFC 3849): never a host of anyone's.
OUTSIDE4=192.0.2.53
OUTSIDE6=2001:db8::53

ip4_number() {
    local a b c d
    IFS=. read -r a b c d <<<"$1"
    echo $(((a << 24) + (b << 16) + (c << 8) + d))
}

ip4_text() { echo "$(($1 >> 24 & 255)).$(($1 >> 16 & 255)).$(($1 >> 8 & 255)).$(($1 & 255))"; }

# The network of ADDRESS PREFIX, as a.b.c.d/n.
ip4_network() {
    echo "$(ip4_text $(($(ip4_number "$1") & (0xffffffff << (32 - $2) & 0xffffffff))))/$2"
}

# The lowest host address of a network that none of the given addresses is.
ip4_free_host() {
    local network=$1 number address
    shift
    number=$(ip4_number "${network%/*}")
    while :; do
        number=$((number + 1))
        address=$(ip4_text "$number")
        [[ " $* " == *" $address "* ]] || break
    done
    echo "$address"
}

site_net_up() {
    local network gateway
    (
        # why: two first "ip netns add" at once spoil the shared mount that they both make
        flock 9
        ip netns add "$NETNS"
    ) 9>/run/lock/kpack-lab-netns.lock
    mkdir -p "/etc/netns/$NETNS"
    : >"/etc/netns/$NETNS/resolv.conf"
    ip -n "$NETNS" link set lo up
    ip -n "$NETNS" link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0
    ip netns exec "$NETNS" sysctl -qw net.ipv4.ip_forward=1 \
        net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.br0.send_redirects=0
    while read -r network gateway; do
        ip -n "$NETNS" addr add "$gateway/${network#*/}" dev br0
    done < <(jq -r '.networks[] | "\(.network) \(.gateway)"' "$NODES_JSON")
    ip -n "$NETNS" addr add "$SITE_GATEWAY6/64" dev br0 nodad
    ip -n "$NETNS" link set br0 up
    # why: the admin's way out is a cable whose other end goes nowhere; without a route its packets
    # would be refused before they could be counted
    ip -n "$NETNS" link add out0 type veth peer name nowhere0
    ip -n "$NETNS" link set out0 arp off up
    ip -n "$NETNS" link set nowhere0 arp off up
    ip -n "$NETNS" route add default dev out0
    ip -n "$NETNS" -6 route add default dev out0
    site_nft | ip netns exec "$NETNS" nft -f -
}

site_nft() {
    local networks gateways
    networks=$(jq -r '[.networks[].network] | join(", ")' "$NODES_JSON")
    gateways=$(jq -r '[.networks[].gateway] | join(", ")' "$NODES_JSON")
    cat <<EOF
table inet egress {
    counter dns4 { }
    counter dns6 { }
    counter other4 { }
    counter other6 { }
    set flows4 {
        type ipv4_addr . ipv4_addr . inet_proto . inet_service
        size 4096; flags dynamic; counter
    }
    set flows6 {
        type ipv6_addr . ipv6_addr . inet_proto . inet_service
        size 4096; flags dynamic; counter
    }
    set portless4 {
        type ipv4_addr . ipv4_addr . inet_proto
        size 4096; flags dynamic; counter
    }
    set portless6 {
        type ipv6_addr . ipv6_addr . inet_proto
        size 4096; flags dynamic; counter
    }
    chain tally {
        meta nfproto ipv4 meta l4proto { tcp, udp } update @flows4 { ip saddr . ip daddr . meta l4proto . th dport }
        meta nfproto ipv6 meta l4proto { tcp, udp } update @flows6 { ip6 saddr . ip6 daddr . meta l4proto . th dport }
        meta nfproto ipv4 meta l4proto != { tcp, udp } update @portless4 { ip saddr . ip daddr . meta l4proto }
        meta nfproto ipv6 meta l4proto != { tcp, udp } update @portless6 { ip6 saddr . ip6 daddr . meta l4proto }
        meta nfproto ipv4 meta l4proto { tcp, udp } th dport 53 counter name dns4 return
        meta nfproto ipv6 meta l4proto { tcp, udp } th dport 53 counter name dns6 return
        meta nfproto ipv4 counter name other4 return
        meta nfproto ipv6 counter name other6
    }
    chain judge {
        ip daddr { $networks, 224.0.0.0/24, 255.255.255.255 } return
        ip6 daddr { $SITE_NET6, fe80::/10, ff01::/16, ff02::/16 } return
        jump tally
    }
    chain from_nodes {
        type filter hook prerouting priority raw; policy accept;
        iifname != "br0" return
        ip daddr { $gateways } meta l4proto { tcp, udp } th dport 53 jump tally
        ip6 daddr $SITE_GATEWAY6 meta l4proto { tcp, udp } th dport 53 jump tally
        jump judge
    }
    chain from_admin {
        type filter hook output priority raw; policy accept;
        oifname "lo" meta l4proto { tcp, udp } th dport 53 jump tally
        oifname "out0" jump judge
    }
    chain between_networks {
        type filter hook forward priority filter; policy drop;
        iifname "br0" oifname "br0" accept
    }
}
EOF
}

site_net_down() {
    local name
    while read -r name; do
        ip netns del "$name"
    done < <(site_namespaces)
    rm -rf "/etc/netns/$NETNS"
    rmdir /etc/netns 2>/dev/null || true
}

site_namespaces() {
    local path
    for path in "/run/netns/$NETNS" "/run/netns/$NETNS".*; do
        [[ ! -e $path ]] || basename "$path"
    done
}

# A node's network is made anew at each boot, as a real one's is: what the product wants to find
# after a reboot it must have made permanent. A cut cable stays cut.
node_plug() {
    local node=$1 index ns port state=up
    index=$(node_field "$node" index)
    ns=$(node_netns "$node")
    port=p$index
    [[ ! -e $(node_run_file "$node" cut) ]] || state=down
    node_unplug "$node"
    ip netns add "$ns"
    ip -n "$ns" link set lo up
    # why: a network card keeps its address over a reboot; with a new one each time, the others would
    # send to the old one until their neighbour tables expire
    ip -n "$NETNS" link add "$port" type veth peer name eth0 \
        address "$(printf '02:6b:70:00:%02x:%02x' $((index >> 8)) $((index & 255)))" netns "$ns"
    ip -n "$NETNS" link set "$port" master br0 "$state"
    ip -n "$ns" addr add "$(node_field "$node" address)/$(node_field "$node" prefix)" dev eth0
    ip -n "$ns" addr add "$(node_field "$node" ip6)/64" dev eth0 nodad
    ip -n "$ns" link set eth0 up
    ip -n "$ns" route add default via "$(node_field "$node" gateway)"
    ip -n "$ns" -6 route add default via "$SITE_GATEWAY6"
}

node_unplug() {
    local node=$1 ns port
    ns=$(node_netns "$node")
    port=p$(node_field "$node" index)
    if ip -n "$NETNS" link show "$port" >/dev/null 2>&1; then
        ip -n "$NETNS" link del "$port"
    fi
    [[ ! -e /run/netns/$ns ]] || ip netns del "$ns"
}

# Cuts or mends a node's cable: the node itself sees that its link has no carrier.
node_link() {
    local node=$1 state=$2 cut port
    cut=$(node_run_file "$node" cut)
    port=p$(node_field "$node" index)
    if [[ $state == down ]]; then touch "$cut"; else rm -f "$cut"; fi
    if ip -n "$NETNS" link show "$port" >/dev/null 2>&1; then
        ip -n "$NETNS" link set "$port" "$state"
    fi
}
