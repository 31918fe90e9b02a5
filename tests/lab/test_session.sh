#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_session.sh BUILD_FOLDER: what a session needs real nodes for: sudo in all its moods, systemd units,
# transient units that outlive a lost connection. Boots the site "hand" of three nodes (about a minute in all);
# KPACK_LAB_REUSE=1 takes one that is up and leaves it.
# ok and bad cannot fail, so A && ok || bad is what it looks like; $ in single quotes is for the node.
# shellcheck disable=SC2015,SC2016
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1
driver=$(find "$build" -name session_driver -type f | sed -n 1p)
maker=$(find "$build" -name make_node_bundle -type f | sed -n 1p)
knode=$(find "$build" -path '*libexec*' -name knode -type f | sed -n 1p)
work=$(mktemp -d /tmp/kpack-hand.XXXXXX)
site() { "$here/site" "$@"; }
export KPACK_LAB_SITE=hand
finish() {
    [ "${KPACK_LAB_REUSE:-}" = 1 ] || site down >/dev/null 2>&1
    rm -rf "$work"
}
trap finish EXIT
if [ "${KPACK_LAB_REUSE:-}" != 1 ] || ! site info >/dev/null 2>&1; then
    site up --node n1=10.77.0.11 --node n2=10.77.0.12,user=ann:secret --node n3=10.77.0.13,user=bob,nopasswd >"$work/up" 2>&1 ||
        { cat "$work/up"; exit 1; }
