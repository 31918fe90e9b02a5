#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The SBOM: the same for the same bundle, complete, and valid for a public SPDX tool (spdx-tools of PyPI,
# in a venv under ~/.cache).
# shellcheck source=tests/cli/lib.sh
TOOLS=${XDG_CACHE_HOME:-$HOME/.cache}/kpack-tests/spdx-tools-0.8.5
. "$(dirname "$0")/lib.sh"
make_upstream

# layered_image REPO LAYER…: tar files, compressed as their names say, the lowest first
layered_image() {
    local repo=$1 file type layers=() diff_ids=()
    shift
    for file in "$@"; do
        type=$OCI.layer.v1.tar
        case $file in *.gz) type+=+gzip ;; *.zst) type+=+zstd ;; esac
        layers+=("{\"mediaType\":\"$type\",\"digest\":\"$(put_blob "$file" "$repo")\",\"size\":$(stat -c %s "$file")}")
        diff_ids+=("\"sha256:$(sum "${file%.[gz]*}")\"")
    done
    (IFS=,; printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[%s]}}' "${diff_ids[*]}") >config.json
    (IFS=,; printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","config":{"mediaType":"%s.config.v1+json","digest":"%s","size":%d},"layers":[%s]}' \
        $OCI $OCI "$(put_blob config.json "$repo")" "$(stat -c %s config.json)" "${layers[*]}") >manifest.json
    put_manifest manifest.json "$repo" "$OCI.manifest.v1+json" 1 >/dev/null
}
stanza() { printf 'Package: %s\nStatus: %s\nVersion: %s\nArchitecture: amd64\nDescription: x\n Version: 0\n\n' "$1" "$2" "$3"; }
mkdir -p base/var/lib/dpkg base/usr/lib base/etc top/var/lib/dpkg distroless/var/lib/dpkg/status.d gone/var/lib/dpkg
{
    stanza libc6 'install ok installed' 2.36-9+deb12u9
    stanza gone 'deinstall ok config-files' 1
} >base/var/lib/dpkg/status
printf 'ID=debian\nVERSION_ID="12"\n' >base/usr/lib/os-release
ln -s ../usr/lib/os-release base/etc/os-release
{ cat base/var/lib/dpkg/status; stanza perl-base 'install ok installed' 1:5.36.0-7; } >top/var/lib/dpkg/status
printf 'Package: base-files\nVersion: 12.4\nArchitecture: amd64\n' >distroless/var/lib/dpkg/status.d/base
echo x >distroless/var/lib/dpkg/status.d/base.md5sums
: >gone/var/lib/dpkg/.wh.status
for name in base top distroless gone; do tar -C $name --owner=0 --group=0 -cf $name.tar .; done
gzip -kn base.tar && zstd -q top.tar
head -c 150 base.tar.gz >cut.tar.gz && cp base.tar cut.tar
layered_image docker.io/x/debian base.tar.gz top.tar.zst
layered_image docker.io/x/distroless distroless.tar
layered_image docker.io/x/emptied base.tar.gz gone.tar
layered_image docker.io/x/cut cut.tar.gz
run 0 keygen site
create 0 --k8s v1.30 --release release.yaml --arch amd64 --serial 1000 -o x.tar.zst --image docker.io/x/debian:1 \
    --image docker.io/x/distroless:1 --image docker.io/x/emptied:1 --image docker.io/x/cut:1
run 0 sbom x.tar.zst
cp out sbom.spdx.json
run 0 sbom x.tar.zst
same out sbom.spdx.json
run 0 list --json x.tar.zst
jq -e --slurpfile list out --arg id "$(tar --zstd -xOf x.tar.zst bundle.json | sha256sum | cut -d' ' -f1)" '
    $list[0] as $l
    | ([.packages[] | select(.primaryPackagePurpose == "CONTAINER") | .checksums[0].checksumValue] | sort)
        == ([$l.images[].digest] | sort)
    and ([.packages[] | select(.SPDXID | startswith("SPDXRef-File-")) | .checksums[0].checksumValue] | sort)
        == ([$l.files[].sha256] | sort)
    and (.packages[0].checksums[0].checksumValue == $id) and (.documentNamespace | endswith($id))
    and ([.packages[] | select(.name == "kubelet") | .licenseDeclared] == ["Apache-2.0"])
    and ([.packages[] | select(.primaryPackagePurpose == "CONTAINER") | .comment | contains("not looked into")] | all)
    and ([.relationships[] | select(.relationshipType == "CONTAINS")] | length) == (.packages | length) - 1' \
    sbom.spdx.json >/dev/null || fail "the SBOM is not what the bundle lists"
# what the layers say: the upper ones count, whiteouts hide, what cannot be read is said
inside() { # IMAGE: its packages, by the relationships
    jq -r --arg name "docker.io/x/$1:1" '. as $d | (.packages[] | select(.name == $name) | .SPDXID) as $id
        | [.relationships[] | select(.spdxElementId == $id) | .relatedSpdxElement] as $in
        | [.packages[] | select(.SPDXID | IN($in[])) | .externalRefs[0].referenceLocator] | join(" ")' sbom.spdx.json
}
comment() { jq -r --arg name "docker.io/x/$1:1" '.packages[] | select(.name == $name) | .comment' sbom.spdx.json; }
is() { [[ $2 == "$3" ]] || fail "$1: '$2', not '$3'"; }
is debian "$(inside debian)" "pkg:deb/debian/libc6@2.36-9%2Bdeb12u9?arch=amd64&distro=debian-12 pkg:deb/debian/perl-base@1%3A5.36.0-7?arch=amd64&distro=debian-12"
is distroless "$(inside distroless)" "pkg:deb/debian/base-files@12.4?arch=amd64"
is emptied "$(inside emptied)" ""
is cut "$(inside cut)" ""
[[ $(comment debian) == "amd64: 2 packages of the dpkg database"* ]] || fail "$(comment debian)"
[[ $(comment emptied) == *"no dpkg database"* ]] || fail "$(comment emptied)"
[[ $(comment cut) == *"not looked into: layer sha256:"* ]] || fail "$(comment cut)"
# a layer that is not what was signed is no layer to be read
at=$(grep -abo "blobs/sha256/$(sum base.tar.gz)" x.tar.zst | tail -n 1 | cut -d: -f1)
cp x.tar.zst bad.tar.zst
printf '\377\377' | dd of=bad.tar.zst bs=1 seek=$((at + 700)) conv=notrunc status=none
run 4 sbom bad.tar.zst
has err "differ from what was signed"
mv config/kpack/trusted.d/site.pub .
run 3 sbom x.tar.zst
[[ ! -s out ]] || fail "an SBOM of an untrusted bundle"

if [[ ! -x $TOOLS/bin/pyspdxtools ]]; then
    rm -rf "$TOOLS"
    python3 -m venv "$TOOLS" >pip.log 2>&1 && "$TOOLS/bin/pip" install -q spdx-tools==0.8.5 >>pip.log 2>&1 || {
        cat pip.log >&2
        echo "no venv with spdx-tools: the SBOM was not validated" >&2
        rm -rf "$TOOLS"
        exit 77
    }
fi
"$TOOLS/bin/pyspdxtools" -i sbom.spdx.json >spdx.log 2>&1 || fail "not valid SPDX 2.3: $(tail -20 spdx.log)"
jq 'del(.documentNamespace)' sbom.spdx.json >bad.spdx.json
! "$TOOLS/bin/pyspdxtools" -i bad.spdx.json >spdx.log 2>&1 || fail "the tool takes anything"
