#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The main path: three nodes, one of them by a user with a password for sudo and a shell that talks;
# a working cluster, no packet that leaves the site, a second run that changes nothing, a reset that
# leaves nothing, and an install after it. Needs root. Run: tests/e2e/install.sh
# shellcheck disable=SC2016 # single quotes: for the shells of the nodes
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

CLUSTER=e2e
PASSWORD='s3cret of ann'
NODES=(cp1 w1 w2)

inventory() { printf '%s' "$WORK/hosts.yaml"; }

# kinstall with bundle, inventory and password: install_with [COMMAND] [OPTIONS…]
with_all() {
    kinstall "$@" --bundle "$BUNDLE" -i "$(inventory)" --sudo-password-fd 3 3<<<"$PASSWORD"
}

# The same by what the state folder and the nodes know.
without_bundle() { kinstall "$@" -i "$(inventory)" --sudo-password-fd 3 3<<<"$PASSWORD"; }

ssh_as() { # USER ADDRESS COMMAND
    "$SITE" exec -- ssh -F none -i "$LAB_SSH_KEY" -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=5 \
        -o StrictHostKeyChecking=yes -o UserKnownHostsFile="$LAB_KNOWN_HOSTS" "$1@$2" "$3"
}

test_up() {
    part "three nodes and one that lacks conntrack and socat"
    "$SITE" up --node cp1=10.77.0.11 --node w1=10.77.0.12 --node w2=10.77.0.13,user=ann:"$PASSWORD" \
        --node bare=10.77.0.14,without=conntrack+socat
    eval "$("$SITE" env)"
    "$SITE" hosts-yaml --cluster "$CLUSTER" | grep -v 'name: bare' >"$(inventory)"
    "$SITE" hosts-yaml --cluster bare >"$WORK/bare.yaml"
    foreign_things
    for node in "${NODES[@]}"; do snapshot "$node" >"$WORK/$node.before"; done
}

# What is on each node before and is not kinstall's: must be there after a reset.
foreign_things() {
    local node
    for node in "${NODES[@]}"; do
        "$SITE" run "$node" -- sh -ec 'iptables -N SITE-OWN && iptables -A INPUT -p tcp --dport 9 -j SITE-OWN
            echo "10.9.9.9 printer" >>/etc/hosts
            mkdir -p /usr/local/bin && echo "#!/bin/sh" >/usr/local/bin/own-tool'
    done
}

# What a node is, for comparing: files with their content where small, units, rules, interfaces,
# mounts, listening sockets. Left out is what lives by itself, and an empty /usr/local/libexec, which many
# distributions have anyway.
snapshot() {
    "$SITE" run "$1" -- bash -c '
        find /etc /usr/local /opt /var/lib /root /srv /home -xdev \
            \( -path /var/lib/systemd -o -path /var/lib/private -o -path /var/lib/dbus -o -path /var/lib/sudo -o -name .sudo_as_admin_successful \) -prune \
            -o \( -type d -printf "folder %p %m %u\n" -o -printf "file %p %m %u %l\n" \) |
            grep -vx "folder /usr/local/libexec .*" | sort
        find /etc /usr/local -xdev -type f -size -256k -exec sha256sum {} + | sort -k2
        systemctl list-unit-files --no-legend --no-pager | awk "{ print \"unit \" \$1, \$2 }" | sort
        { iptables-save; ip6tables-save; } 2>/dev/null | grep -E "^(-A|:)" | grep -vE "^:(INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING) " | sed "s/ \[[0-9:]*\]//" | sort
        ip -o link | awk -F": " "{ print \"link \" \$2 }" | sed "s/@.*//" | sort
        ip -4 route | sort
        awk "{ print \"mount \" \$2 }" /proc/mounts | grep -E "kube|containerd|kpack" | sort
        ss -Hltn | awk "{ print \"listens \" \$4 }" | sort -u
        ls /sys/fs/cgroup | grep -i kube || true'
}

test_check() {
    part "check: all findings of all nodes at once, programs by package, nothing changed"
    refused 1 kinstall check --bundle "$BUNDLE" -i "$WORK/bare.yaml" --sudo-password-fd 3 3<<<"$PASSWORD"
    contains "check" "$OUTPUT" conntrack socat bare "nothing was changed"
    [[ $OUTPUT =~ bare[^$'\n']*error[^$'\n']*conntrack ]] || fail "no error that names bare and conntrack: $OUTPUT"
    with_all check >"$WORK/out" 2>&1 || fail "check of good nodes: $(cat "$WORK/out")"
    say "$(tail -n 1 "$WORK/out")"
    part "a wrong password for sudo is an error that names the node"
    refused 1 kinstall --bundle "$BUNDLE" -i "$(inventory)" --sudo-password-fd 3 3<<<"wrong"
    contains "wrong password" "$OUTPUT" w2 sudo password
    part "without a trusted key nothing is read further"
    kinstall trust remove e2e >/dev/null
    refused 3 kinstall --bundle "$BUNDLE" -i "$(inventory)" --sudo-password-fd 3 3<<<"$PASSWORD"
    contains "no trusted key" "$OUTPUT" "trust"
    kinstall trust add "$PUB"
    for node in "${NODES[@]}"; do
        "$SITE" run "$node" -- sh -c '! command -v kubeadm' || fail "$node was changed"
    done
}

