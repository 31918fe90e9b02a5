# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What every part of the lab stands on: messages, the site's names and places, its description
# (nodes.json) and the identity of processes. Sourced, never run.
# shellcheck disable=SC2034 # set here for the other parts

LAB_ROOT=${KPACK_LAB_ROOT:-/var/lib/kpack-lab/sites}
LAB_CACHE=${KPACK_LAB_CACHE:-$HOME/.cache/kpack-lab}

say() { printf 'site: %s\n' "$*" >&2; }

die() {
    printf 'site: error: %s\n' "$*" >&2
    exit 1
}

usage_error() {
    printf 'site: %s\nsite: run "site help" for what it can do\n' "$*" >&2
    exit 2
}

# Seconds with one decimal since the time given, which is an earlier $EPOCHREALTIME.
since() {
    local tenths=$(((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

# Sets the names and places of one site. A site's name has no dot, so that "kpl.NAME" and
# "kpl.NAME.*" never name a thing of another site.
site_select() {
    [[ $1 =~ ^[a-z][a-z0-9-]{0,15}$ ]] ||
        usage_error "site name \"$1\": use up to 16 of a-z, 0-9 and -, a letter first"
    SITE=$1
    STATE=$LAB_ROOT/$SITE
    NETNS=kpl.$SITE
    NODES_JSON=$STATE/nodes.json
    CGROUP=kpack-lab/$SITE
    SSH_KEY=$STATE/ssh/id_ed25519
    KNOWN_HOSTS=$STATE/ssh/known_hosts
}

site_must_exist() {
    [[ -f $NODES_JSON ]] || die "site $SITE is not up; \"site list\" shows those that are"
}

node_must_exist() {
    site_must_exist
    [[ -n ${1:-} ]] || usage_error "name a node: $(node_names | paste -sd ' ')"
    jq -e --arg n "$1" 'any(.nodes[]; .name == $n)' "$NODES_JSON" >/dev/null ||
        die "site $SITE has no node \"$1\"; it has: $(node_names | paste -sd ' ')"
}

node_names() { jq -r '.nodes[].name' "$NODES_JSON"; }

# One field of a node's description; empty if it has none.
node_field() {
    jq -r --arg n "$1" --arg f "$2" '.nodes[] | select(.name == $n) | .[$f] // ""' "$NODES_JSON"
}

node_root() { printf '%s/roots/%s' "$STATE" "$1"; }
node_netns() { printf '%s.%s' "$NETNS" "$1"; }
node_cgroup() { printf '%s/node-%s' "$CGROUP" "$1"; }
node_run_file() { printf '%s/run/%s.%s' "$STATE" "$1" "$2"; }

# The start time of a process (proc(5), field 22): a process is known by its number and this.
process_start() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    awk '{ print $20 }' <<<"$stat"
}

# Records the calling shell in a file, for recorded_process.
record_self() {
    local self=$BASHPID # why: within $( ) it would be another
    printf '%s %s\n' "$self" "$(process_start "$self")" >"$1"
}

# Prints the number of the process recorded as "pid start" in a file, if it still is that process.
recorded_process() {
    local pid start
    [[ -s $1 ]] || return 1
    read -r pid start <"$1" || return 1
    [[ $(process_start "$pid") == "$start" ]] || return 1
    printf '%s\n' "$pid"
}

# Runs a function once per name, all at once; fails if one of them fails and says which.
in_parallel() {
    local function=$1 name failed=
    local -A pid=()
    shift
    for name in "$@"; do
        "$function" "$name" &
        pid[$name]=$!
    done
    for name in "$@"; do
        wait "${pid[$name]}" || failed+=" $name"
    done
    [[ -z $failed ]] || { say "$function failed for:$failed"; return 1; }
}

# Only one command at a time changes a site. The lock's descriptor is closed for what outlives it.
site_lock() {
    exec {LOCK_FD}>"/run/lock/kpack-lab-$SITE.lock"
    flock -w "${1:-120}" "$LOCK_FD" || die "another command is still changing site $SITE"
}
