# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154,SC2317 # tables and recipes are used by name
#
# Multus, the thin one, and its manifest as it is.

VERSION[multus]=4.1.0
GO_VERSION[multus]=1.22.12
GROUP_COMPONENTS[multus]="multus"
GROUP_IMAGES[multus]="multus-cni"
IMAGE_REF[multus-cni]=ghcr.io/k8snetworkplumbingwg/multus-cni:v4.1.0
IMAGE_ENTRYPOINT[multus-cni]=/thin_entrypoint

# From a copy of the module's tree: its go.mod replaces modules.
recipe_multus() {
    local program source module=gopkg.in/k8snetworkplumbingwg/multus-cni.v4
    source=$(module_dir "$module@v$V")
    cp -r --no-preserve=mode "$source" tree
    cd tree || return 1
    for program in multus thin_entrypoint install_multus kubeconfig_generator cert-approver; do
        go_build -x "-X $module/pkg/multus.version=v$V -X $module/pkg/multus.gitTreeState=clean" "$OUT/$program" "./cmd/$program"
    done
    install -m 0644 deployments/multus-daemonset.yml "$OUT/multus-daemonset.yml"
}

# Programs where the real image has them.
fill_multus-cni() {
    local root=$1 from
    from=$(component_dir multus)
    install -D -m 0755 -t "$root/usr/src/multus-cni/bin" "$from/multus"
    install -m 0755 -t "$root" "$from"/{thin_entrypoint,install_multus,kubeconfig_generator}
    install -D -m 0755 -t "$root" "$from/cert-approver"
}

# The image is named by its moving tag there; the release's own tag stands in both.
files_multus() {
    local to
    to=$1/web/raw.githubusercontent.com/k8snetworkplumbingwg/multus-cni/v$(component_version multus)/deployments
    mkdir -p "$to"
    cp "$(component_dir multus)/multus-daemonset.yml" "$to/"
}
