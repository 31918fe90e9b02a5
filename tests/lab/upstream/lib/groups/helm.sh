# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154,SC2317 # tables and recipes are used by name
#
# Helm, which kpack runs at pack time.

VERSION[helm]=3.16.4
GO_VERSION[helm]=1.23.12
GROUP_COMPONENTS[helm]="helm"

recipe_helm() {
    local module=helm.sh/helm/v3
    own_module $module "v$V"
    go_build -x "-X $module/internal/version.version=v$V -X $module/internal/version.gitTreeState=clean" "$OUT/helm" $module/cmd/helm
}

files_helm() {
    local version
    version=$(component_version helm)
    mkdir -p "$1/tmp"
    cp -rl "$(component_dir helm)" "$1/tmp/linux-amd64"
    archive "$1/web/get.helm.sh/helm-v$version-linux-amd64.tar.gz" "$1/tmp" linux-amd64
    rm -r "$1/tmp"
}
