# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What every part of the lab's upstream stands on: where things lie, which versions are built,
# and how it speaks. Everything may be set from the environment.

UPSTREAM_CACHE=${UPSTREAM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kpack-lab/upstream}
UPSTREAM_K8S=${UPSTREAM_K8S:-1.30.14}
UPSTREAM_PORT=${UPSTREAM_PORT:-18443}
UPSTREAM_REGISTRY_PORT=${UPSTREAM_REGISTRY_PORT:-15000}
if [[ -z ${UPSTREAM_DIR:-} ]]; then
    if [[ $EUID == 0 ]]; then
        UPSTREAM_DIR=/var/lib/kpack-lab/upstream
    else
        UPSTREAM_DIR=${XDG_RUNTIME_DIR:-/tmp/kpack-lab-$EUID}/kpack-lab/upstream
    fi
fi

declare -A VERSION=(
    [containerd]=1.7.27 [runc]=1.2.6 [etcd]=3.5.33 [coredns]=1.11.3 [cni-plugins]=1.4.1
    [flannel-cni-plugin]=0.9.1 [flannel]=0.28.10 [crictl]=1.30.0-standin [pause]=3.9
    [registry]=3.0.0 [crane]=0.20.6 [oras]=1.3.4 [upstreamd]=1 [hello]=1 [debian-base]=12
    [haproxy]=2.6-debian
)

# What another minor of Kubernetes came with; else the above.
VERSION+=(
    [containerd@1.31]=2.1.9 [pause@1.31]=3.10
    [containerd@1.32]=2.1.9 [pause@1.32]=3.10
)

# shellcheck disable=SC2034 # for other parts
# Staging modules that cannot be had in the release's own patch: the newest earlier one stands in.
declare -A STAGING_SUBSTITUTES=(
    [1.31.14]="cri-client@v0.31.4 csi-translation-lib@v0.31.12 endpointslice@v0.31.4 kube-controller-manager@v0.31.5 kube-proxy@v0.31.5 kube-scheduler@v0.31.10"
    [1.32.13]="csi-translation-lib@v0.32.10 endpointslice@v0.32.6 kube-controller-manager@v0.32.6 kube-proxy@v0.32.7 kube-scheduler@v0.32.10"
)

# The Go that upstream released the component with, or the nearest that can be had.
declare -A GO_VERSION=(
    [containerd]=1.23.12 [runc]=1.23.12 [etcd]=1.25.12 [coredns]=1.22.12 [cni-plugins]=1.22.12
    [flannel-cni-plugin]=1.22.12 [flannel]=1.26.0 [crictl]=1.23.12
    [containerd@1.31]=1.24.7 [containerd@1.32]=1.24.7
    [registry]=1.23.12 [crane]=1.24.7 [oras]=1.25.12 [upstreamd]=1.23.12 [hello]=1.23.12
)

# Optional groups, each a file lib/groups/NAME.sh (README.md says what is in it): built and served only where
# --with or UPSTREAM_WITH names them.
UPSTREAM_WITH=${UPSTREAM_WITH:-}
declare -A GROUP_NEEDS=() GROUP_COMPONENTS=() GROUP_IMAGES=()
# shellcheck disable=SC2034 # for other parts
declare -A IMAGE_REF=() IMAGE_BASE=() IMAGE_ENTRYPOINT=() IMAGE_USER=()
WITH_GROUPS=()

KUBE_PROGRAMS=(kubeadm kubelet kubectl kube-apiserver kube-controller-manager kube-scheduler kube-proxy)

die() {
    printf 'upstream: %s\n' "$*" >&2
    exit 1
}

say() {
    printf 'upstream: %s\n' "$*" >&2
}

# kube_go MINOR-OR-VERSION: the Go line of that Kubernetes.
kube_go() {
    case $1 in
        1.30* | 1.31* | 1.32*) echo 1.23.12 ;;
        1.33* | 1.34*) echo 1.24.7 ;;
        1.35*) echo 1.25.12 ;;
        *) echo 1.26.0 ;;
    esac
}

is_kube_program() {
    [[ " ${KUBE_PROGRAMS[*]} " == *" $1 "* ]]
}

component_version() {
    if is_kube_program "$1"; then
        echo "$UPSTREAM_K8S"
    else
        echo "${VERSION[$1@${UPSTREAM_K8S%.*}]:-${VERSION[$1]}}"
    fi
}

component_go() {
    if is_kube_program "$1"; then kube_go "$UPSTREAM_K8S"; else echo "${GO_VERSION[$1@${UPSTREAM_K8S%.*}]:-${GO_VERSION[$1]:-}}"; fi
}

# When a process began, in clock ticks since boot: with the pid it names one process for good.
process_start() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    awk '{print $20}' <<<"$stat"
}

sha256_of() {
    sha256sum "$1" | cut -d' ' -f1
}

# groups_select LIST: WITH_GROUPS becomes the groups that "a,b" names and those that they need, needed first.
groups_select() {
    local name
    local -a names
    WITH_GROUPS=()
    IFS=, read -ra names <<<"$1"
    for name in "${names[@]}"; do
        group_add "$name"
    done
}

group_add() {
    local need
    [[ -n ${GROUP_COMPONENTS[$1]:-} ]] || die "no group $1 (--with): there are $(printf '%s\n' "${!GROUP_COMPONENTS[@]}" | sort | xargs)"
    [[ " ${WITH_GROUPS[*]} " != *" $1 "* ]] || return 0
    for need in ${GROUP_NEEDS[$1]:-}; do
        group_add "$need"
    done
    WITH_GROUPS+=("$1")
}

# group_images: the images of the chosen groups
group_images() {
    local name
    for name in "${WITH_GROUPS[@]}"; do
        echo "${GROUP_IMAGES[$name]:-}"
    done | xargs -r -n 1
}

# group_components: what the chosen groups are made of beyond what is built anyway, each once
group_components() {
    local name
    for name in "${WITH_GROUPS[@]}"; do
        echo "${GROUP_COMPONENTS[$name]}"
    done | xargs -r -n 1 | awk -v built=" ${LANE_A[*]} ${LANE_B[*]} " 'NF && !seen[$0]++ && !index(built, " " $0 " ")'
}