all_are_ready() { [[ $(ready_nodes) == "cp1=True w1=True w2=True" ]] && no_unready_pods; }

# The network plugin starts before kube-proxy has its rules again: its packets must not leave.
test_reboot() {
    part "a node is rebooted: all Ready again, no packet left"
    "$SITE" reboot w1
    "$SITE" wait w1
    "$SITE" run w1 -- sh -ec 'iptables -N SITE-OWN && iptables -A INPUT -p tcp --dport 9 -j SITE-OWN' # rules do not outlive a boot
    sleep 15 # until then the API server may not know yet that it was away
    soon 180 all_are_ready || fail "not ready: $(ready_nodes) $(unready_pods)"
    expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
    expect "the plugin's API" "$CLUSTER.kpack.internal" "$(kubectl -n kube-flannel get daemonset kube-flannel-ds -o json |
        jq -r '[.spec.template.spec | (.containers + .initContainers)[].env[] | select(.name == "KUBERNETES_SERVICE_HOST").value] | unique | join(" ")')"
    seen reboot running
}

test_install() {
    part "plan for bare nodes: each change, and no CA that is thrown away again"
    with_all plan >"$WORK/plan.out" 2>&1 || fail "plan: $(tail -n 40 "$WORK/plan.out")"
    contains "plan" "$(cat "$WORK/plan.out")" "kubeadm init" "kubeadm join" "this is what apply would do"
    ! grep -q "BEGIN CERTIFICATE" "$WORK/plan.out" || fail "the plan shows a certificate that nobody will see again"
    part "install: $CLUSTER is ready"
    "$SITE" egress selftest
    "$SITE" egress reset
    local started=$EPOCHREALTIME
    with_all >"$WORK/install.out" 2>&1 || fail "install: $(tail -n 40 "$WORK/install.out")"
    sed 's/^/     /' "$WORK/install.out"
    contains "install" "$(cat "$WORK/install.out")" "cluster $CLUSTER is ready" kubeadm "everything else"
    say "$(since "$started") s"
    part "nodes and pods are Ready by the fetched kubeconfig"
    expect "mode of the kubeconfig" 600 "$(stat -c %a "$WORK/$CLUSTER.state/kubeconfig")"
    expect "mode of the state folder" 700 "$(stat -c %a "$WORK/$CLUSTER.state")"
    fetch_kubectl
    expect "nodes" "cp1=True w1=True w2=True" "$(ready_nodes)"
    soon 60 no_unready_pods || fail "not ready: $(unready_pods)"
    kubectl get nodes,pods -A -o wide | sed 's/^/     /'
    part "no packet left the site"
    expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
    part "no secret in journal, logs or on the screen"
    ! grep -rqF "$PASSWORD" "$WORK/$CLUSTER.state" "$WORK/install.out" || fail "the password is in the state folder"
    ! grep -rqE '[a-z0-9]{6}\.[a-z0-9]{16}' "$WORK/$CLUSTER.state/journal.jsonl" "$WORK/$CLUSTER.state/log" ||
        fail "a bootstrap token is in the journal or a log"
    for node in "${NODES[@]}"; do
        ! grep -qF "$PASSWORD" <<<"$("$SITE" run "$node" -- sh -c 'cat /proc/[0-9]*/cmdline | tr "\0" " "')" || fail "the password is in argv on $node"
    done
    seen flannel running
    seen kube-proxy-iptables running
}

test_again() {
    part "run again: nothing changes"
    local started=$EPOCHREALTIME
    with_all >"$WORK/again.out" 2>&1 || fail "second run: $(tail -n 40 "$WORK/again.out")"
    contains "second run" "$(cat "$WORK/again.out")" "nothing had to be changed"
    say "$(since "$started") s"
    part "plan: no changes"
    with_all plan >"$WORK/plan.out" 2>&1 || fail "plan: $(tail -n 40 "$WORK/plan.out")"
    contains "plan" "$(cat "$WORK/plan.out")" "everything is as it should be"
    part "plan sees a file that was changed by hand, apply mends it"
    "$SITE" run w1 -- sh -c 'echo "# by hand" >>/etc/containerd/config.toml'
    with_all plan >"$WORK/plan.out" 2>&1 || fail "plan: $(tail -n 40 "$WORK/plan.out")"
    contains "plan" "$(cat "$WORK/plan.out")" config.toml "# by hand" "this is what apply would do"
    with_all >"$WORK/again.out" 2>&1 || fail "mending: $(tail -n 40 "$WORK/again.out")"
    "$SITE" run w1 -- sh -c '! grep "by hand" /etc/containerd/config.toml' || fail "config.toml was not mended"
    part "status"
    without_bundle status >"$WORK/status.out" 2>&1 || fail "status: $(cat "$WORK/status.out")"
    expect "Ready in status" 3 "$(grep -cw Ready "$WORK/status.out")"
    seen run-again running
    seen plan running
}

