# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A node's power: on, off at once, restarted; and commands inside it, also when its sshd is dead.
# shellcheck disable=SC2153 # STATE is set by site_select

LAB_LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

node_machine() { printf '%s.%s' "$NETNS" "$(node_field "$1" index)"; }

# The number of the node's systemd-nspawn, if the node is on.
node_nspawn() { recorded_process "$(node_run_file "$1" nspawn)" || true; }

# The number of the node's init on this machine; nothing when the node is off.
node_init() {
    local nspawn child
    nspawn=$(node_nspawn "$1")
    [[ -n $nspawn ]] || return 0
    local -a children=()
    read -ra children 2>/dev/null <"/proc/$nspawn/task/$nspawn/children" || true
    for child in "${children[@]}"; do
        if grep -Eqs '^NSpid:.*[[:space:]]1$' "/proc/$child/status"; then
            echo "$child"
        fi
    done
}

# Starts the node's board (lib/board), which outlives this command; returns when the node's init runs.
node_power_on() {
    local node=$1 board deadline=$((SECONDS + 90))
    [[ -z $(node_nspawn "$node") ]] || die "node $node is on already"
    setsid "$LAB_LIB/board" "$SITE" "$node" </dev/null >>"$STATE/log/$node.console" 2>&1 {LOCK_FD}>&- &
    board=$!
    until [[ -n $(node_init "$node") ]]; do
        [[ -e /proc/$board ]] || die "node $node ended at once; see $STATE/log/$node.console"
        ((SECONDS < deadline)) || die "node $node did not start within 90 s; see $STATE/log/$node.console"
        sleep 0.1
    done
}

# Cuts the power: init first, which takes all of the node with it in one stroke; then systemd-nspawn
# (killed alone it leaves the node running), then whatever ran commands in the node.
node_power_off() {
    local node=$1 init board deadline=$((SECONDS + 60))
    init=$(node_init "$node")
    [[ -z $init ]] || kill -KILL "$init" 2>/dev/null || true
    cgroup_kill "$(node_cgroup "$node")"
    while board=$(recorded_process "$(node_run_file "$node" board)"); do
        if ((SECONDS >= deadline)); then
            say "the board of $node does not end by itself"
            kill -KILL "$board"
            break
        fi
        sleep 0.1
    done
    node_unplug "$node"
    cgroup_remove "$(node_cgroup "$node")"
}

node_boots() { cat "$(node_run_file "$1" boots)" 2>/dev/null || echo 0; }

# Asks the node's own systemd to reboot; returns when the new boot has begun.
node_reboot() {
    local node=$1 boots deadline=$((SECONDS + 150))
    boots=$(node_boots "$node")
    node_run "$node" systemctl --no-block reboot
    until (($(node_boots "$node") > boots)) && [[ -n $(node_init "$node") ]]; do
        ((SECONDS < deadline)) || die "node $node has not come back from its reboot within 150 s"
        sleep 0.2
    done
}

# Runs a command in the node as its root, by its namespaces.
node_run() {
    local node=$1 init
    shift
    init=$(node_init "$node")
    [[ -n $init ]] || { say "node $node is off"; return 255; }
    (
        cgroup_enter "$(node_cgroup "$node")"
        exec nsenter -t "$init" -m -u -i -n -p -C -r -w env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            HOME=/root USER=root LOGNAME=root LANG=C.UTF-8 TERM="${TERM:-dumb}" "$@"
    )
}

# Waits until the node's systemd has started everything.
node_wait() {
    local node=$1 state='' deadline=$((SECONDS + ${2:-180}))
    while ((SECONDS < deadline)); do
        [[ -n $(node_nspawn "$node") ]] || die "node $node is off"
        state=$(node_run "$node" systemctl is-system-running 2>/dev/null) || true
        case $state in
        running) return 0 ;;
        degraded)
            node_run "$node" systemctl --failed --no-legend >&2
            die "node $node is up, but the units above failed"
            ;;
        esac
        sleep 0.3
    done
    die "node $node is still \"$state\" after ${2:-180} s; see $STATE/log/$node.console"
}
