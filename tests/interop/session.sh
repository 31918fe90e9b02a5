#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# session.sh DRIVER MAKE_NODE_BUNDLE KNODE KREGISTRY [FAILING_FS [STEPS_DRIVER]]: sessions over a real sshd on loopback. Needs root (77: skipped
# without); works in a mount namespace of its own, so that nothing of the machine is changed.
# ok and bad cannot fail, so A && ok || bad is what it looks like; $ in single quotes is for the node.
# shellcheck disable=SC2015,SC2016
set -uo pipefail
driver=$1 maker=$2 knode=$3 kregistry=${4:-} failing=${5:-} steps=${6:-}
[ "$(id -u)" = 0 ] && command -v sshd >/dev/null || [ -x /usr/sbin/sshd ] || { echo "needs root and sshd"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
if [ "${SESSION_INSIDE:-}" != 1 ]; then
    SESSION_INSIDE=1 exec unshare -m --propagation private bash "$0" "$@"
fi

work=$(mktemp -d /tmp/kpack-session.XXXXXX)
pids=()
finish() {
    fusermount3 -uzq "$work/stick" 2>/dev/null
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
    rm -rf "$work"
}
trap finish EXIT
mkdir -p "$work/said" "$work/etc" "$work/var" "$work/lib" "$work/root" "$work/opt" "$work/sysctl" "$work/modules" /run/sshd \
    /etc/kpack /var/lib/kpack /usr/local/libexec/kpack /opt/kpack-test /etc/sysctl.d /etc/modules-load.d
# The programs may lie below one of the folders that are about to be covered.
mkdir "$work/bin"
cp "$driver" "$maker" "$knode" ${kregistry:+"$kregistry"} ${failing:+"$failing"} ${steps:+"$steps"} "$work/bin/"
driver=$work/bin/${driver##*/} maker=$work/bin/${maker##*/} knode=$work/bin/${knode##*/}
kregistry=${kregistry:+$work/bin/${kregistry##*/}} failing=${failing:+$work/bin/${failing##*/}} steps=${steps:+$work/bin/${steps##*/}}
mount --bind "$work/etc" /etc/kpack
mount --bind "$work/var" /var/lib/kpack
mount --bind "$work/lib" /usr/local/libexec/kpack
mount --bind "$work/root" /root
mount --bind "$work/opt" /opt/kpack-test
mount --bind "$work/sysctl" /etc/sysctl.d
mount --bind "$work/modules" /etc/modules-load.d
export HOME=/root
mkdir -m 0700 /root/.ssh

failures=0
ok() { echo "ok: $1"; }
bad() { echo "FAILED: $1"; failures=$((failures + 1)); }
# has NAME FILE WORDS: the file has them
has() { if grep -qF -- "$3" "$2"; then ok "$1"; else bad "$1 (no \"$3\")"; sed 's/^/    /' "$2" | sed -n 1,20p; fi; }
hasnot() { if grep -qF -- "$3" "$2"; then bad "$1 (has \"$3\")"; else ok "$1"; fi; }

ssh-keygen -q -t ed25519 -N '' -f "$work/host_ed25519"
ssh-keygen -q -t ed25519 -N '' -f "$work/other_host"
ssh-keygen -q -t ed25519 -N '' -f "$work/user"
ssh-keygen -q -t ed25519 -N '' -f "$work/stranger"
cp "$work/user.pub" "$work/authorized"
port=$((20000 + $$ % 20000))
cat >"$work/sshd_config" <<END
Port $port
ListenAddress 127.0.0.1
HostKey $work/host_ed25519
PidFile $work/sshd.pid
AuthorizedKeysFile $work/authorized
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
LogLevel ERROR
END
/usr/sbin/sshd -D -e -f "$work/sshd_config" 2>"$work/sshd.log" &
pids+=($!)
for _ in $(seq 50); do (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done

id=$("$maker" "$work" "$knode" 2 40MB) || { echo "no bundle"; exit 1; }
host_key=$(cut -d' ' -f1,2 "$work/host_ed25519.pub")
drive() { # OUTPUT WORDS… with the standard options
    local out=$1
    shift
    timeout 60 "$driver" --bundle "$work/test.tar.zst" --trust "$work/test.pub" --port "$port" --key "$work/user" \
        --host-key "$host_key" ${TRANSPORT:+--transport "$TRANSPORT"} -- "$@" >"$work/said/$out" 2>"$work/said/$out.err"
}

# The sshd process that serves the connection which a process belongs to.
connection_of() {
    local pid=$1
    while [ "$pid" -gt 1 ] && [ "$(cat "/proc/$pid/comm")" != sshd ]; do pid=$(awk '/^PPid/ {print $2}' "/proc/$pid/status"); done
    echo "$pid"
}
all() {
    rm -rf /usr/local/libexec/kpack/* /etc/kpack/* /var/lib/kpack/* /opt/kpack-test/* /etc/sysctl.d/* /etc/modules-load.d/*
    echo "== ${TRANSPORT:-auto}"
    drive first run echo hello || bad "first session"
    has "opens and runs" "$work/said/first" hello
    has "status is told" "$work/said/first" "status=0 out=6 err=0"
    [ "$(find /usr/local/libexec/kpack -name 'knode-*' -perm 0755 -user root | wc -l)" = 1 ] && ok "knode placed" || bad "knode placed"
    [ -z "$(ls /etc/kpack)" ] && ok "a session alone keeps nothing" || bad "a session alone keeps nothing"
    before=$(stat -c %Y%i /usr/local/libexec/kpack/knode-*)

    printf 'echo noise from .bashrc; head -c 30000 /dev/zero | tr "\\0" x; printf "no line end"\n' >/root/.bashrc
    drive noise run sh -c 'echo out; echo err >&2; exit 3' || bad "noise"
    has "noise is tolerated" "$work/said/noise" "status=3 out=4 err=4"
    [ "$before" = "$(stat -c %Y%i /usr/local/libexec/kpack/knode-*)" ] && ok "knode sent once" || bad "knode sent once"
    printf 'head -c 200000 /dev/zero | tr "\\0" x\n' >/root/.bashrc
    drive loud run true && bad "too much noise"
    has "too much noise is refused" "$work/said/loud" "error noise:"
    rm /root/.bashrc
    echo damaged >>"$(ls /usr/local/libexec/kpack/knode-*)"
    drive again run true && ok "a damaged knode is replaced" || bad "a damaged knode is replaced"
    echo damaged >>"$(ls /usr/local/libexec/kpack/knode-*)"
    mount --bind /dev/null "$(realpath /usr/bin/gzip)"
    drive plain run true && ok "knode goes to a node without gzip" || bad "knode goes to a node without gzip"
    umount "$(realpath /usr/bin/gzip)"

    drive put put /opt/kpack-test/a/b.conf $'one\ntwo\n' 0640 + put /opt/kpack-test/a/b.conf $'one\ntwo\n' 0640 + \
        put /opt/kpack-test/a/b.conf $'one\nthree\n' 0600 + get /opt/kpack-test/a/b.conf + get /opt/kpack-test/none
    [ "$(grep -c changed=1 "$work/said/put")$(grep -c changed=0 "$work/said/put")" = 21 ] && ok "put says what changed" || bad "put changed"
    has "put shows a diff" "$work/said/put" "+three"
    has "put shows the mode" "$work/said/put" "mode 0640 becomes 0600"
    has "get finds" "$work/said/put" "found=1"
    has "get finds nothing" "$work/said/put" "found=0"
    has "what has to be there" "$work/said/put" "no_file: node"
    [ -n "$(ls /etc/kpack/trusted.d)" ] && ok "trust is kept" || bad "trust is kept"
    grep -q '"session-test": 2' /var/lib/kpack/bundles.json && ok "serial is kept" || bad "serial is kept"
    drive secret put-secret /opt/kpack-test/s TOPSECRET 0600 + put-secret /opt/kpack-test/s TOPSECRET2 0600 + put-once /opt/kpack-test/s other 0600
    hasnot "no diff of a secret" "$work/said/secret" TOPSECRET
    [ "$(cat /opt/kpack-test/s)" = TOPSECRET2 ] && ok "put-once keeps" || bad "put-once keeps"
    DRIVER_DRY_RUN=1 drive dry put /opt/kpack-test/dry x 0600 + remove /opt/kpack-test/s + fetch greeting
    [ ! -e /opt/kpack-test/dry ] && [ -e /opt/kpack-test/s ] && [ ! -e /opt/kpack-test/greeting ] && ok "a dry run changes nothing" || bad "dry run"
    [ "$(grep -c changed=1 "$work/said/dry")" = 3 ] && ok "a dry run tells" || bad "a dry run tells"
    drive remove remove /opt/kpack-test/a + remove /opt/kpack-test/a
    [ ! -e /opt/kpack-test/a ] && ok "remove" || bad "remove"
    drive near remove /etc && bad "remove of /etc"
    has "remove of /etc is refused" "$work/said/near" "too near to the root"

    drive fetch fetch greeting + fetch greeting + fetch big || bad "fetch"
    [ "$(cat /opt/kpack-test/greeting)" = "hello from the bundle" ] && ok "fetch over the connection" || bad "fetch"
    cmp -s "$work/big" /opt/kpack-test/big && ok "fetch of 40 MB" || bad "fetch of 40 MB"
    [ "$(stat -c %a /opt/kpack-test/big)" = 755 ] && ok "mode of a fetched file" || bad "mode of a fetched file"
    [ "$(grep -c changed=1 "$work/said/fetch")" = 2 ] && ok "fetched once" || bad "fetched once"

    drive send send /var/lib/kpack/x.tar.zst || bad "send"
    cmp -s "$work/test.tar.zst" /var/lib/kpack/x.tar.zst && ok "bundle sent" || bad "bundle sent"
    echo "   $(tail -n 1 "$work/said/send.err") for $(stat -c %s "$work/test.tar.zst") bytes"
    drive send2 send /var/lib/kpack/x.tar.zst
    has "sent once" "$work/said/send2" "changed=0"
    rm /var/lib/kpack/x.tar.zst*
    head -c 20000000 "$work/test.tar.zst" >/var/lib/kpack/x.tar.zst.partial
    drive resume send /var/lib/kpack/x.tar.zst
    cmp -s "$work/test.tar.zst" /var/lib/kpack/x.tar.zst && ok "bundle resumed" || bad "bundle resumed"
    rm /var/lib/kpack/x.tar.zst*
    { head -c 10000000 "$work/test.tar.zst"; echo damage; } >/var/lib/kpack/x.tar.zst.partial
    drive damaged send /var/lib/kpack/x.tar.zst && bad "a damaged part"
    [ ! -e /var/lib/kpack/x.tar.zst ] && [ ! -e /var/lib/kpack/x.tar.zst.partial ] && ok "a damaged part is found and dropped" || bad "damaged part"

    drive run run sh -c 'echo "$http_proxy|$PATH|$HOME"' + run sh -c 'kill -9 $$' + run cat + run nothing-like-that
    has "clean environment" "$work/said/run" "|/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin|/root"
    has "a signal's status" "$work/said/run" "status=137"
    has "no input is an empty input" "$work/said/run" "status=0 out=0"
    has "an unknown program" "$work/said/run" "start nothing-like-that: No such file"
    DRIVER_INPUT=secret-input drive input run cat
    has "stdin" "$work/said/input" secret-input
    drive many parallel
    has "many at once" "$work/said/many" "parallel failed=0"
    drive facts facts || bad "facts"
    jq -e . <(tail -n +2 "$work/said/facts") >/dev/null && ok "facts are JSON" || bad "facts are JSON"
    tail -n +2 "$work/said/facts" | jq -e --argjson p "$port" '.network.listening[] | select(.port == $p and .program == "sshd")' >/dev/null &&
        ok "facts know who listens" || bad "facts know who listens"
    tail -n +2 "$work/said/facts" | jq -e '.system.arch == "amd64" and (.system.clock_difference | fabs) < 0.2 and .system.memory.total > 1e8
        and .system.disks["/tmp"].free > 0 and (.system.programs.mount | startswith("/")) and .kernel.cgroup.version >= 1' >/dev/null &&
        ok "facts" || bad "facts"

    drive probe probe "{\"tcp\": \"127.0.0.1:$port\"}" + probe '{"tcp": "127.0.0.1:1"}' + probe '{"listen": 0}' + probe '{"resolve": "localhost"}' + probe "{\"listen\": $port}"
    [ "$(grep -c '"ok": true' "$work/said/probe")" = 3 ] && [ "$(grep -c '"ok": false' "$work/said/probe")" = 2 ] && ok "probes" || { bad probes; cat "$work/said/probe"; }
    has "probe says why" "$work/said/probe" '"reason": "refused"'

    drive record mark demo init begun - + mark demo init finished abc + mark demo join begun - + record
    tail -n +2 "$work/said/record" | jq -e '.cluster == "demo" and .begun == ["init", "join"] and .finished == {"init": "abc"}' >/dev/null && ok record || bad record
    drive other mark prod init begun - && bad "another cluster"
    has "another cluster is refused" "$work/said/other" 'this node belongs to cluster "demo"'
    drive holder lock run-1 "ann on admin" + run sleep 14 &
    holding=$!
    sleep 1.5
    drive locked lock run-2 "bob on laptop" && bad "two locks"
    has "the lock names its holder" "$work/said/locked" "another run works on this node: ann on admin, run run-1"
    wait "$holding"
    drive unlocked lock run-2 "bob on laptop" && ok "the lock ends with its session" || bad "lock ends"

    current=$(cat /proc/sys/kernel/panic)
    drive sysctl sysctl "kernel.panic=$current" vm.no.such=1 && bad "unknown sysctl"
    has "an unknown sysctl is named" "$work/said/sysctl" "vm.no.such=1"
    drive sysctl2 sysctl "kernel.panic=$current" + sysctl "kernel.panic=$current"
    [ "$(grep -c changed=1 "$work/said/sysctl2")" = 1 ] && grep -q "kernel.panic=$current" /etc/sysctl.d/90-kpack.conf && ok "sysctl is kept" || bad "sysctl is kept"
    drive modules modules no_such_module && bad "unknown module"
    has "an unknown module is named" "$work/said/modules" "no_such_module"

    # The connection is cut while a command runs: it is named, the child ends, a new session goes on.
    drive cut run sh -c "echo \$\$ >$work/child; sleep 55" &
    cutting=$!
    for _ in $(seq 50); do [ -s "$work/child" ] && break; sleep 0.1; done
    session_shell=$(connection_of "$(cat "$work/child")")
    child=$(cat "$work/child")
    DRIVER_RECONNECT=1 drive other2 run true
    kill "$session_shell"
    wait "$cutting"
    has "a lost connection is named" "$work/said/cut" "error connection_lost: node n1:"
    for _ in $(seq 80); do [ -d "/proc/$child" ] || break; sleep 0.1; done
    [ -d "/proc/$child" ] && bad "its child is ended" || ok "its child is ended"
    rm -f "$work/child"
    [ -z "$steps" ] || borrowed
}

# A step of two nodes asks the control plane, whose connection is cut: that one comes back, once, and both go on.
borrowed() {
    local asking started pid
    started=$(date +%s)
    rm -rf "$work/borrow" && mkdir "$work/borrow"
    timeout 100 "$steps" "$work/test.tar.zst" "$work/test.pub" "$port" "$work/user" "$host_key" "$TRANSPORT" "$work/borrow" >"$work/said/borrow" 2>&1 &
    asking=$!
    for _ in $(seq 300); do [ -s "$work/borrow/w1" ] && [ -s "$work/borrow/w2" ] && break; sleep 0.1; done
    pid=$(connection_of "$(cat "$work/borrow/w1")")
    [ "$pid" = "$(connection_of "$(cat "$work/borrow/w2")")" ] && ok "one connection for both" || bad "one connection for both"
    kill "$pid"
    wait "$asking" && ok "both go on" || { bad "both go on"; cat "$work/said/borrow"; }
    has "the first asks again" "$work/said/borrow" "w1 ran 2 times"
    has "the second asks again" "$work/said/borrow" "w2 ran 2 times"
    [ "$(jq -r 'select(.event == "connection_lost") | .node' "$work/borrow/state/journal.jsonl" | sort -u)" = hand ] && ok "whose connection it was is named" ||
        { bad "whose connection it was"; cat "$work/borrow/state/journal.jsonl"; }
    [ $(($(date +%s) - started)) -lt 45 ] && ok "nobody waits for the end of what was cut" || bad "nobody waits for the end of what was cut"
}
TRANSPORT=openssh all
TRANSPORT=libssh2 all

errors() {
    echo "== errors, ${TRANSPORT}"
    local base=("$driver" --bundle "$work/test.tar.zst" --trust "$work/test.pub" --port "$port" --transport "$TRANSPORT")
    fingerprint=$(ssh-keygen -lf "$work/host_ed25519.pub" | cut -d' ' -f2)
    "${base[@]}" --key "$work/user" --known-hosts "$work/none" run true >"$work/e1" 2>&1 && bad "unknown host key"
    has "unknown host key: fingerprint" "$work/e1" "$fingerprint"
    has "unknown host key: how to accept" "$work/e1" "[127.0.0.1]:$port ssh-ed25519 AAAA"
    command=$(sed -n "s/.*accept it: \(echo .*\)/\1/p" "$work/e1" | sed -n 1p)
    bash -c "$command"
    "${base[@]}" --key "$work/user" --known-hosts "$work/none" run true >"$work/e2" 2>&1 && ok "that command accepts it" || bad "that command accepts it"
    rm -f "$work/none"
    "${base[@]}" --key "$work/user" --host-key "$(cut -d' ' -f1,2 "$work/other_host.pub")" run true >"$work/e3" 2>&1 && bad "wrong host key"
    has "wrong host key" "$work/e3" "error changed_host_key:"
    "${base[@]}" --key "$work/stranger" --host-key "$host_key" run true >"$work/e4" 2>&1 && bad "wrong user key"
    has "wrong user key" "$work/e4" "error permission_denied:"
    "${base[@]}" --port 1 --key "$work/user" --host-key "$host_key" run true >"$work/e5" 2>&1 && bad "no sshd"
    has "nobody listens" "$work/e5" "error unreachable:"
    "${base[@]}" --address '-oProxyCommand=touch x' --key "$work/user" --host-key "$host_key" run true >"$work/e6" 2>&1 && bad "option as address"
    has "an option as address" "$work/e6" "has characters that it may not have"
}
TRANSPORT=openssh errors

# No key file is named: the agent has the key, or nobody has.
ssh-agent -D -a "$work/agent" >/dev/null 2>&1 &
pids+=($!)
for _ in $(seq 50); do [ -S "$work/agent" ] && break; sleep 0.1; done
SSH_AUTH_SOCK=$work/agent ssh-add -q "$work/stranger" "$work/user" || bad "ssh-add"
agent() {
    local base=("$driver" --bundle "$work/test.tar.zst" --trust "$work/test.pub" --port "$port" --transport "$TRANSPORT" --host-key "$host_key")
    SSH_AUTH_SOCK=$work/agent timeout 60 "${base[@]}" run true >"$work/a1" 2>&1
    has "$TRANSPORT: the second key of the agent" "$work/a1" "status=0"
    env -u SSH_AUTH_SOCK timeout 60 "${base[@]}" run true >"$work/a2" 2>&1 && bad "$TRANSPORT: neither agent nor key"
    has "$TRANSPORT: neither agent nor key" "$work/a2" "error permission_denied:"
}
TRANSPORT=openssh agent
TRANSPORT=libssh2 agent

# Through a jump host, which is checked as the node is.
export TRANSPORT=openssh
jump() {
    timeout 60 "$driver" --bundle "$work/test.tar.zst" --trust "$work/test.pub" --port "$port" --transport openssh --key "$work/user" \
        --jump "root@127.0.0.1:$port" --known-hosts "$work/hosts" "$@" run true </dev/null
}
jump --host-key "$host_key" >"$work/said/jump1" 2>&1 && bad "unknown jump host"
hasnot "an unknown jump host" "$work/said/jump1" "status=0"
echo "[127.0.0.1]:$port $host_key" >"$work/hosts"
jump >"$work/said/jump2" 2>&1
has "through a jump host" "$work/said/jump2" "status=0"

# Ctrl-C while a command runs.
DRIVER_PID="$work/interrupted" drive ctrlc run sleep 50 &
waiting=$!
for _ in $(seq 100); do grep -q open "$work/said/ctrlc" 2>/dev/null && break; sleep 0.05; done
sleep 0.5
began=$(date +%s)
kill -TERM "$(cat "$work/interrupted")"
wait "$waiting"
[ $(($(date +%s) - began)) -lt 5 ] && ok "an interrupt is heard" || bad "an interrupt is heard"
has "an interrupt is named" "$work/said/ctrlc" "error interrupted:"
TRANSPORT=libssh2 errors

# From mirrors: one that nobody answers at, then a real kregistry with its own CA.
export TRANSPORT=openssh
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=mirror \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$work/tls.key" -out "$work/tls.crt" 2>/dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=other \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$work/other.key" -out "$work/other.crt" 2>/dev/null
OPENSSL_CONF=/dev/null "$kregistry" --bundle "$work/test.tar.zst,id=$id" --listen 127.0.0.1:0 --tls-cert "$work/tls.crt" \
    --tls-key "$work/tls.key" --access-log "$work/access" >"$work/registry.log" 2>&1 &
pids+=($!)
for _ in $(seq 200); do grep -q 'serving on' "$work/registry.log" && break; sleep 0.05; done
https=$(sed -n 's,.*https://[^ ]*:\([0-9]*\)$,\1,p' "$work/registry.log" | sed -n 1p)
rm -rf /opt/kpack-test/*
export DRIVER_MIRRORS="https://127.0.0.1:1 https://127.0.0.1:$https"
DRIVER_CA="$work/tls.crt" drive mirror fetch big + fetch big + send /var/lib/kpack/m.tar.zst
cmp -s "$work/big" /opt/kpack-test/big && ok "fetch from the second mirror" || { bad "fetch from a mirror"; cat "$work/said/mirror"; }
cmp -s "$work/test.tar.zst" /var/lib/kpack/m.tar.zst && ok "bundle from a mirror" || { bad "bundle from a mirror"; cat "$work/said/mirror"; }
grep -q progress "$work/said/mirror.err" && ok "its progress is told" || bad "its progress is told"
has "the mirror was asked" "$work/access" "/bundle/$id"
rm /var/lib/kpack/m.tar.zst*
head -c 15000000 "$work/test.tar.zst" >/var/lib/kpack/m.tar.zst.partial
DRIVER_CA="$work/tls.crt" drive mirror2 send /var/lib/kpack/m.tar.zst
cmp -s "$work/test.tar.zst" /var/lib/kpack/m.tar.zst && ok "bundle from a mirror, resumed" || bad "bundle from a mirror, resumed"
rm -rf /opt/kpack-test/*
DRIVER_CA="$work/other.crt" drive mirror3 fetch big && bad "another CA"
has "a mirror of another CA is refused" "$work/said/mirror3" "error tls:"
[ ! -e /opt/kpack-test/big ] && ok "and nothing is placed" || bad "and nothing is placed"
probe_ca=$(jq -Rs . <"$work/tls.crt")
drive https probe "{\"https\": \"https://127.0.0.1:$https/healthz\", \"ca\": $probe_ca}" + probe "{\"tls\": \"127.0.0.1:$https\", \"ca\": $probe_ca}"
[ "$(grep -c '"ok": true' "$work/said/https")" = 2 ] && ok "https and tls probes" || { bad "https and tls probes"; cat "$work/said/https"; }
unset DRIVER_MIRRORS

# Killed in the middle of sending; the next one goes on from there.
rm -f /var/lib/kpack/x.tar.zst*
DRIVER_PID="$work/sender" drive killed send /var/lib/kpack/x.tar.zst &
sending=$!
for _ in $(seq 400); do [ "$(stat -c %s /var/lib/kpack/x.tar.zst.partial 2>/dev/null || echo 0)" -gt 1000000 ] && break; sleep 0.005; done
kill -9 "$(cat "$work/sender")"
wait "$sending" 2>/dev/null
[ -e /var/lib/kpack/x.tar.zst ] && echo "   (it was too fast to be killed)"
drive after send /var/lib/kpack/x.tar.zst
cmp -s "$work/test.tar.zst" /var/lib/kpack/x.tar.zst && ok "killed while sending, resumed" || bad "killed while sending, resumed"

# A stick that reads errors, tells lies or is pulled out while the bundle goes to a mirror: what is wrong is said
# with the bytes and the way out, no half file gets the name, and the same command goes on when the stick is back.
plug_in() {
    "$failing" "$work/files" "$work/control" "$work/stick" &
    medium=$!
    pids+=("$medium")
    for _ in $(seq 100); do mountpoint -q "$work/stick" && break; sleep 0.05; done
}
pull_out() {
    fusermount3 -uz "$work/stick"
    kill -KILL "$medium" 2>/dev/null
    wait "$medium" 2>/dev/null
}
drive_stick() { # OUTPUT: sends the bundle of the stick
    timeout 120 "$driver" --bundle "$work/stick/test.tar.zst" --trust "$work/test.pub" --port "$port" --key "$work/user" \
        --host-key "$host_key" -- send /var/lib/kpack/s.tar.zst >"$work/said/$1" 2>"$work/said/$1.err"
}
no_name() { [ ! -e /var/lib/kpack/s.tar.zst ] && ok "$1" || bad "$1"; }
if [ -n "$failing" ] && [ -w /dev/fuse ] && command -v fusermount3 >/dev/null; then
    mkdir "$work/files" "$work/stick"
    cp "$work/test.tar.zst" "$work/files/"
    middle=$(($(stat -c %s "$work/test.tar.zst") / 2))
    echo "test.tar.zst $middle $((middle + 100)) 5" >"$work/control"
    plug_in
    drive_stick s1 && bad "a stick with bad blocks"
    has "bad blocks: the reason" "$work/said/s1" "error io_error:"
    has "bad blocks: the bytes" "$work/said/s1" "stick/test.tar.zst: bytes "
    no_name "bad blocks: nothing is there under the bundle's name"
    [ "$(stat -c %s /var/lib/kpack/s.tar.zst.partial)" -gt $((middle / 2)) ] && ok "bad blocks: what came is kept" || bad "bad blocks: what came is kept"
    echo "test.tar.zst $middle 99999999999 107" >"$work/control"
    drive_stick s2 && bad "a stick that is gone"
    has "gone: the reason" "$work/said/s2" "error medium_gone:"
    no_name "gone: nothing is there under the bundle's name"
    # Other bytes under the same size and times: the node's own look catches them.
    echo "test.tar.zst $((middle + 3000000)) $((middle + 3000100)) flip" >"$work/control"
    drive_stick s3 && bad "a stick that lies"
    has "lies: the node refuses" "$work/said/s3" "error damaged:"
    no_name "lies: nothing is there under the bundle's name"
    : >"$work/control"
    drive_stick s4
    cmp -s "$work/test.tar.zst" /var/lib/kpack/s.tar.zst && ok "healed: the same command, the whole bundle" || { bad "healed"; cat "$work/said/s4"; }
    rm -f /var/lib/kpack/s.tar.zst*
    drive_stick s5 &
    sending=$!
    for _ in $(seq 1000); do [ "$(stat -c %s /var/lib/kpack/s.tar.zst.partial 2>/dev/null || echo 0)" -gt 1000000 ] && break; sleep 0.005; done
    pull_out
    wait "$sending" && [ -e /var/lib/kpack/s.tar.zst ] && echo "   (it was too fast to be pulled out)"
    [ -e /var/lib/kpack/s.tar.zst ] || has "pulled out: the reason" "$work/said/s5" "error medium_gone:"
    plug_in
    drive_stick s6
    cmp -s "$work/test.tar.zst" /var/lib/kpack/s.tar.zst && ok "put back: goes on to the end" || { bad "put back"; cat "$work/said/s6"; }
    pull_out
fi

# Trust: another signer, an older serial, a signature that does not fit.
mkdir "$work/other"
"$maker" "$work/other" "$knode" 9 4096 >/dev/null
timeout 60 "$driver" --bundle "$work/other/test.tar.zst" --trust "$work/other/test.pub" --port "$port" --key "$work/user" --host-key "$host_key" \
    --transport openssh run true >"$work/t1" 2>&1 && bad "another signer"
has "a bundle of another signer is refused by the node" "$work/t1" "not signed as this node asks for"
mkdir "$work/old"
cp "$work"/test.key "$work"/test.pub "$work/old"
"$maker" "$work/old" "$knode" 1 4096 >/dev/null
timeout 60 "$driver" --bundle "$work/old/test.tar.zst" --trust "$work/test.pub" --port "$port" --key "$work/user" --host-key "$host_key" \
    --transport openssh run true + put /opt/kpack-test/old x 0600 >"$work/t2" 2>&1 && bad "an older serial"
has "an older serial may look" "$work/t2" "status=0"
has "an older serial may not change" "$work/t2" "error rollback:"
grep . "$work/sshd.log" | sed 's/^/sshd: /' | sed -n 1,5p
echo "bundle $id, $failures failures"
[ "$failures" = 0 ]
