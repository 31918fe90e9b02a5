# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154,SC2317 # tables and recipes are used by name
#
# metrics-server, and its components.yaml as its release makes it.

VERSION[metrics-server]=0.9.0
GO_VERSION[metrics-server]=1.26.4
GROUP_COMPONENTS[metrics-server]="metrics-server"
GROUP_IMAGES[metrics-server]="metrics-server"
IMAGE_REF[metrics-server]=registry.k8s.io/metrics-server/metrics-server:v0.9.0
IMAGE_ENTRYPOINT[metrics-server]=/metrics-server
IMAGE_USER[metrics-server]=65534

recipe_metrics-server() {
    local module=sigs.k8s.io/metrics-server source
    own_module $module "v$V"
    go_build -x "-X k8s.io/component-base/version.gitVersion=v$V -X k8s.io/client-go/pkg/version.gitVersion=v$V" \
        "$OUT/metrics-server" $module/cmd/metrics-server
    source=$(module_dir "$module@v$V")
    cp -r --no-preserve=mode "$source/manifests" manifests
    "$(component_dir kubectl)/kubectl" kustomize manifests/overlays/release >"$OUT/components.yaml"
}

fill_metrics-server() {
    install -D -m 0755 "$(component_dir metrics-server)/metrics-server" "$1/metrics-server"
}

files_metrics-server() {
    local to
    to=$1/github/kubernetes-sigs/metrics-server/releases/download/v$(component_version metrics-server)
    mkdir -p "$to"
    cp "$(component_dir metrics-server)/components.yaml" "$to/"
}
