# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Reads what the user asked for (NAME=ADDRESS[/PREFIX][,option…]) and checks it before anything is
# made. The result is the site's description, nodes.json.

is_ip4() {
    local part
    [[ $1 =~ ^([0-9]{1,3}\.){3}[0-9]{1,3}$ ]] || return 1
    for part in ${1//./ }; do
        ((10#$part <= 255)) || return 1
    done
}

# The node's IPv6 address unless one is given: the IPv4 address inside the site's IPv6 network.
default_ip6() {
    local number
    number=$(ip4_number "$1")
    printf 'fd77::%x:%x' $((number >> 16)) $((number & 0xffff))
}

# Prints one node of --node as JSON; $2 is its place in the list, from 1.
plan_node() {
    local spec=$1 index=$2 name address prefix=24 option
    local role='' user='' password='' nopasswd='' with='' without='' ip6='' resolver=''
    local -a options
    [[ $spec == *=* ]] || usage_error "--node $spec: write NAME=ADDRESS[,option…]"
    name=${spec%%=*}
    IFS=, read -ra options <<<"${spec#*=}"
    address=${options[0]:-}
    if [[ $address == */* ]]; then
        prefix=${address#*/} address=${address%/*}
    fi
    [[ ${#name} -le 63 && $name =~ ^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$ ]] ||
        usage_error "--node $spec: a node's name is up to 63 of a-z, 0-9, - and ."
    is_ip4 "$address" || usage_error "--node $spec: \"$address\" is no IPv4 address"
    [[ $prefix =~ ^([89]|[12][0-9]|30)$ ]] ||
        usage_error "--node $spec: prefix /$prefix: use 8 to 30"
    for option in "${options[@]:1}"; do
        case $option in
        role=control-plane | role=worker) role=${option#*=} ;;
        user=?*:?*) user=${option#user=} password=${user#*:} user=${user%%:*} ;;
        user=?*) user=${option#user=} ;;
        nopasswd) nopasswd=true ;;
        with=?*) with=${option#*=} ;;
        without=?*) without=${option#*=} ;;
        ip6=?*:*) ip6=${option#*=} ;;
        resolver=?*) resolver=${option#*=} ;;
        *) usage_error "--node $spec: option \"$option\": one of role=control-plane|worker user=NAME:PASSWORD nopasswd with=PACKAGE+PACKAGE without=PACKAGE+PACKAGE ip6=ADDRESS resolver=ADDRESS" ;;
        esac
    done
    [[ -z $user || $user =~ ^[a-z_][a-z0-9_-]{0,30}$ ]] || usage_error "--node $spec: user \"$user\" is no user name"
    [[ -z $user || -n $password || -n $nopasswd ]] || usage_error "--node $spec: give user=$user:PASSWORD or nopasswd"
    [[ -z $nopasswd || -n $user ]] || usage_error "--node $spec: nopasswd needs user=NAME"
    jq -n --arg name "$name" --argjson index "$index" --arg address "$address" --argjson prefix "$prefix" \
        --arg network "$(ip4_network "$address" "$prefix")" --arg ip6 "${ip6:-$(default_ip6 "$address")}" \
        --arg role "${role:-$( ((index == 1)) && echo control-plane || echo worker)}" \
        --arg user "$user" --arg password "$password" --arg nopasswd "$nopasswd" \
        --arg with "$with" --arg without "$without" --arg resolver "$resolver" \
        '{name: $name, index: $index, address: $address, prefix: $prefix, network: $network, ip6: $ip6,
          role: $role, user: $user, password: $password, nopasswd: ($nopasswd == "true"),
          with: ($with | split("+")), without: ($without | split("+")), resolver: $resolver}'
}

# Prints the description of a site of the given nodes.
plan_site() {
    local spec network index=0 nodes='' networks='' twice
    local -a addresses=()
    for spec in "$@"; do
        index=$((index + 1))
        nodes+=$(plan_node "$spec" "$index")
    done
    for spec in name address ip6; do
        twice=$(jq -rs --arg f "$spec" 'group_by(.[$f])[] | select(length > 1) | .[0][$f]' <<<"$nodes")
        [[ -z $twice ]] || usage_error "two nodes have the $spec ${twice//$'\n'/, }"
    done
    mapfile -t addresses < <(jq -r .address <<<"$nodes")
    for network in $(jq -r .network <<<"$nodes" | sort -u); do
        networks+="{\"network\": \"$network\", \"gateway\": \"$(ip4_free_host "$network" "${addresses[@]}")\"}"
    done
    jq -n --arg site "$SITE" --arg netns "$NETNS" --arg key "$SSH_KEY" --arg known "$KNOWN_HOSTS" \
        --slurpfile nodes <(echo "$nodes") --slurpfile networks <(echo "$networks") '
        ($networks | map({(.network): .gateway}) | add) as $gateway
        | {site: $site, netns: $netns, ssh_key: $key, known_hosts: $known, networks: $networks,
           nodes: ($nodes | map(. + {gateway: $gateway[.network]}))}'
}
