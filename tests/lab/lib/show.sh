# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What an operator, a test or kinstall needs to know of a site that is up.

# What the lab's nodes need of the inventory beyond nodes: see "ignore_preflight" in README.md.
LAB_KUBERNETES='{network: flannel, ignore_preflight: [SystemVerification]}'

site_info_json() {
    local node states='{}'
    for node in $(node_names); do
        states=$(jq --arg n "$node" --arg s "$(node_state "$node")" --arg k "$(node_host_key "$node")" \
            '.[$n] = {state: $s, host_key: $k}' <<<"$states")
    done
    jq --argjson states "$states" '.nodes |= map(. + $states[.name])' "$NODES_JSON"
}

node_state() { if [[ -n $(node_init "$1") ]]; then echo on; else echo off; fi; }

node_host_key() { cut -d' ' -f1,2 "$(node_root "$1")/etc/ssh/ssh_host_ed25519_key.pub"; }

site_info() {
    printf 'site         %s\nssh key      %s\nknown hosts  %s\nnamespace    %s\nadmin side   %s exec --site %s -- COMMAND\n\n' \
        "$SITE" "$SSH_KEY" "$KNOWN_HOSTS" "$NETNS" "$LAB_COMMAND" "$SITE"
    site_info_json | jq -r '["NODE", "ADDRESS", "IPV6", "ROLE", "USER", "WITHOUT", "STATE"],
        (.nodes[] | [.name, .address, .ip6, .role, (if .user == "" then "root" else .user end),
                     (.without | join("+") | if . == "" then "-" else . end), .state]) | @tsv' |
        column -t -s $'\t'
}

# For eval by a shell.
site_env() {
    printf 'LAB_SITE=%q\nLAB_NETNS=%q\nLAB_SSH_KEY=%q\nLAB_KNOWN_HOSTS=%q\nLAB_NODES=%q\n' \
        "$SITE" "$NETNS" "$SSH_KEY" "$KNOWN_HOSTS" \
        "$(jq -r '[.nodes[] | "\(.name)=\(.address)"] | join(" ")' "$NODES_JSON")"
}

# The inventory for kinstall. A node with a user is reached as that user, the others as root.
site_hosts_yaml() {
    printf 'cluster: %s\nssh: {user: root, key: %s}\nkubernetes: %s\nnodes:\n' "$1" "$SSH_KEY" "$LAB_KUBERNETES"
    site_info_json | jq -r '.nodes[]
        | (if .user == "" then ""
           elif .nopasswd then ", ssh: {user: \(.user)}"
           else ", ssh: {user: \(.user), sudo: password}" end) as $ssh
        | "  - {name: \(.name), address: \(.address), roles: [\(.role)], host_key: \"\(.host_key)\"\($ssh)}"'
}

site_list() {
    local file on
    for file in "$LAB_ROOT"/*/; do
        [[ -d $file ]] || continue
        site_select "$(basename "$file")"
        if [[ ! -f $NODES_JSON ]]; then
            printf '%s\tleft over; "site down --site %s" clears it\n' "$SITE" "$SITE"
            continue
        fi
        on=$(for node in $(node_names); do node_init "$node"; done | wc -l)
        printf '%s\t%s nodes, %s on: %s\n' "$SITE" "$(node_names | wc -l)" "$on" "$(node_names | paste -sd ' ')"
    done
}

# Names everything of the selected site that is on this machine, one thing a line.
site_leaks() {
    local pid path
    for pid in $(cgroup_pids "$CGROUP"); do
        echo "process $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null || true)"
    done
    for path in $(cgroup_dirs "$CGROUP"); do echo "control group $path"; done
    for path in $(site_namespaces); do echo "network namespace $path"; done
    for path in $(site_mounts); do echo "mount $path"; done
    for path in "$STATE" "/etc/netns/$NETNS" "/run/systemd/nspawn/propagate/$NETNS".*; do
        [[ ! -e $path ]] || echo "folder $path"
    done
}

site_mounts() { findmnt -rn -o TARGET | awk -v s="$STATE/" 'index($0 "/", s) == 1' | sort -r; }