fi
key=$(site info --json | jq -r '.. | .ssh_key? // empty' | sed -n 1p)
[ -n "$key" ] || key=/var/lib/kpack-lab/sites/hand/ssh/id_ed25519
known=${key%/*}/known_hosts
"$maker" "$work" "$knode" 1 8MB >/dev/null || exit 1

failures=0
ok() { echo "ok: $1"; }
bad() { echo "FAILED: $1"; failures=$((failures + 1)); }
has() { if grep -qF -- "$3" "$work/$2"; then ok "$1"; else bad "$1 (no \"$3\")"; sed 's/^/    /' "$work/$2" | sed -n 1,20p; fi; }
hasnot() { if grep -qF -- "$3" "$work/$2"; then bad "$1 (has \"$3\")"; else ok "$1"; fi; }
drive() { # OUTPUT NODE-ADDRESS USER OPTIONS -- WORDS
    local out=$1 address=$2 user=$3
    shift 3
    site exec -- timeout 90 env "DRIVER_PID=$work/$out.pid" "$driver" --bundle "$work/test.tar.zst" --trust "$work/test.pub" --address "$address" --user "$user" --key "$key" \
        --known-hosts "$known" ${TRANSPORT:+--transport "$TRANSPORT"} "$@" >"$work/$out" 2>"$work/$out.err"
}
ann() { local out=$1; shift; drive "$out" 10.77.0.12 ann "$@"; }

echo "== sudo"
ann right --sudo --test-password secret -- run id -u || bad "right password"
has "sudo with a password and a noisy .bashrc" right "status=0"
[ "$(sed -n 2p "$work/right")" = 0 ] && ok "knode is root" || { bad "knode is root"; cat "$work/right"; }
ann wrong --sudo --test-password wrong -- run true && bad "wrong password"
has "a wrong password is named" wrong "error sudo_wrong_password: node n1: sudo on the node: the password is wrong"
ann none --sudo -- run true && bad "no password"
has "a needed password is named" none "error sudo_password_needed:"
ann noroot -- run true && bad "no sudo asked for"
has "a user that is not root" noroot "error not_root:"
drive nopass 10.77.0.13 bob --sudo -- run id -u
has "NOPASSWD, none given" nopass "status=0"
drive nopass2 10.77.0.13 bob --sudo --test-password whatever -- run id -u
has "NOPASSWD, one given" nopass2 "status=0"
# A ticket is taken by `sudo -v`; of sessions without a terminal it is only shared where sudoers says so.
site run n2 -- sh -c 'printf "Defaults:ann timestamp_type=global\n" >/etc/sudoers.d/zz-ticket; chmod 0440 /etc/sudoers.d/zz-ticket'
site exec -- ssh -F none -i "$key" -o BatchMode=yes -o UserKnownHostsFile="$known" ann@10.77.0.12 'echo secret | sudo -S -v' >"$work/ticket-taken" 2>&1
ann ticket --sudo -- run id -u
has "a cached ticket, no password given" ticket "status=0"
site exec -- ssh -F none -i "$key" -o BatchMode=yes -o UserKnownHostsFile="$known" ann@10.77.0.12 'sudo -K' >/dev/null 2>&1
ann noticket --sudo -- run true && bad "a ticket that was given back"
has "a ticket that was given back" noticket "error sudo_password_needed:"
site run n2 -- rm /etc/sudoers.d/zz-ticket
# Another port than 22.
site run n1 -- sh -c 'printf "Port 22\nPort 2022\n" >/etc/ssh/sshd_config.d/zz-port.conf; systemctl restart ssh'
sed 's/^10\.77\.0\.11[^ ]* /[10.77.0.11]:2022 /' "$known" >>"$known.port"; cat "$known.port" >>"$known"
drive port 10.77.0.11 root --port 2022 -- run true
has "port 2022" port "status=0"
site run n3 -- sh -c 'printf "Defaults requiretty\n" >/etc/sudoers.d/zz-tty; chmod 0440 /etc/sudoers.d/zz-tty'
drive tty 10.77.0.13 bob --sudo -- run true && bad requiretty
has "requiretty is named" tty "error sudo_requiretty:"
site run n3 -- rm /etc/sudoers.d/zz-tty
site run n3 -- sh -c 'useradd -m -s /bin/bash eve; mkdir -m 0700 ~eve/.ssh; cp /root/.ssh/authorized_keys ~eve/.ssh/; chown -R eve: ~eve/.ssh; echo eve:evil | chpasswd'
drive eve 10.77.0.13 eve --sudo --test-password evil -- run true && bad "not in sudoers"
has "not in the sudoers" eve "error sudo_denied:"
site run n1 -- sh -c 'id carl >/dev/null 2>&1 || useradd -m -s /bin/bash carl; mkdir -pm 0700 ~carl/.ssh; cp /root/.ssh/authorized_keys ~carl/.ssh/; chown -R carl: ~carl/.ssh; chmod 000 "$(command -v sudo)" 2>/dev/null; mv "$(command -v sudo || echo /usr/bin/sudo)" /usr/bin/sudo.away 2>/dev/null; true'
drive nosudo 10.77.0.11 carl --sudo -- run true && bad "no sudo"
has "sudo is not installed" nosudo "error no_sudo:"
site run n1 -- sh -c '[ -e /usr/bin/sudo.away ] && mv /usr/bin/sudo.away /usr/bin/sudo && chmod 4755 /usr/bin/sudo; true'
site run n2 -- sh -c 'journalctl -o cat --no-pager; cat /var/log/auth.log 2>/dev/null' >"$work/journal" 2>/dev/null
hasnot "the password is in no journal" journal "secret"

echo "== units"
cat >"$work/demo.service" <<'END'
[Service]
ExecStart=/bin/sleep 100000
[Install]
WantedBy=multi-user.target
END
root() { local out=$1; shift; drive "$out" 10.77.0.11 root -- "$@"; }
root units put /etc/systemd/system/demo.service "$(cat "$work/demo.service")" 0644 + unit reload-daemon "" + unit enable-start demo.service + \
    unit enable-start demo.service + unit restart demo.service + unit stop-disable demo.service + unit stop-disable demo.service + \
    unit mask nothing.service + unit mask nothing.service + unit unmask nothing.service || { bad units; cat "$work/units"; }
[ "$(grep -c '^unit changed=1' "$work/units")$(grep -c '^unit changed=0' "$work/units")" = 54 ] && ok "units say what changed" || { bad "units"; cat "$work/units"; }
root badunit unit enable-start no-such.service && bad "unknown unit"
has "an unknown unit is named" badunit "no-such.service"
printf '[Service]\nType=oneshot\nExecStart=/bin/sh -c "echo it broke; exit 3"\n' >"$work/broken"
root broken put /etc/systemd/system/broken.service "$(cat "$work/broken")" 0644 + unit reload-daemon "" + unit restart broken.service && bad "failing unit"
has "a failing unit says its journal" broken "journalctl -u broken.service"
root boot sysctl net.ipv4.ip_forward=1 + modules overlay + run cat /etc/sysctl.d/90-kpack.conf || { bad "sysctl"; cat "$work/boot"; }
has "sysctl" boot "net.ipv4.ip_forward=1"

echo "== transient units"
root quick run-unit kpack-quick sh -c 'echo out; echo err >&2; exit 4'
has "a unit's status and output" quick "status=4 out=4 err=4"
[ -z "$(site run n1 -- ls /var/lib/kpack/run)" ] && ok "a result that was read is dropped" || bad "result dropped"
root term run-unit kpack-term sh -c 'kill -9 $$'
has "a unit's command is killed" term "status=137"
root missing run-unit kpack-missing nothing-like-that && bad "unknown command"
has "a unit's unknown command" missing "nothing-like-that"
slow='date +%s.%N >>/root/ran; for i in 1 2 3 4 5 6 7 8; do echo step $i; sleep 1; done; exit 5'
site run n1 -- rm -f /root/ran
root first lock run-a ann + run-unit kpack-slow sh -c "$slow" &
first=$!
sleep 4
# The admin host's end is killed as by kill -9.
kill -9 "$(cat "$work/first.pid")"
wait "$first" 2>/dev/null
has "the first run had begun" first "step 2"
hasnot "the first run was cut off" first "status="
root second lock run-b ann + run-unit kpack-slow sh -c "$slow"
has "the second run attaches" second "status=5"
has "its output from the beginning" second "step 1"
[ "$(site run n1 -- sh -c 'wc -l </root/ran')" = 1 ] && ok "the command ran once" || bad "the command ran more than once"

site run n1 -- rm -f /root/ran
fast='date >>/root/ran; sleep 3; echo done; exit 0'
root third lock run-c ann + run-unit kpack-kept sh -c "$fast" &
third=$!
sleep 2
kill -9 "$(cat "$work/third.pid")"
wait "$third" 2>/dev/null
sleep 4
root fourth lock run-d ann + run-unit kpack-kept sh -c "$fast"
has "a kept result is read" fourth "status=0"
[ "$(site run n1 -- sh -c 'wc -l </root/ran')" = 1 ] && ok "that command ran once" || bad "that command ran more than once"

echo "== a cut cable"
(sleep 3; site link n1 down; sleep 1) &
root cable lock run-e ann + run-unit kpack-cable sh -c 'for i in $(seq 12); do echo step $i; sleep 1; done' && bad "cut cable"
has "a cut cable is named" cable "error connection_lost: node n1:"
site link n1 up
sleep 1
root mended lock run-e ann + run-unit kpack-cable sh -c 'for i in $(seq 12); do echo step $i; sleep 1; done'
has "and its result is had afterwards" mended "status=0"

echo "== facts of a node"
root facts facts
tail -n +2 "$work/facts" | jq -e '.system.hostname == "n1" and .system.systemd > 200 and (.system.machine_id | length) == 32
    and .system.os.id == "debian" and .leftovers.kubelet == null and .leftovers.etcd_member == false and .system.container
    and ([.network.addresses[].address] | index("10.77.0.11")) and ([.network.listening[].port] | index(22))
    and (.network.routes | length) > 0 and .kernel.modules.overlay != "missing"' >/dev/null && ok "facts" || { bad "facts"; head -c 3000 "$work/facts"; }
jq -c '{s: .system | {cap_sys_resource, capabilities, virtualization, time_synced, selinux, apparmor, clock_difference}, k: .kernel.sysctl["net.netfilter.nf_conntrack_max"], m: .kernel.modules}' <(tail -n +2 "$work/facts")
echo "$failures failures"
[ "$failures" = 0 ]
