#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Times per phase of an install on 1, 3 and 5 nodes (the last with three control planes), side by side.
# Needs root. Run: tests/bench/nodes.sh
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

CLUSTER=nodes
declare -A COLUMN=() TOTAL=()
PHASES=()

# "37 s", "3 min 1 s" in seconds.
seconds() { awk '{ t = 0; for (i = 1; i < NF; i += 2) t += $i * ($(i + 1) == "min" ? 60 : $(i + 1) == "h" ? 3600 : 1); print t }' <<<"$1"; }

install_on() { # NODES CONTROL-PLANES
    local count=$1 control=$2 i nodes=() line phase
    part "install on $count nodes, $control of them control planes"
    for ((i = 1; i <= count; i++)); do
        nodes+=(--node "n$i=10.77.0.$((10 + i)),role=$( ((i <= control)) && echo control-plane || echo worker)")
    done
    "$SITE" up "${nodes[@]}" >/dev/null
    "$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/hosts.yaml"
    [[ $control != "$count" ]] || sed -i 's/roles: \[control-plane\]/roles: [control-plane, worker]/' "$WORK/hosts.yaml"
    rm -rf "$WORK/$CLUSTER.state"
    kinstall --bundle "$BUNDLE" -i "$WORK/hosts.yaml" >"$WORK/out" 2>&1 || fail "$(tail -n 30 "$WORK/out")"
    while read -r line; do
        phase=$(awk '{ print $2 }' <<<"$line")
        [[ " ${PHASES[*]} " == *" $phase "* ]] || PHASES+=("$phase")
        COLUMN[$phase-$count]=$(seconds "$(grep -oE '([0-9.]+ (h|min|s) ?)+( +unchanged)?$' <<<"$line" | sed 's/ *unchanged//')")
    done < <(grep '✓' "$WORK/out")
    TOTAL[$count]=$(seconds "$(sed -n 's/.*nodes\{0,1\}, \([0-9.a-z ]*\) (kubeadm.*/\1/p' "$WORK/out")")
    "$SITE" down >/dev/null
}

e2e_begin nodes
part "the bundle"
shared_bundle
kinstall_site() { "$SITE" up --node n1=10.77.0.11,role=control-plane >/dev/null && kinstall trust add "$PUB" >/dev/null && "$SITE" down >/dev/null; }
kinstall_site
install_on 1 1
install_on 3 1
install_on 5 3
part end
printf '\n%-10s %10s %10s %10s   seconds\n' phase "1 node" "3 nodes" "5 nodes"
for phase in "${PHASES[@]}"; do
    printf '%-10s %10s %10s %10s\n' "$phase" "${COLUMN[$phase-1]:--}" "${COLUMN[$phase-3]:--}" "${COLUMN[$phase-5]:--}"
done
printf '%-10s %10s %10s %10s\n' total "${TOTAL[1]}" "${TOTAL[3]}" "${TOTAL[5]}"