# The node's own keys among labels, and its taints: "cp1 zone=a taints: key:effect".
marks() { # NODE
    kubectl get node "$1" -o json | jq -r '[(.metadata.labels | to_entries[] | select(.key == "zone" or .key == "disk") | .key + "=" + .value)]
        + ["taints:"] + [.spec.taints[]? | select(.key | startswith("node.kubernetes.io/") | not) | .key + ":" + .effect] | join(" ")'
}

apply_with() { # SED-SCRIPT: the inventory of before, changed by it
    sed -E "$1" "$WORK/hosts.plain" >"$(inventory)"
    with_all >"$WORK/marks.out" 2>&1 || fail "apply: $(tail -n 40 "$WORK/marks.out")"
}

test_marks() {
    local role=node-role.kubernetes.io/control-plane:NoSchedule
    cp "$(inventory)" "$WORK/hosts.plain"
    part "labels and taints that the inventory names are set; the control plane's own goes by taints: []"
    expect "cp1" "taints: $role" "$(marks cp1)"
    kubectl label node w1 disk=theirs >/dev/null
    apply_with 's/\{name: w1,/{name: w1, labels: {zone: a}, taints: ["dedicated=x:PreferNoSchedule"],/; s/\{name: cp1,/{name: cp1, taints: [],/'
    expect "w1" "disk=theirs zone=a taints: dedicated:PreferNoSchedule" "$(marks w1)"
    expect "cp1" "taints:" "$(marks cp1)"
    part "what it names no more is taken away, the control plane's own is back, what others set stays"
    apply_with ''
    expect "w1" "disk=theirs taints:" "$(marks w1)"
    expect "cp1" "taints: $role" "$(marks cp1)"
    with_all >"$WORK/marks.out" 2>&1 || fail "apply: $(tail -n 40 "$WORK/marks.out")"
    contains "once more" "$(cat "$WORK/marks.out")" "nothing had to be changed"
    seen labels-taints running
}

# Where kubelets' certificates are approved, and what is of it: units, credential, what it has last said.
approver_of() {
    "$SITE" run cp1 -- sh -c 'systemctl list-units --all --plain --no-legend "kpack-*" | cut -d" " -f1
        systemctl list-unit-files --no-legend "kpack-approve*" | cut -d" " -f1
        ls -d /etc/kubernetes/kpack-approver.conf /etc/kpack/nodes.json /run/kpack/approve/last.json /run/kpack 2>/dev/null' | sort -u | paste -sd' '
}

test_reset() {
    part "reset, without the bundle: nothing of ours is left, the approver neither, everything else is"
    contains "before" "$(approver_of)" kpack-approve.timer kpack-approve.service kpack-approver.conf nodes.json last.json
    without_bundle reset --yes >"$WORK/reset.out" 2>&1 ||
        fail "reset: $(cat "$WORK/reset.out")"
    local node different=''
    for node in "${NODES[@]}"; do
        snapshot "$node" >"$WORK/$node.after"
        if ! diff "$WORK/$node.before" "$WORK/$node.after" >"$WORK/$node.diff"; then
            echo "$node differs from what it was before:"
            head -n 60 "$WORK/$node.diff"
            different=yes
        fi
    done
    [[ -z $different ]] || fail "reset left something or took too much"
    expect "of the approver" "" "$(approver_of)"
    part "SSH works after reset"
    expect "root" cp1 "$(ssh_as root 10.77.0.11 hostname 2>/dev/null | tail -n 1)"
    expect "ann" w2 "$(ssh_as ann 10.77.0.13 hostname 2>/dev/null | tail -n 1)"
    part "install after reset"
    with_all >"$WORK/third.out" 2>&1 || fail "install after reset: $(tail -n 40 "$WORK/third.out")"
    fetch_kubectl
    expect "nodes" "cp1=True w1=True w2=True" "$(ready_nodes)"
    expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
    seen reset running
}

e2e_begin install
part "the bundle"
shared_bundle
kinstall_trust_folder=$WORK/config/kpack/trusted.d
test_up
kinstall trust add "$PUB"
[[ -f $kinstall_trust_folder/e2e.pub ]] || fail "trust add made no $kinstall_trust_folder/e2e.pub"
test_check
test_install
test_again
test_marks
test_reboot
test_reset
part end
