# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154,SC2317 # tables and recipes are used by name
#
# Cilium: agent and operator from its module, its chart as it is. Envoy and Hubble are not built: the release
# entry's values leave them out.

VERSION[cilium]=1.15.19
VERSION[cilium-base]=12
GO_VERSION[cilium]=1.23.12
GROUP_NEEDS[cilium]="helm"
GROUP_COMPONENTS[cilium]="cilium-base cilium cni-plugins"
GROUP_IMAGES[cilium]="cilium cilium-operator-generic"
IMAGE_REF[cilium]=quay.io/cilium/cilium:v1.15.19
IMAGE_REF[cilium-operator-generic]=quay.io/cilium/operator-generic:v1.15.19
IMAGE_BASE[cilium]=cilium-base
IMAGE_ENTRYPOINT[cilium-operator-generic]=/usr/bin/cilium-operator-generic

# What the agent calls: a compiler for its programs, and the tools of the network.
recipe_cilium-base() {
    # shellcheck disable=SC2016 # $1 is for the hook's own shell
    SOURCE_DATE_EPOCH=0 mmdebstrap --quiet --variant=essential \
        --include=bash,iproute2,iptables,ipset,kmod,bpftool,clang-16,llvm-16,procps,mount,util-linux,jq,curl,conntrack,ethtool,ca-certificates \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/*' \
        --skip=output/dev bookworm "$OUT/base.tar"
    gzip -n -6 "$OUT/base.tar"
}

# The machine's kernel may have no modules at all and then no /proc/modules: an empty list, made so in a copy of
# one file that only this build sees. DatapathSHA256 is what upstream's own build computes.
recipe_cilium() {
    local source modules=pkg/datapath/linux/modules/modules_linux.go flags
    source=$(module_dir "github.com/cilium/cilium@v$V")
    mkdir tree
    tar -C "$source" --exclude=./vendor --exclude=./Documentation --exclude=./test -cf - . | tar -C tree -xf - --no-same-permissions
    chmod -R u+w tree
    cd tree || return 1
    sed '/^func listLoadedModules/,/^}/ s/^\tif err != nil {$/\tif os.IsNotExist(err) {\n\t\treturn nil, nil\n\t}\n&/' "$modules" >../modules.go
    grep -q IsNotExist ../modules.go
    jq -n --arg from "$PWD/$modules" --arg to "${PWD%/*}/modules.go" '{Replace: {($from): $to}}' >../overlay.json
    export GOFLAGS=-overlay=${PWD%/*}/overlay.json
    flags="-X 'github.com/cilium/cilium/pkg/version.ciliumVersion=$V kpack-lab'"
    flags+=" -X github.com/cilium/cilium/pkg/datapath/loader.DatapathSHA256=$(find bpf -type f | sort | xargs cat | sha256sum | cut -d' ' -f1)"
    go_build -x "$flags" "$OUT/cilium-agent" ./daemon
    go_build -x "$flags" "$OUT/cilium-dbg" ./cilium-dbg
    go_build -x "$flags" -t ipam_provider_operator "$OUT/cilium-operator-generic" ./operator
    go_build -x "$flags" "$OUT/cilium-cni" ./plugins/cilium-cni
    go_build -x "$flags" "$OUT/cilium-health" ./cilium-health
    go_build -x "$flags" "$OUT/cilium-health-responder" ./cilium-health/responder
    go_build -x "$flags" "$OUT/cilium-mount" ./tools/mount
    go_build -x "$flags" "$OUT/cilium-sysctlfix" ./tools/sysctlfix
    cp -r bpf install/kubernetes/cilium "$OUT/"
    mv "$OUT/cilium" "$OUT/chart"
    install -m 0755 images/cilium/init-container.sh plugins/cilium-cni/install-plugin.sh plugins/cilium-cni/cni-uninstall.sh "$OUT/"
}

fill_cilium() {
    local root=$1 from program
    from=$(component_dir cilium)
    for program in agent dbg health health-responder mount sysctlfix; do
        install -D -m 0755 "$from/cilium-$program" "$root/usr/bin/cilium-$program"
    done
    ln -s cilium-dbg "$root/usr/bin/cilium"
    install -D -m 0755 "$from/cilium-cni" "$root/opt/cni/bin/cilium-cni"
    install -D -m 0755 "$(component_dir cni-plugins)/loopback" "$root/cni/loopback"
    install -m 0755 -t "$root" "$from"/{init-container,install-plugin,cni-uninstall}.sh
    mkdir -p "$root/usr/local/bin" "$root/var/lib/cilium" "$root/home/cilium"
    ln -s ../../lib/llvm-16/bin/clang "$root/usr/local/bin/clang"
    ln -s ../../lib/llvm-16/bin/llc "$root/usr/local/bin/llc"
    cp -r "$from/bpf" "$root/var/lib/cilium/bpf"
}

fill_cilium-operator-generic() {
    install -D -m 0755 "$(component_dir cilium)/cilium-operator-generic" "$1/usr/bin/cilium-operator-generic"
}

files_cilium() {
    local version
    version=$(component_version cilium)
    mkdir "$1/tmp"
    cp -rl "$(component_dir cilium)/chart" "$1/tmp/cilium"
    archive "$1/web/helm.cilium.io/cilium-$version.tgz" "$1/tmp" cilium
    rm -r "$1/tmp"
}
