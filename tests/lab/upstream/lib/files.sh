# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The files that the real hosts serve, at the same paths and with the same members, made of the
# built components: $dir/dl is dl.k8s.io, $dir/github is github.com.

files_digest() {
    local name
    {
        declare -f archive kube_files containerd_files etcd_files other_files flannel_manifest
        for name in "${KUBE_PROGRAMS[@]}" containerd runc etcd crictl cni-plugins flannel; do
            basename "$(component_dir "$name")"
        done
        image_ref flannel
        image_ref flannel-cni-plugin
    } | sha256sum | cut -c1-12
}

files_dir() {
    echo "$UPSTREAM_CACHE/files/k8s-$UPSTREAM_K8S-$(files_digest)"
}

# archive OUT FOLDER MEMBER…: a deterministic .tar.gz
archive() {
    local out=$1 folder=$2
    shift 2
    mkdir -p "${out%/*}"
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=ustar -C "$folder" -cf - "$@" | gzip -n -6 >"$out"
}

kube_files() {
    local program bin=$1/dl/release/v$UPSTREAM_K8S/bin/linux/amd64
    mkdir -p "$bin"
    for program in "${KUBE_PROGRAMS[@]}"; do
        cp -l "$(component_dir "$program")/$program" "$bin/$program"
        printf %s "$(sha256_of "$bin/$program")" >"$bin/$program.sha256"
    done
    for program in stable.txt "stable-${UPSTREAM_K8S%.*}.txt"; do
        printf 'v%s' "$UPSTREAM_K8S" >"$1/dl/release/$program"
    done
}

containerd_files() {
    local version name to
    version=$(component_version containerd)
    name=containerd-$version-linux-amd64.tar.gz
    to=$1/github/containerd/containerd/releases/download/v$version
    mkdir "$1/tmp"
    cp -rl "$(component_dir containerd)" "$1/tmp/bin"
    archive "$to/$name" "$1/tmp" bin
    rm -r "$1/tmp"
    (cd "$to" && sha256sum "$name" >"$name.sha256sum")
}

etcd_files() {
    local version name to
    version=$(component_version etcd)
    name=etcd-v$version-linux-amd64
    to=$1/github/etcd-io/etcd/releases/download/v$version
    mkdir "$1/tmp"
    cp -rl "$(component_dir etcd)" "$1/tmp/$name"
    archive "$to/$name.tar.gz" "$1/tmp" "$name"
    rm -r "$1/tmp"
    (cd "$to" && sha256sum "$name.tar.gz" >SHA256SUMS)
}

other_files() {
    local version to
    version=$(component_version cni-plugins)
    to=$1/github/containernetworking/plugins/releases/download/v$version
    archive "$to/cni-plugins-linux-amd64-v$version.tgz" "$(component_dir cni-plugins)" .
    (cd "$to" && sha256sum ./*.tgz | sed 's,\./,,' >"cni-plugins-linux-amd64-v$version.tgz.sha256")

    version=$(component_version crictl)
    to=$1/github/kubernetes-sigs/cri-tools/releases/download/v$version
    archive "$to/crictl-v$version-linux-amd64.tar.gz" "$(component_dir crictl)" crictl
    printf %s "$(sha256_of "$to/crictl-v$version-linux-amd64.tar.gz")" >"$to/crictl-v$version-linux-amd64.tar.gz.sha256"

    version=$(component_version runc)
    to=$1/github/opencontainers/runc/releases/download/v$version
    mkdir -p "$to"
    cp -l "$(component_dir runc)/runc" "$to/runc.amd64"
    (cd "$to" && sha256sum runc.amd64 >runc.sha256sum)
}

# Flannel's own manifest with three changes: the names of the two images as this upstream has them,
# and the CNI version that the plugin built here speaks.
flannel_manifest() {
    local to
    to=$1/github/flannel-io/flannel/releases/download/v$(component_version flannel)
    mkdir -p "$to"
    sed -e "s,image: .*/flannel-cni-plugin:.*,image: $(image_ref flannel-cni-plugin)," \
        -e "s,image: .*/flannel:.*,image: $(image_ref flannel)," \
        -e 's/"cniVersion": "1.0.0"/"cniVersion": "0.3.1"/' \
        "$(component_dir flannel)/kube-flannel.yml" >"$to/kube-flannel.yml"
    [[ $(grep -c -e "$(image_ref flannel)" -e "$(image_ref flannel-cni-plugin)" -e '"0.3.1"' "$to/kube-flannel.yml") == 4 ]] ||
        die "Flannel's manifest is not as expected: look at $(component_dir flannel)/kube-flannel.yml"
}

build_files() {
    local dir began=$EPOCHSECONDS
    dir=$(files_dir)
    [[ ! -d $dir ]] || return 0
    rm -rf "$dir.partial"
    mkdir -p "$dir.partial"
    kube_files "$dir.partial"
    containerd_files "$dir.partial"
    etcd_files "$dir.partial"
    other_files "$dir.partial"
    flannel_manifest "$dir.partial"
    mv "$dir.partial" "$dir"
    printf '%-30s %-21s %4d s\n' "release files" "for v$UPSTREAM_K8S" $((EPOCHSECONDS - began)) >&2
}

# The files of an optional group, made by its files_NAME: $dir/github is github.com, $dir/web/HOST any other host.
group_files_dir() {
    local component digest
    digest=$({
        declare -f archive "files_$1" 2>/dev/null || true
        for component in ${GROUP_COMPONENTS[$1]}; do
            basename "$(component_dir "$component")"
        done
    } | sha256sum | cut -c1-12)
    echo "$UPSTREAM_CACHE/files/group-$1-$digest"
}

build_group_files() {
    local dir
    dir=$(group_files_dir "$1")
    [[ ! -d $dir ]] || return 0
    rm -rf "$dir.partial"
    mkdir -p "$dir.partial"
    [[ $(type -t "files_$1") != function ]] || "files_$1" "$dir.partial"
    mv "$dir.partial" "$dir"
}
