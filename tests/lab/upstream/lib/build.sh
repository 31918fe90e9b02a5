# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# shellcheck disable=SC2034 # V and OUT are for the recipes
#
# Builds components, each once: the cache's name for it holds the version and a digest of the recipe.

# Two lanes that run side by side; in a lane one after another, so that programs of one source
# share what is compiled. Both take about as long.
LANE_A=("${KUBE_PROGRAMS[@]}" etcd pause)
LANE_B=(debian-base haproxy upstreamd hello registry crane oras containerd runc coredns cni-plugins flannel-cni-plugin flannel crictl)

# recipe_of NAME: the function that builds it in the version that is wanted.
recipe_of() {
    if is_kube_program "$1"; then
        if [[ -n ${STAGING_SUBSTITUTES[$UPSTREAM_K8S]:-} ]]; then
            echo recipe_kubernetes_substitutes
        else
            echo recipe_kubernetes
        fi
    elif [[ $1-$(component_version "$1") == containerd-2.* ]]; then
        echo recipe_containerd_2
    else
        echo "recipe_$1"
    fi
}

# Everything that decides the outcome, and nothing else.
recipe_digest() {
    local name=$1 function
    function=$(recipe_of "$name")
    {
        declare -f "$function" own_module go_build
        component_go "$name"
        case $name in
            crictl | upstreamd | hello) cat "$HERE/go/$name"/* ;;
            flannel) find "$HERE/go/tencent-stub" -type f | sort | xargs cat ;;
            pause) echo "$UPSTREAM_K8S" ;;
        esac
        [[ $(type -t "recipe_inputs_$name") != function ]] || "recipe_inputs_$name"
        case $function in
            recipe_kubernetes_substitutes) declare -f kube_flags && echo "${STAGING_SUBSTITUTES[$UPSTREAM_K8S]}" ;;
        esac
    } | sha256sum | cut -c1-12
}

# component_dir NAME: the folder that holds a component's files, built or not yet.
component_dir() {
    echo "$UPSTREAM_CACHE/components/$1-$(component_version "$1")-$(recipe_digest "$1")"
}

component_build() (
    local name=$1 dir recipe
    recipe=$(recipe_of "$name")
    dir=$(component_dir "$name")
    V=$(component_version "$name")
    OUT=$dir.partial/out
    rm -rf "$dir.partial"
    mkdir -p "$OUT" "$dir.partial/work"
    cd "$dir.partial/work"
    export CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off GO111MODULE=on GOCACHE=$UPSTREAM_CACHE/go-build
    [[ -z $(component_go "$name") ]] || GOTOOLCHAIN=go$(component_go "$name")
    "$recipe" "$name"
    mv "$OUT" "$dir"
    rm -rf "$dir.partial"
)

component_ensure() {
    local name=$1 dir log began status
    dir=$(component_dir "$name")
    [[ ! -d $dir ]] || return 0
    log=$UPSTREAM_CACHE/log/$name-$(component_version "$name").log
    began=$EPOCHSECONDS
    set +e
    (
        set -e
        component_build "$name"
    ) >"$log" 2>&1
    status=$?
    set -e
    if [[ $status != 0 ]]; then
        printf '%-30s %-14s FAILED (exit %s), the end of %s:\n' "$name" "$(component_version "$name")" "$status" "$log" >&2
        tail -n 15 "$log" >&2
        return 1
    fi
    printf '%-30s %-14s %-10s %4d s\n' "$name" "$(component_version "$name")" \
        "$(component_go "$name" | sed 's/^./go&/')" $((EPOCHSECONDS - began)) >&2
}

lane_run() {
    local name
    for name in "$@"; do
        component_ensure "$name"
    done
}

all_components() {
    printf '%s\n' "${LANE_A[@]}" "${LANE_B[@]}"
    group_components
}

build_components() {
    local lane_a lane_b failed=0 missing=() more_a more_b name
    mapfile -t more_a < <(group_components | sed -n 'n;p')
    mapfile -t more_b < <(group_components | sed -n 'p;n')
    for name in $(all_components); do
        [[ -d $(component_dir "$name") ]] || missing+=("$name")
    done
    ((${#missing[@]})) || return 0
    say "building ${#missing[@]} components from source for Kubernetes v$UPSTREAM_K8S (about 13 minutes when all are new)"
    lane_run "${LANE_A[@]}" "${more_a[@]}" &
    lane_a=$!
    lane_run "${LANE_B[@]}" "${more_b[@]}" &
    lane_b=$!
    wait $lane_a || failed=1
    wait $lane_b || failed=1
    # Gigabytes that no later build of these would need; a full disk makes kubelets evict pods.
    rm -rf "$UPSTREAM_CACHE/go-build"
    [[ $failed == 0 ]] || die "a component could not be built; the others are kept, run this again after fixing it"
}
