# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2317 # recipes are called by name
#
# How each component is built: recipe_NAME runs in an empty folder and leaves its files in $OUT.
# $V is the version. GOTOOLCHAIN and CGO_ENABLED=0 are set; a recipe that needs cgo says so.

recipe_kubernetes() {
    local program=$1 minor=${V#1.} p flags=""
    minor=${minor%%.*}
    for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $p.gitVersion=v$V -X $p.gitMajor=1 -X $p.gitMinor=$minor -X $p.gitTreeState=clean"
    done
    # The checksum database does not know every staging module; kubernetes' own go.sum leaves them out too.
    export GONOSUMDB='k8s.io/*'
    own_module k8s.io/kubernetes "v$V" "v0.${V#1.}"
    go_build -x "$flags" "$OUT/$program" "k8s.io/kubernetes/cmd/$program"
}

kube_flags() {
    local minor=${V#1.} p
    minor=${minor%%.*}
    for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        printf ' -X %s' "$p.gitVersion=v$V" "$p.gitMajor=1" "$p.gitMinor=$minor" "$p.gitTreeState=clean"
    done
}

# Some staging modules cannot be had in this patch: earlier ones of the same minor stand in (common.sh).
recipe_kubernetes_substitutes() {
    local program=$1 module
    export GONOSUMDB='k8s.io/*'
    own_module k8s.io/kubernetes "v$V" "v0.${V#1.}"
    for module in ${STAGING_SUBSTITUTES[$V]}; do
        go mod edit -replace "k8s.io/${module%@*}=k8s.io/$module"
    done
    go_build -x "$(kube_flags)" "$OUT/$program" "k8s.io/kubernetes/cmd/$program"
}

recipe_containerd() {
    local program module=github.com/containerd/containerd
    own_module $module "v$V"
    for program in containerd containerd-shim-runc-v2 ctr; do
        go_build -x "-X $module/version.Version=v$V" -t "osusergo netgo static_build no_btrfs" \
            "$OUT/$program" $module/cmd/$program
    done
}

recipe_containerd_2() {
    local program module=github.com/containerd/containerd/v2
    own_module $module "v$V"
    for program in containerd containerd-shim-runc-v2 ctr; do
        go_build -x "-X $module/version.Version=v$V" -t "osusergo netgo static_build no_btrfs" \
            "$OUT/$program" $module/cmd/$program
    done
}

recipe_runc() {
    own_module github.com/opencontainers/runc "v$V"
    CGO_ENABLED=1 go_build -x "-X main.version=$V -extldflags -static" -t "seccomp netgo osusergo" \
        "$OUT/runc" github.com/opencontainers/runc
}

recipe_etcd() {
    local program name
    for program in server etcdctl etcdutl; do
        name=${program/#server/etcd}
        mkdir "$name"
        pushd "$name" >/dev/null || return 1
        own_module "go.etcd.io/etcd/$program/v3" "v$V"
        go_build "$OUT/$name" "go.etcd.io/etcd/$program/v3"
        popd >/dev/null || return 1
    done
}

recipe_coredns() {
    own_module github.com/coredns/coredns "v$V"
    go_build "$OUT/coredns" github.com/coredns/coredns
}

recipe_cni-plugins() {
    local plugin module=github.com/containernetworking/plugins
    own_module $module "v$V"
    for plugin in ipam/{dhcp,host-local,static} main/{bridge,dummy,host-device,ipvlan,loopback,macvlan,ptp,tap,vlan} \
        meta/{bandwidth,firewall,portmap,sbr,tuning,vrf}; do
        go_build -x "-X $module/pkg/utils/buildversion.BuildVersion=v$V" "$OUT/${plugin#*/}" "$module/plugins/$plugin"
    done
    install -m 0644 "$(module_dir "$module@v$V")"/{LICENSE,README.md} "$OUT/"
}

# The last release of the plugins that carried Flannel's own; it speaks CNI up to 0.4.0.
recipe_flannel-cni-plugin() {
    local module=github.com/containernetworking/plugins
    own_module $module "v$V"
    go_build -x "-X $module/pkg/utils/buildversion.BuildVersion=v$V" "$OUT/flannel" $module/plugins/meta/flannel
}

recipe_flannel() {
    local module=github.com/flannel-io/flannel sdk=github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud
    own_module $module "v$V"
    # The cloud SDK of one backend cannot be had; the backend is never used here.
    printf 'replace %s => %s\n' "$sdk/common" "$HERE/go/tencent-stub/common" "$sdk/vpc" "$HERE/go/tencent-stub/vpc" >>go.mod
    CGO_ENABLED=1 go_build -x "-X $module/pkg/version.Version=v$V -extldflags -static" -t "netgo osusergo" "$OUT/flanneld" $module
    go_build "$OUT/install-conf" $module/cmd/install_conf
    install -m 0644 "$(module_dir "$module@v$V")/Documentation/kube-flannel.yml" "$OUT/kube-flannel.yml"
}

recipe_registry() {
    local module=github.com/distribution/distribution/v3
    own_module $module "v$V"
    go_build -x "-X $module/version.version=v$V" "$OUT/registry" $module/cmd/registry
}

recipe_crane() {
    local module=github.com/google/go-containerregistry
    own_module $module "v$V"
    go_build -x "-X $module/cmd/crane/cmd.Version=$V" "$OUT/crane" $module/cmd/crane
}

recipe_oras() {
    own_module oras.land/oras "v$V"
    go_build -x "-X oras.land/oras/internal/version.Version=$V -X oras.land/oras/internal/version.BuildMetadata=" \
        "$OUT/oras" oras.land/oras/cmd/oras
}

recipe_crictl() {
    cp "$HERE"/go/crictl/* .
    go_build -x "-X main.version=v$V" "$OUT/crictl" .
}

recipe_upstreamd() {
    cp "$HERE"/go/upstreamd/* .
    go_build "$OUT/upstreamd" .
}

recipe_hello() {
    local arch
    cp "$HERE"/go/hello/* .
    for arch in amd64 arm64; do
        GOARCH=$arch go_build "$OUT/hello-$arch" .
    done
}

recipe_pause() {
    local source
    source=$(module_dir "k8s.io/kubernetes@v$UPSTREAM_K8S")/build/pause/linux
    gcc -Os -Wall -Werror -static "-DVERSION=v$V" -o "$OUT/pause" "$source/pause.c"
    strip "$OUT/pause"
}

# What kube-proxy and Flannel stand on: Debian with the iptables family, the same bytes each time
# as long as Debian's packages are the same.
recipe_debian-base() {
    # shellcheck disable=SC2016 # $1 is for the hook's own shell
    SOURCE_DATE_EPOCH=0 mmdebstrap --quiet --variant=essential \
        --include=iptables,nftables,conntrack,kmod,ipset,iproute2,ca-certificates \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/*' \
        --skip=output/dev bookworm "$OUT/base.tar"
    gzip -n -6 "$OUT/base.tar"
}

# Debian's, with the libraries that it is linked to, and nothing else; where the real image has it.
recipe_haproxy() {
    local library root=$PWD/debian
    SOURCE_DATE_EPOCH=0 mmdebstrap --quiet --variant=extract --include=haproxy --skip=output/dev --format=directory bookworm "$root"
    mkdir -p "$OUT/root"/{usr/local/sbin,usr/local/etc/haproxy,lib64,usr/lib}
    install -m 0755 "$root/usr/sbin/haproxy" "$OUT/root/usr/local/sbin/haproxy"
    LD_LIBRARY_PATH="" ldd_in "$root" usr/sbin/haproxy >libraries
    while read -r library; do
        install -D -m 0755 "$(find "$root/lib" "$root/usr/lib" -name "$library" | sed -n 1p)" "$OUT/root/usr/lib/$library"
    done <libraries
    mv "$OUT/root/usr/lib"/ld-linux-*.so.* "$OUT/root/lib64/"
    ln -s usr/lib "$OUT/root/lib"
    chroot "$OUT/root" /usr/local/sbin/haproxy -v
}

# ldd_in ROOT PROGRAM: names of the libraries that the program needs inside that root.
ldd_in() {
    chroot "$1" /lib64/ld-linux-x86-64.so.2 --list "/$2" | awk '$1 ~ /linux-vdso/ { next } { sub(".*/", "", $1); print $1 }'
}
