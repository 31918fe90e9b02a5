#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The SBOM: the same for the same bundle, complete, and valid for a public SPDX tool (spdx-tools of PyPI,
# in a venv under ~/.cache).
# shellcheck source=tests/cli/lib.sh
TOOLS=${XDG_CACHE_HOME:-$HOME/.cache}/kpack-tests/spdx-tools-0.8.5
. "$(dirname "$0")/lib.sh"
make_upstream
run 0 keygen site
create 0 --k8s v1.30 --release release.yaml --arch amd64 --serial 1000 -o x.tar.zst
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
