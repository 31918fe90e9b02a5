# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154,SC2317 # tables and recipes are used by name
#
# Calico: its manifest is the genuine one (as minikube's module has it), its images are STAND-INS that answer
# one page: Calico cannot be had as Go modules. So a bundle can be made and its completeness proven, and the
# manifest put before a real API server; it cannot run.

VERSION[calico]=3.29.1
GROUP_COMPONENTS[calico]="calico hello"
GROUP_IMAGES[calico]="calico-node calico-cni calico-kube-controllers"
IMAGE_REF[calico-node]=docker.io/calico/node:v3.29.1
IMAGE_REF[calico-cni]=docker.io/calico/cni:v3.29.1
IMAGE_REF[calico-kube-controllers]=docker.io/calico/kube-controllers:v3.29.1
IMAGE_ENTRYPOINT[calico-node]=/stand-in
IMAGE_ENTRYPOINT[calico-cni]=/stand-in
IMAGE_ENTRYPOINT[calico-kube-controllers]=/stand-in

recipe_calico() {
    local source
    # the checksum database does not know that module
    export GONOSUMDB='k8s.io/*' GOTOOLCHAIN=local
    source=$(module_dir k8s.io/minikube@v1.35.0)
    sed -e 's,{{if .LegacyPodDisruptionBudget}}beta1{{end}},,' -e "s,{{ .BinaryImageName }},docker.io/calico/cni:v$V," \
        -e "s,{{ .DaemonSetImageName }},docker.io/calico/node:v$V," \
        -e "s,{{ .DeploymentImageName }},docker.io/calico/kube-controllers:v$V," "$source/pkg/minikube/cni/calico.yaml" >"$OUT/calico.yaml"
    ! grep -n '{{' "$OUT/calico.yaml"
}

calico_stand_in() {
    install -D -m 0755 "$(component_dir hello)/hello-amd64" "$1/stand-in"
}

fill_calico-node() { calico_stand_in "$1"; }

fill_calico-cni() { calico_stand_in "$1"; }

fill_calico-kube-controllers() { calico_stand_in "$1"; }

files_calico() {
    local to
    to=$1/web/raw.githubusercontent.com/projectcalico/calico/v$(component_version calico)/manifests
    mkdir -p "$to"
    cp "$(component_dir calico)/calico.yaml" "$to/"
}
