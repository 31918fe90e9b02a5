# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154,SC2317 # tables and recipes are used by name
#
# cert-manager: its manifest is made of its module's chart as its release does it (make/manifests.mk); its images
# are STAND-INS that answer one page: its programs are modules of their own that no registry of Go modules lists. So
# a bundle can be made and its completeness proven, and the manifest put before a real API server; it cannot run.

VERSION[cert-manager]=1.15.3
GROUP_NEEDS[cert-manager]="helm"
GROUP_COMPONENTS[cert-manager]="cert-manager hello"
GROUP_IMAGES[cert-manager]="cert-manager-controller cert-manager-cainjector cert-manager-webhook cert-manager-acmesolver"

for part in controller cainjector webhook acmesolver; do
    IMAGE_REF[cert-manager-$part]=quay.io/jetstack/cert-manager-$part:v1.15.3
    IMAGE_ENTRYPOINT[cert-manager-$part]=/stand-in
    eval "fill_cert-manager-$part() { cert_manager_stand_in \"\$1\"; }"
done

# The chart as its release makes it.
recipe_cert-manager() {
    local source file
    source=$(module_dir "github.com/cert-manager/cert-manager@v$V")
    cp -r --no-preserve=mode "$source"/deploy/charts/cert-manager/{values.yaml,templates} "$OUT/"
    cp --no-preserve=mode "$source/deploy/manifests/namespace.yaml" "$OUT/"
    sed -e "s/v0.0.0/v$V/" -e 's/{{IS_PRERELEASE}}/false/' "$source/deploy/charts/cert-manager/Chart.template.yaml" >"$OUT/Chart.yaml"
    for file in "$source"/deploy/crds/crd-*.yaml; do
        cat "$file"
        echo ---
    done >"$OUT/templates/crds.yaml"
}

cert_manager_stand_in() {
    install -D -m 0755 "$(component_dir hello)/hello-amd64" "$1/stand-in"
}

files_cert-manager() {
    local to
    to=$1/github/cert-manager/cert-manager/releases/download/v$(component_version cert-manager)
    mkdir -p "$to"
    {
        cat "$(component_dir cert-manager)/namespace.yaml"
        "$(component_dir helm)/helm" template --kube-version=1.30.0 --api-versions="" --namespace=cert-manager --set=crds.enabled=true --set=creator=static \
            --set=startupapicheck.enabled=false cert-manager "$(component_dir cert-manager)"
    } >"$to/cert-manager.yaml"
}
