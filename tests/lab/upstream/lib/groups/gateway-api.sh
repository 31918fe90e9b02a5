# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154,SC2317 # tables and recipes are used by name
#
# The Gateway API's standard CRDs, one after the other as its release has them; no program belongs to them.

VERSION[gateway-api]=1.2.1
GROUP_COMPONENTS[gateway-api]="gateway-api"

recipe_gateway-api() {
    local source file
    source=$(module_dir "sigs.k8s.io/gateway-api@v$V")
    for file in "$source"/config/crd/standard/*.yaml; do
        printf -- '---\n'
        cat "$file"
    done >"$OUT/standard-install.yaml"
}

files_gateway-api() {
    local to
    to=$1/github/kubernetes-sigs/gateway-api/releases/download/v$(component_version gateway-api)
    mkdir -p "$to"
    cp "$(component_dir gateway-api)/standard-install.yaml" "$to/"
}
