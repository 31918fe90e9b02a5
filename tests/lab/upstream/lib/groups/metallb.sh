# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154,SC2317 # tables and recipes are used by name
#
# metallb's controller and speaker (native mode), and its manifest as it is.

VERSION[metallb]=0.14.9
GO_VERSION[metallb]=1.22.12
GROUP_COMPONENTS[metallb]="metallb"
GROUP_IMAGES[metallb]="metallb-controller metallb-speaker"
IMAGE_REF[metallb-controller]=quay.io/metallb/controller:v0.14.9
IMAGE_REF[metallb-speaker]=quay.io/metallb/speaker:v0.14.9
IMAGE_ENTRYPOINT[metallb-controller]=/controller
IMAGE_ENTRYPOINT[metallb-speaker]=/speaker

recipe_metallb() {
    local program module=go.universe.tf/metallb
    own_module $module "v$V"
    for program in controller speaker; do
        go_build -x "-X $module/internal/version.gitBranch=v$V" "$OUT/$program" "$module/$program"
    done
    install -m 0644 "$(module_dir "$module@v$V")/config/manifests/metallb-native.yaml" "$OUT/"
}

fill_metallb-controller() {
    install -D -m 0755 "$(component_dir metallb)/controller" "$1/controller"
}

fill_metallb-speaker() {
    install -D -m 0755 "$(component_dir metallb)/speaker" "$1/speaker"
}

files_metallb() {
    local to
    to=$1/web/raw.githubusercontent.com/metallb/metallb/v$(component_version metallb)/config/manifests
    mkdir -p "$to"
    cp "$(component_dir metallb)/metallb-native.yaml" "$to/"
}
