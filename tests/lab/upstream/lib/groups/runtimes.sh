# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154,SC2317 # tables and recipes are used by name
#
# What a node can have beside containerd 1.7: a containerd 2.1, and nerdctl (the last that can be had, 1.7).

VERSION[containerd-2]=2.1.9
VERSION[nerdctl]=1.7.7
GO_VERSION[containerd-2]=1.24.7
GO_VERSION[nerdctl]=1.22.12
GROUP_COMPONENTS[runtimes]="containerd-2 nerdctl"

recipe_containerd-2() {
    recipe_containerd_2
}

recipe_inputs_containerd-2() {
    declare -f recipe_containerd_2
}

recipe_nerdctl() {
    local module=github.com/containerd/nerdctl
    own_module $module "v$V"
    go_build -x "-X $module/pkg/version.Version=v$V" -t "osusergo netgo static_build" "$OUT/nerdctl" $module/cmd/nerdctl
}

files_runtimes() {
    local version
    version=$(component_version containerd-2)
    mkdir "$1/tmp"
    cp -rl "$(component_dir containerd-2)" "$1/tmp/bin"
    archive "$1/github/containerd/containerd/releases/download/v$version/containerd-static-$version-linux-amd64.tar.gz" "$1/tmp" bin
    rm -r "$1/tmp"
    version=$(component_version nerdctl)
    archive "$1/github/containerd/nerdctl/releases/download/v$version/nerdctl-$version-linux-amd64.tar.gz" "$(component_dir nerdctl)" nerdctl
}
