#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The lab's site, tried out: boots three nodes and does to them what the tests of the product will.
# Needs root. Run: tests/lab/test_site.sh
# shellcheck disable=SC2016 # single quotes: for the shells of the nodes
set -euo pipefail
shopt -s inherit_errexit

LAB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export KPACK_LAB_SITE=selftest
PASSWORD='p4ss word:x'
PART_STARTED=$EPOCHREALTIME
PART=start

site() { "$LAB/site" "$@"; }

fail() {
    echo "FAILED: $PART: $*" >&2
    exit 1
}

# Ends one part of the test with the time it took, and names the next.
part() {
    local now=$EPOCHREALTIME
    local ms=$(((${now/[.,]/} - ${PART_STARTED/[.,]/}) / 1000))
    [[ $PART == start ]] || printf 'ok  %3d.%03d s  %s\n' $((ms / 1000)) $((ms % 1000)) "$PART"
    PART=$1 PART_STARTED=$now
}

expect() { # WHAT EXPECTED ACTUAL
    [[ $2 == "$3" ]] || fail "$1: expected \"$2\", got \"$3\""
}

refused() { # EXIT-CODE PATTERN COMMAND…
    local status=0 want=$1 pattern=$2 output
    shift 2
    output=$("$@" 2>&1) || status=$?
    expect "exit code of: $*" "$want" "$status"
    [[ $output == *$pattern* ]] || fail "$*: said \"$output\", not \"$pattern\""
}

