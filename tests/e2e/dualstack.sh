#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The cluster's own network: both families at once, an MTU and a VXLAN port of the site's, kube-proxy
# by nftables, a site without DNS, and nodes whose own firewall drops what nobody asked for.
# "long": IPv6 alone, on nodes with firewalld and ufw. Needs root. Run: tests/e2e/dualstack.sh [long]
# shellcheck disable=SC2016 # single quotes: for the shells of the nodes
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

CLUSTER=net
MODE=${1:-}

run() { "$SITE" run "$@"; }
with_all() { kinstall "$@" --key "$PUB" --bundle "$BUNDLE" -i "$WORK/hosts.yaml"; }
ip6_of() { jq -r --arg n "$1" '.nodes[] | select(.name == $n) | .ip6' <<<"$INFO"; }

# Debian's example of a workstation's rules, and what lets the admin in.
drop_all() {
    run "$1" -- sh -ec 'cat >/etc/nftables.conf <<END
#!/usr/sbin/nft -f
flush ruleset
table inet filter {
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iif lo accept
        icmp type echo-request accept
        icmpv6 type { echo-request, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
        tcp dport 22 accept
    }
    chain forward { type filter hook forward priority 0; policy drop; }
    chain output { type filter hook output priority 0; policy accept; }
}
END
systemctl enable --now nftables 2>/dev/null'
}

rules() { run "$1" -- nft list table inet filter; }

# Whether TCP to a port of the node w1 gets through, from cp1.
reaches() { run cp1 -- socat -u /dev/null "TCP:$1,connect-timeout=2" 2>/dev/null; }

write_inventory() {
    "$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/plain.yaml"
    local name
    cp "$WORK/plain.yaml" "$WORK/hosts.yaml"
    for name in cp1 w1; do
        sed -i -E "s/(name: $name, .*)address: ([0-9.]+)/\1address: $(address_of "$name")/" "$WORK/hosts.yaml"
    done
    sed -i -E "s/^kubernetes: \{/kubernetes: {$1, /" "$WORK/hosts.yaml"
}

test_plan() {
    part "plan shows what the nodes' firewalls get, and changes nothing"
    rules w1 >"$WORK/w1.before"
    with_all plan >"$WORK/out" 2>&1 || fail "plan: $(tail -n 40 "$WORK/out")"
    contains "plan" "$(cat "$WORK/out")" "tcp dport 10250 accept" "udp dport 4789 accept" "open the ports of its roles in nftables"
    expect "rules" "$(cat "$WORK/w1.before")" "$(rules w1)"
}

test_install() {
    part "two nodes with both families"
    "$SITE" egress reset
    with_all >"$WORK/out" 2>&1 || fail "install: $(tail -n 40 "$WORK/out")"
    say "$(tail -n 2 "$WORK/out" | sed -n 1p)"
    fetch_kubectl
    expect "ready" "cp1=True w1=True" "$(ready_nodes)"
}

# What `prove` asked, by its own report.
proven() { jq -r --arg n "$1" '.checks[] | select(.name == $n) | "\(.ok) \(.detail)"' "$WORK/$CLUSTER.state/report.json"; }

test_families() {
    part "DNS, pod to pod and Service by both families; nodes have addresses and parts of both"
    contains "pairs" "$(proven "pod to pod")" "true" "by IPv4 and IPv6"
    contains "service" "$(proven service)" "true" "10.233." "fd10:233::"
    expect "addresses" "10.77.0.12 $(ip6_of w1)" "$(kubectl get node w1 -o json | jq -r '[.status.addresses[] | select(.type == "InternalIP") | .address] | join(" ")')"
    expect "parts" 2 "$(kubectl get node w1 -o json | jq '.spec.podCIDRs | length')"
    # The certificate has the other family's address too.
    kubectl --server "https://[$(ip6_of cp1)]:6443" --tls-server-name '' get --raw /readyz >/dev/null || fail "the API by IPv6"
    seen dual-stack running
}

test_vxlan() {
    part "MTU and port of VXLAN are the inventory's"
    contains "flannel.1" "$(run w1 -- ip -d link show flannel.1)" "dstport 4789" "mtu 1400"
    contains "flannel-v6.1" "$(run w1 -- ip -d link show flannel-v6.1)" "dstport 4789" "mtu 1400"
    contains "pods" "$(run w1 -- ip link show cni0)" "mtu 1400"
    seen mtu-vxlan-port running
}

