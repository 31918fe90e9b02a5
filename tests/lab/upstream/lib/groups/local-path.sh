# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154,SC2317 # tables and recipes are used by name
#
# local-path-provisioner and its manifest as it is. Its helper is named busybox, without a tag: here Debian's.

VERSION[local-path]=0.0.30
VERSION[busybox]=1.35-debian
GO_VERSION[local-path]=1.23.12
GROUP_COMPONENTS[local-path]="local-path busybox"
GROUP_IMAGES[local-path]="local-path-provisioner local-path-helper"
IMAGE_REF[local-path-provisioner]=docker.io/rancher/local-path-provisioner:v0.0.30
IMAGE_REF[local-path-helper]=docker.io/library/busybox:latest

recipe_local-path() {
    local module=github.com/rancher/local-path-provisioner
    own_module $module "v$V"
    go_build -x "-X main.VERSION=v$V" "$OUT/local-path-provisioner" $module
    install -m 0644 "$(module_dir "$module@v$V")/deploy/local-path-storage.yaml" "$OUT/"
}

recipe_busybox() {
    local root=$PWD/debian
    SOURCE_DATE_EPOCH=0 mmdebstrap --quiet --variant=extract --include=busybox-static --skip=output/dev --format=directory bookworm "$root"
    install -m 0755 "$root/bin/busybox" "$OUT/busybox"
}

fill_local-path-provisioner() {
    install -D -m 0755 "$(component_dir local-path)/local-path-provisioner" "$1/usr/bin/local-path-provisioner"
}

fill_local-path-helper() {
    local name
    install -D -m 0755 "$(component_dir busybox)/busybox" "$1/bin/busybox"
    for name in sh ls cat mkdir rm chmod sleep; do
        ln -s busybox "$1/bin/$name"
    done
}

files_local-path() {
    local to
    to=$1/web/raw.githubusercontent.com/rancher/local-path-provisioner/v$(component_version local-path)/deploy
    mkdir -p "$to"
    cp "$(component_dir local-path)/local-path-storage.yaml" "$to/"
}