# Tries a command until it succeeds, for some seconds.
soon() { # SECONDS COMMAND…
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# SSH to a node as a given user, from the admin side.
ssh_as() { # USER NODE [COMMAND]
    local user=$1 address
    address=$(site info --json | jq -r --arg n "$2" '.nodes[] | select(.name == $n) | .address')
    shift 2
    site exec -- ssh -F none -i "$LAB_SSH_KEY" -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=3 \
        -o StrictHostKeyChecking=yes -o UserKnownHostsFile="$LAB_KNOWN_HOSTS" "$user@$address" "$@"
}

# The way a node sees one of its peers over the site's network.
reaches() { site run "$1" -- ping -n -q -c1 -W1 "$2" >/dev/null 2>&1; }

finish() {
    local status=$?
    trap - EXIT
    ((status == 0)) || echo "FAILED in: $PART" >&2
    site down >/dev/null 2>&1 || true
    rm -f "${SCRATCH:-}"
    exit "$status"
}

test_refusals() {
    part "what cannot be is refused before anything is made"
    refused 2 'no IPv4 address' site up --node a=10.77.0.300
    refused 2 'two nodes have the name a' site up --node a=10.77.0.2 --node a=10.77.0.3
    refused 2 'two nodes have the address 10.77.0.2' site up --node a=10.77.0.2 --node b=10.77.0.2
    refused 2 'option "form=x"' site up --node a=10.77.0.2,form=x
    refused 2 "a node's name" site up --node A_b=10.77.0.2
    refused 2 'needs user=NAME' site up --node a=10.77.0.2,nopasswd
    refused 1 'is not up' site info
    site check-leaks || fail "a refused site left something"
}

test_up() {
    part "three nodes up"
    site up --node cp1=10.77.0.11 --node w1=10.77.0.12,without=conntrack+socat \
        --node w2.rack-b=10.77.1.13,user=ann:"$PASSWORD" 2>&1 | sed 's/^/    /'
    eval "$(site env)"
    refused 1 'is up already' site up --node a=10.77.0.2
    refused 1 'has no node "w9"' site run w9 -- true
    part "each node is itself"
    local node ids
    for node in cp1 w1 w2.rack-b; do
        expect "hostname" "$node" "$(site run "$node" -- hostname)"
        expect "python" "" "$(site run "$node" -- sh -c 'command -v python3 || true')"
    done
    ids=$(for node in cp1 w1 w2.rack-b; do site run "$node" -- cat /etc/machine-id; done | sort -u | wc -l)
    expect "different machine ids" 3 "$ids"
    site run cp1 -- sh -c 'command -v conntrack && command -v socat' >/dev/null || fail "cp1 lacks conntrack or socat"
    expect "conntrack or socat on w1" "" "$(site run w1 -- sh -c 'command -v conntrack socat || true')"
    site run cp1 -- sh -ec 'for h in pids memory cpu devices; do
        test ! -d /sys/fs/cgroup/$h || { mkdir /sys/fs/cgroup/$h/probe; rmdir /sys/fs/cgroup/$h/probe; }; done
        test -c /dev/kmsg' || fail "control groups or kmsg not usable"
    site run cp1 -- mkdir -p /sys/fs/cgroup/pids/mine /sys/fs/cgroup/mine 2>/dev/null || true
    site run w1 -- sh -c '! ls -d /sys/fs/cgroup/*mine /sys/fs/cgroup/*/mine 2>/dev/null' ||
        fail "w1 sees a control group of cp1"
    expect "interfaces in /sys" "eth0 lo" "$(site run cp1 -- ls /sys/class/net | paste -sd ' ')"
    expect "exit code through run" 7 "$(site run cp1 -- sh -c 'exit 7' || echo $?)"
    expect "stdin through run" hello "$(echo hello | site run cp1 -- cat)"
}

test_ssh() {
    part "ssh as root, as a user with a password for sudo, host keys true"
    expect "root" "root cp1" "$(ssh_as root cp1 'echo $(id -un) $(hostname)')"
    local noise
    noise=$(ssh_as ann w2.rack-b 'echo it is $(id -un)' 2>/dev/null)
    [[ $noise == *"AUTHORIZED USE ONLY"*"it is ann" ]] || fail "no noise before the command's output: $noise"
    expect "sudo with the password" root \
        "$(ssh_as ann w2.rack-b 'sudo -S -p "" id -un' <<<"$PASSWORD" 2>/dev/null | tail -n1)"
    ! ssh_as ann w2.rack-b 'sudo -k; sudo -S -p "" id -un' <<<wrong >/dev/null 2>&1 || fail "sudo took a wrong password"
    ! ssh_as ann w2.rack-b 'sudo -k; sudo -n true' >/dev/null 2>&1 || fail "sudo asked for no password"
    SCRATCH=$(mktemp)
    sed 's/AAAA\(....\)/AAAA\1zz/' "$LAB_KNOWN_HOSTS" >"$SCRATCH"
    ! LAB_KNOWN_HOSTS=$SCRATCH ssh_as root cp1 true 2>/dev/null || fail "a wrong host key was taken"
    local yaml
    yaml=$(site hosts-yaml --cluster demo)
    [[ $yaml == *'{name: w2.rack-b, address: 10.77.1.13, roles: [worker], host_key: "ssh-ed25519 AAAA'*'{user: ann, sudo: password}}'* ]] ||
        fail "hosts.yaml: $yaml"
}

test_egress() {
    part "nothing has tried to leave so far"
    expect "egress of an idle site" 0 "$(site egress)"
    part "nodes reach each other, IPv4 (two networks) and IPv6, uncounted"
    reaches cp1 10.77.0.12 || fail "IPv4 from cp1 to w1"
    reaches cp1 10.77.1.13 || fail "IPv4 from cp1 to the other network"
    reaches w2.rack-b 10.77.0.11 || fail "IPv4 from the other network to cp1"
    reaches cp1 fd77::a4d:10d || fail "IPv6 from cp1 to w2"
    expect "egress" 0 "$(site egress)"
    part "positive control: ping and DNS query, IPv4 and IPv6, from each node and the admin"
    site egress selftest 2>&1 | sed 's/^/    /'
    (($(site egress) >= 16)) || fail "the counter stands at $(site egress) only"
    grep -q '^10.77.1.13 192.0.2.53 udp 53 packets=' <<<"$(site egress detail)" || fail "detail does not name the query"
    part "the positive control itself can fail"
    site exec -- nft insert rule inet egress judge ip6 daddr 2001:db8::/32 return
    refused 1 'did not raise' site egress selftest
    site exec -- nft delete rule inet egress judge handle \
        "$(site exec -- nft -a list chain inet egress judge | sed -n 's/.*2001:db8::\/32 return # handle //p')"
    site egress reset
    expect "egress after reset" 0 "$(site egress)"
    reaches cp1 10.77.0.1 || fail "the gateway"
}

test_link() {
    part "a cut cable"
    site link w1 down
    ! reaches cp1 10.77.0.12 || fail "w1 answers over a cut cable"
    ! ssh_as root w1 true 2>/dev/null || fail "ssh over a cut cable"
    expect "run over a cut cable" w1 "$(site run w1 -- hostname)"
    expect "carrier" 0 "$(site run w1 -- cat /sys/class/net/eth0/carrier)"
    site link w1 up
    soon 5 reaches cp1 10.77.0.12 || fail "w1 does not answer any more"
    expect "ssh" w1 "$(ssh_as root w1 hostname)"
}

test_dead_sshd() {
    part "run works where sshd does not"
    site run w1 -- systemctl stop ssh
    ! ssh_as root w1 true 2>/dev/null || fail "sshd still answers"
    expect "run" w1 "$(site run w1 -- hostname)"
    site run w1 -- systemctl start ssh
    expect "ssh on cp1 was not touched" active "$(site run cp1 -- systemctl is-active ssh)"
}

test_power() {
    part "power off: all of it at once, unclean"
    local init
    site run w1 -- sh -c 'echo kept >/root/kept; sync; echo gone >/run/gone; setsid sleep 1000 </dev/null >/dev/null 2>&1 &'
    site run w1 -- ip link add kube0 type bridge
    site poweroff w1
    expect "state" off "$(site info --json | jq -r '.nodes[] | select(.name == "w1") | .state')"
    ! reaches cp1 10.77.0.12 || fail "w1 still answers"
    refused 255 'is off' site run w1 -- true
    expect "the others live on" running "$(site run cp1 -- systemctl is-system-running)"
    part "power on"
    site poweron w1
    site wait w1
    expect "ssh" w1 "$(ssh_as root w1 hostname)"
    expect "the disk" kept "$(site run w1 -- cat /root/kept)"
    ! site run w1 -- test -e /run/gone || fail "/run outlived the power cut"
    ! site run w1 -- ip link show kube0 >/dev/null 2>&1 || fail "the network outlived the power cut"
    part "another machine in its place"
    init=$(site run w1 -- cat /etc/machine-id)
    site replace w1
    expect "ssh" w1 "$(ssh_as root w1 hostname)"
    ! site run w1 -- test -e /root/kept || fail "the disk is the old one"
    [[ $init != "$(site run w1 -- cat /etc/machine-id)" ]] || fail "the machine id is the old one"
    expect "conntrack on it, as asked for" "" "$(site run w1 -- sh -c 'command -v conntrack || true')"
    part "crash"
    init=$(site run w1 -- cat /proc/sys/kernel/random/boot_id; site run w1 -- stat -c %Y /proc/1)
    site crash w1
    site wait w1
    [[ $init != "$(site run w1 -- cat /proc/sys/kernel/random/boot_id; site run w1 -- stat -c %Y /proc/1)" ]] ||
        fail "the same init as before"
    part "reboot, asked for by the site"
    site run w1 -- touch /run/gone
    site reboot w1
    site wait w1
    ! site run w1 -- test -e /run/gone || fail "no reboot"
    site run w1 -- sh -c 'test ! -d /sys/fs/cgroup/pids || { mkdir /sys/fs/cgroup/pids/again; rmdir /sys/fs/cgroup/pids/again; }' ||
        fail "control groups closed after the reboot"
    part "reboot, asked for by SSH"
    site run w1 -- touch /run/gone
    ssh_as root w1 systemctl reboot || true
    soon 60 site run w1 -- test ! -e /run/gone 2>/dev/null || fail "no reboot"
    site wait w1
    expect "ssh" w1 "$(ssh_as root w1 hostname)"
}

test_down() {
    part "a second site beside it, with the same addresses"
    site up --site selftest-2 --node cp1=10.77.0.11,user=bob,nopasswd 2>/dev/null >/dev/null
    expect "NOPASSWD sudo" root "$(site run --site selftest-2 cp1 -- su bob -c 'sudo -n id -un' 2>/dev/null | tail -n1)"
    refused 1 'network namespace kpl.selftest-2' site check-leaks --site selftest-2
    site down --site selftest-2
    site check-leaks --site selftest-2
    expect "the first one lives on" running "$(site run cp1 -- systemctl is-system-running)"
    part "down leaves nothing"
    refused 1 'process' site check-leaks
    site down
    site check-leaks || fail "something is left"
    part "a run that was cut off is cleared away by the next"
    "$LAB/site" up --node cp1=10.77.0.11 >/dev/null 2>&1 &
    local up=$!
    soon 20 test -e /run/netns/kpl.selftest.cp1 || fail "no namespace of cp1"
    kill -KILL "$up"
    wait "$up" 2>/dev/null || true
    refused 1 'kpl.selftest.cp1' site check-leaks
    site up --node cp1=10.77.0.11 2>&1 | grep 'taking away' || fail "leftovers not seen"
    site down
    site check-leaks || fail "something is left"
    part end
}

main() {
    local started=$SECONDS
    site down
    trap finish EXIT
    test_refusals
    test_up
    test_ssh
    test_egress
    test_link
    test_dead_sshd
    test_power
    test_down
    echo "test_site: all well in $((SECONDS - started)) s"
}

main "$@"