test_proxy() {
    part "kube-proxy works by nftables and by nothing else"
    contains "tables" "$(run w1 -- nft list tables)" "ip kube-proxy" "ip6 kube-proxy"
    ! run w1 -- sh -c 'iptables-save | grep KUBE-SERVICES' || fail "iptables has rules of kube-proxy"
    expect "after a boot" nf_tables "$(run w1 -- grep -x nf_tables /etc/modules-load.d/kpack.conf)"
    seen kube-proxy-nftables running
}

ask_dns() { kubectl exec ask -- /knode probe-client --dns "$1"; }

test_dns() {
    part "no DNS at the site: names of the inventory and of the cluster are answered, others fail at once"
    local image
    image=$(tar --zstd -xOf "$BUNDLE" bundle.json | jq -r '.images[] | select(.name == "probe") | .reference')
    kubectl run ask --image "$image" --restart Never --overrides \
        '{"spec": {"nodeName": "w1", "securityContext": {"runAsNonRoot": true, "runAsUser": 65534}}}' --command -- /knode probe-server --port 8080 >/dev/null
    kubectl wait pod/ask --for condition=Ready --timeout 60s >/dev/null
    expect "own entry" "10.0.0.5 fd99::5" "$(ask_dns ntp.site | jq -r '.dns[0].addresses | sort | join(" ")')"
    expect "a Service" true "$(ask_dns kubernetes.default.svc.cluster.local | jq '.dns[0].ok')"
    expect "foreign" "false true" "$(ask_dns example.org | jq -r '.dns[0] | "\(.ok) \(.seconds < 4)"' || true)"
    expect "CoreDNS on" 2 "$(kubectl -n kube-system get pods -l k8s-app=kube-dns -o json | jq '[.items[].spec.nodeName] | unique | length')"
    kubectl delete pod ask --now >/dev/null
    seen no-dns running
    seen dns-hosts running
}

test_firewall() {
    part "the firewalls still drop what nobody needs; they stay so through reload and reboot"
    contains "input" "$(rules w1)" "policy drop" 'jump kpack-input comment "kpack"'
    run w1 -- systemd-run -q --unit listener socat TCP-LISTEN:9999,fork,reuseaddr /dev/null
    reaches 10.77.0.12:10250 || fail "the kubelet cannot be reached"
    ! reaches 10.77.0.12:9999 || fail "port 9999 is open"
    run w1 -- systemctl reload nftables
    run w1 -- /usr/local/libexec/kpack/firewall check || fail "a reload took the rules away"
    "$SITE" reboot w1 && "$SITE" wait w1
    soon 60 run w1 -- /usr/local/libexec/kpack/firewall check || fail "a reboot took the rules away"
    sleep 15 # until then the API server may not know yet that it was away
    soon 120 all_well || fail "after a reboot: $(ready_nodes) $(unready_pods)"
    seen firewall-nftables running
}

all_well() { [[ $(ready_nodes) == "cp1=True w1=True" ]] && no_unready_pods; }

test_again() {
    part "again: nothing changes; rules that somebody took out come back"
    with_all >"$WORK/out" 2>&1 || fail "again: $(tail -n 40 "$WORK/out")"
    contains "second run" "$(cat "$WORK/out")" "nothing had to be changed"
    run w1 -- nft flush chain inet filter kpack-input
    with_all plan >"$WORK/out" 2>&1 || fail "plan: $(tail -n 40 "$WORK/out")"
    contains "plan" "$(cat "$WORK/out")" "open the ports of its roles in nftables"
    run w1 -- systemctl reload nftables
}

test_cache() {
    part "the nodes' DNS cache, as it would be applied, is taken by the API server"
    kubectl apply --dry-run=server -f "$TOP/tests/data/rendered/node-local-dns.yaml" >"$WORK/out" 2>&1 || fail "$(cat "$WORK/out")"
    contains "dry run" "$(cat "$WORK/out")" "daemonset.apps/node-local-dns" "service/kube-dns-upstream"
    seen node-local-dns validated
}

test_reset() {
    part "reset takes the rules out, and leaves the firewall as it was"
    expect "packets that left" 0 "$("$SITE" egress)"
    kinstall reset --yes --key "$PUB" --bundle "$BUNDLE" -i "$WORK/hosts.yaml" --node w1 >"$WORK/out" 2>&1 || fail "reset: $(tail -n 40 "$WORK/out")"
    expect "rules" "$(cat "$WORK/w1.before")" "$(rules w1)"
    expect "tables" "table inet filter" "$(run w1 -- nft list tables | grep -v -e 'ip6\? filter' -e nat -e mangle -e raw)"
    expect "routing rules" "" "$(run w1 -- sh -c 'ip -4 rule; ip -6 rule' | grep -e unreachable || true)"
    run w1 -- sh -c '! test -e /etc/systemd/system/nftables.service.d' || fail "the drop-in is left"
}

