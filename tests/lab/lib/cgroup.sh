# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Control groups: every node lives in one of its own in each hierarchy, so that its cgroup
# namespace begins there. Without that, all nodes would see one tree: a kubelet deletes the pods of
# other nodes as orphans, and stopping a unit on one node stops it on all.
# The groups also tell, whatever else was lost, which processes belong to a site.

# Mount points of the machine's cgroup hierarchies (v1, v2 or both).
cgroup_mounts() { findmnt -rn -t cgroup,cgroup2 -o TARGET; }

# The hierarchy that is asked who belongs to a site.
cgroup_register() {
    findmnt -rn -t cgroup,cgroup2 -o TARGET,FSTYPE |
        awk '$1 ~ /\/pids$/ { v1 = $1 } $2 == "cgroup2" { v2 = $1 } END { print v1 ? v1 : v2 }'
}

# Makes PATH beneath one hierarchy ready to take processes.
cgroup_make_in() {
    local mount=$1 path=$2 dir=$1 part controller
    local -a parts
    IFS=/ read -ra parts <<<"$path"
    for part in "${parts[@]}"; do
        if [[ -e $dir/cgroup.subtree_control ]]; then
            for controller in $(<"$dir/cgroup.controllers"); do
                # why: the machine may have reserved one; the node then lacks it and says so itself
                echo "+$controller" 2>/dev/null >"$dir/cgroup.subtree_control" || true
            done
        fi
        mkdir -p "$dir/$part"
        if [[ -e $dir/$part/cpuset.cpus && -e $mount/cgroup.clone_children ]]; then
            # why: v1 cpuset takes no process before it has processors and memory
            echo 1 >"$dir/$part/cgroup.clone_children"
            cat "$dir/cpuset.cpus" >"$dir/$part/cpuset.cpus"
            cat "$dir/cpuset.mems" >"$dir/$part/cpuset.mems"
        fi
        dir=$dir/$part
    done
}

# Moves the calling shell into PATH in every hierarchy, making it if need be.
cgroup_enter() {
    local mount dir
    while read -r mount; do
        dir=$mount/$1
        [[ -d $dir ]] || cgroup_make_in "$mount" "$1"
        # why: a v2 group with children takes no process itself; systemd-nspawn has made this one
        [[ ! -d $dir/supervisor ]] || dir=$dir/supervisor
        echo "$BASHPID" >"$dir/cgroup.procs"
    done < <(cgroup_mounts)
}

cgroup_pids() {
    local top
    top=$(cgroup_register)/$1
    [[ ! -d $top ]] || find "$top" -name cgroup.procs -exec cat {} + 2>/dev/null || true
}

# Ends every process in PATH and waits until none is left.
cgroup_kill() {
    local pid round
    for round in {1..100}; do
        local -a pids=()
        mapfile -t pids < <(cgroup_pids "$1")
        ((${#pids[@]})) || return 0
        for pid in "${pids[@]}"; do
            # why: asked again, since the number may have gone to someone else's process by now
            if grep -qs "/$1\(/\|$\)" "/proc/$pid/cgroup"; then
                kill -KILL "$pid" 2>/dev/null || true
            fi
        done
        sleep 0.1
    done
    say "after $round rounds these processes of $1 still live: ${pids[*]}"
    return 1
}

cgroup_dirs() {
    local mount
    while read -r mount; do
        [[ ! -d $mount/$1 ]] || find "$mount/$1" -depth -type d 2>/dev/null
    done < <(cgroup_mounts)
}

# Removes PATH, and all beneath it, from every hierarchy. Nothing may live in it any more.
cgroup_remove() {
    local round dir
    for round in {1..50}; do
        while read -r dir; do
            rmdir "$dir" 2>/dev/null || true
        done < <(cgroup_dirs "$1")
        [[ -n $(cgroup_dirs "$1") ]] || return 0
        sleep 0.1
    done
    say "control groups left after $round rounds: $(cgroup_dirs "$1" | paste -sd ' ')"
    return 1
}
