#!/bin/sh
# written by kinstall: what this node's roles need, in the chains of its own firewall. nftables.service
# runs it behind its own rules. "check" looks whether all is there; "remove" takes it out.
# shellcheck disable=SC2034,SC2086 # a table is two words; the last line exits by status
mode=${1:-}
status=0

# The jumps to chain $3 in chain $2 of table $1.
jumps() { nft -a list chain $1 "$2" | sed -n "s/.*jump $3 .*# handle \([0-9]*\)\$/\1/p"; }

take_out() {
    for handle in $(jumps "$1" "$2" "$3"); do
        echo "delete rule $1 $2 handle $handle"
    done
    ! nft list chain $1 "$3" >/dev/null 2>&1 || echo "flush chain $1 $3"
}

put_in() {
    echo "add chain $1 $3"
    take_out "$1" "$2" "$3"
    while read -r rule; do
        echo "add rule $1 $3 $rule"
    done
    echo "insert rule $1 $2 jump $3 comment \"kpack\""
}

# Rules come on standard input. All of a chain's happen at once, or nothing. A chain that is not there
# (any more) needs nothing.
chain() {
    nft list chain $1 "$2" >/dev/null 2>&1 || return 0
    case $mode in
    check)
        [ "$(jumps "$1" "$2" "$3" | wc -l)" = 1 ] || status=1
        [ "$(nft list chain $1 "$3" 2>/dev/null | grep -c accept)" = "$(wc -l)" ] || status=1
        ;;
    remove)
        nft list chain $1 "$3" >/dev/null 2>&1 || return 0
        { take_out "$1" "$2" "$3" && echo "delete chain $1 $3"; } | nft -f - || status=1
        ;;
    *) put_in "$1" "$2" "$3" | nft -f - || status=1 ;;
    esac
}

chain 'inet site' in kpack-input <<'END'
iifname "lo" accept
ip saddr { 10.77.0.11, 10.77.0.12, 10.77.0.13 } tcp dport 5000 accept comment "mirror"
ip6 saddr { fd77::11, fd77::12 } tcp dport 5000 accept comment "mirror"
tcp dport 6443 accept comment "API server"
ip saddr { 10.77.0.11, 10.77.0.12, 10.77.0.13 } tcp dport 10250 accept comment "kubelet"
ip6 saddr { fd77::11, fd77::12 } tcp dport 10250 accept comment "kubelet"
tcp dport 30000-32767 accept comment "NodePorts"
udp dport 30000-32767 accept comment "NodePorts"
ip saddr { 10.77.0.11, 10.77.0.12, 10.77.0.13 } udp dport 8472 accept comment "VXLAN"
ip6 saddr { fd77::11, fd77::12 } udp dport 8472 accept comment "VXLAN"
ip saddr 10.233.64.0/18 accept
ip6 saddr fd10:233:64::/56 accept
icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
END

chain 'ip site4' through kpack-forward <<'END'
ip saddr 10.233.64.0/18 accept
ip daddr 10.233.64.0/18 accept
END

chain 'inet site' out kpack-output <<'END'
oifname "lo" accept
ip daddr { 10.77.0.11, 10.77.0.12, 10.77.0.13 } accept
ip6 daddr { fd77::11, fd77::12 } accept
ip daddr 10.233.64.0/18 accept
ip6 daddr fd10:233:64::/56 accept
ip daddr 10.233.0.0/18 accept
ip6 daddr fd10:233::/108 accept
END
exit $status