test_ip6_alone() {
    part "IPv6 alone: nodes, pods, Services, mirrors, etcd"
    "$SITE" egress reset
    with_all >"$WORK/out" 2>&1 || fail "install: $(tail -n 40 "$WORK/out")"
    fetch_kubectl
    expect "ready" "cp1=True w1=True" "$(ready_nodes)"
    contains "service" "$(proven service)" "true" "fd10:233::"
    expect "addresses" "$(ip6_of w1)" "$(kubectl get node w1 -o json | jq -r '[.status.addresses[] | select(.type == "InternalIP") | .address] | join(" ")')"
    contains "pods" "$(kubectl -n kube-system get pods -l k8s-app=kube-dns -o json | jq -r '.items[].status.podIP')" fd10:233:64
    kinstall etcd status --key "$PUB" -i "$WORK/hosts.yaml" >"$WORK/out" 2>&1 || fail "etcd status: $(cat "$WORK/out")"
    with_all >"$WORK/out" 2>&1 || fail "again: $(tail -n 40 "$WORK/out")"
    contains "second run" "$(cat "$WORK/out")" "nothing had to be changed"
    expect "packets that left" 0 "$("$SITE" egress)"
    seen ipv6-alone running
}

# Real firewalld and ufw, as Debian has them: SSH is let in, all else is not.
other_firewalls() {
    run cp1 -- systemctl enable --now firewalld
    run w1 -- sh -ec 'ufw allow 22/tcp >/dev/null; ufw --force enable >/dev/null; systemctl enable --now ufw'
    soon 60 run cp1 -- firewall-cmd --state >/dev/null 2>&1 || fail "firewalld does not run"
}

test_other_firewalls() {
    part "firewalld and ufw have the rules, drop what nobody needs, and lose them by reset"
    contains "firewalld" "$(run cp1 -- firewall-cmd --info-policy=kpack-in)" 'source ipset="kpack-nodes6" port port="10250"'
    contains "ufw" "$(run w1 -- ufw show added)" "ufw allow from $(ip6_of cp1) to any port 10250 proto tcp comment 'kpack'"
    run w1 -- systemd-run -q --unit listener socat TCP6-LISTEN:9999,fork,reuseaddr /dev/null
    reaches "[$(ip6_of w1)]:10250" || fail "the kubelet cannot be reached"
    ! reaches "[$(ip6_of w1)]:9999" || fail "port 9999 is open"
    kinstall reset --yes --key "$PUB" --bundle "$BUNDLE" -i "$WORK/hosts.yaml" >"$WORK/out" 2>&1 || fail "reset: $(tail -n 40 "$WORK/out")"
    expect "ufw" "ufw allow 22/tcp" "$(run w1 -- ufw show added | sed -n '2,$p')"
    contains "ufw stays on" "$(run w1 -- ufw status)" "Status: active"
    expect "firewalld" "running " "$(run cp1 -- sh -c 'firewall-cmd --state; ls /etc/firewalld/policies /etc/firewalld/ipsets | grep kpack' 2>/dev/null | tr '\n' ' ')"
    seen firewall-firewalld running
    seen firewall-ufw running
}

e2e_begin dualstack
upstream_up
shared_bundle
if [[ $MODE == long ]]; then
    "$SITE" up --node cp1=10.77.0.11,with=firewalld --node w1=10.77.0.12,with=ufw
else
    "$SITE" up --node cp1=10.77.0.11 --node w1=10.77.0.12
fi
eval "$("$SITE" env)"
INFO=$("$SITE" info --json)
if [[ $MODE == long ]]; then
    address_of() { printf '"%s"' "$(ip6_of "$1")"; }
    write_inventory "kube_proxy: iptables"
    other_firewalls
    test_ip6_alone
    test_other_firewalls
else
    address_of() { printf '[\\2, "%s"]' "$(ip6_of "$1")"; }
    write_inventory 'mtu: 1400, vxlan_port: 4789, kube_proxy: nftables, dns_hosts: {ntp.site: [10.0.0.5, "fd99::5"]}'
    drop_all cp1
    drop_all w1
    test_plan
    test_install
    test_families
    test_vxlan
    test_proxy
    test_dns
    test_firewall
    test_again
    test_cache
    test_reset
fi
part end
