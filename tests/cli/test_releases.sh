#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The release files that ship: they are what their data says, and each can be planned.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
RELEASES=$HERE/../../manifests/releases
MAKE=$RELEASES/make

"$MAKE" --check || fail "the release files are not what data/ says"

# what a slip of the pen in the data does
refuses() { # WHAT SED-FILE SED-EXPRESSION TEXT
    rm -rf data made
    cp -r "$RELEASES/data" data
    mkdir made
    sed -i -E "$3" "data/$2"
    if KPACK_RELEASE_DATA=$WORK/data KPACK_RELEASE_OUT=$WORK/made "$MAKE" >out 2>err; then fail "$1 was not seen"; fi
    has err "$4"
}
refuses "a sum that is missing" sums.txt '/^kubelet +1\.32\.13 +arm64/d' "no sum of kubelet 1.32.13 for arm64"
refuses "a sum that is cut" sums.txt 's/^(runc +1\.3\.4 +amd64.*)./\1/' "no sum: runc"
refuses "a sum that stands at two" sums.txt 's/^(kubectl +1\.31\.0 +amd64 +).*/\1'"$(awk '$1 == "kubectl" && $2 == "1.31.14" && $3 == "amd64" { print $4 }' "$RELEASES/data/sums.txt")/" "has the sum of"
refuses "a row with a hole" versions.txt 's/^(1\.33\.11 .*) +[^ ]+$/\1/' "columns, not"
refuses "another version" runtimes.txt 's/^(1\.33 +1\.36 +containerd-2\.3 +containerd +)2\.3\.4/\12.3.5/' "no sum of containerd-static 2.3.5"
refuses "a digest nobody asks for" digests.txt 's/pause:3\.10\.2/pause:3.10.3/' "no release uses: digest registry.k8s.io/pause:3.10.3"

# each can be planned: a small upstream that has an image for every reference (digests are those of this
# upstream, so the release's own are left out) and a file for every URL
make_upstream
make_libexec
cat >mirrors-all.yaml <<END
kind: kpack.mirrors/v1
mirrors:
  - {from: "https://dl.k8s.io/", to: "http://127.0.0.1:$PORT/dl/"}
  - {from: "https://github.com/", to: "http://127.0.0.1:$PORT/gh/"}
  - {from: "https://storage.googleapis.com/", to: "http://127.0.0.1:$PORT/gs/"}
  - {from: "registry.k8s.io", to: "127.0.0.1:$PORT/r", plain_http: true}
  - {from: "docker.io", to: "127.0.0.1:$PORT/r", plain_http: true}
  - {from: "ghcr.io", to: "127.0.0.1:$PORT/r", plain_http: true}
END
shipped=("$(dirname "$(dirname "$KPACK")")"/share/kpack/releases/v*.yaml)
((${#shipped[@]} >= 7)) || fail "there are only ${#shipped[@]} release files"
for file in "${shipped[@]}"; do
    minor=$(basename "$file" .yaml)
    sed -E '/^ +(digest|expected): sha256:/d' "$file" >"$minor.yaml"
    while read -r ref; do
        path=${ref#*/}
        [[ -e www/v2/r/${path%%:*}/manifests/${path##*:} ]] || make_image "r/${path%%:*}" "${path##*:}" >/dev/null
    done < <(grep -oE '(registry\.k8s\.io|docker\.io|ghcr\.io)/[^", ]+:[^", ]+' "$file" | sort -u)
    flannel=$(sed -n '/flannel:/,$ s/^        version: "\(.*\)"/\1/p' "$file" | sed -n 1p)
    mkdir -p "www/gh/flannel-io/flannel/releases/download/v$flannel"
    sed -nE 's/.*ref: "?([^",]*flannel[^",]*)"?,.*/  image: \1/p' "$file" | sort -u |
        { printf 'kind: DaemonSet\nnet: {"Network": "10.244.0.0/16", "Type": "vxlan"}\nargs:\n        - --kube-subnet-mgr\nimages:\n'; sed 's/^  image/  - image/'; } \
            >"www/gh/flannel-io/flannel/releases/download/v$flannel/kube-flannel.yml"
done
kill -HUP "$SERVER" # the types of the new manifests
soon_typed() { [[ $(curl -sI "http://127.0.0.1:$PORT/v2/r/pause/manifests/3.10.2") == *"$OCI.index"* ]]; }
for _ in {1..50}; do
    ! soon_typed || break
    sleep 0.1
done
for file in v1.3?.yaml; do
    minor=${file%.yaml}
    for version in $(sed -nE 's/^  "(1\.[0-9]+\.[0-9]+)":$/\1/p' "$file"); do
        run 0 create --k8s "v$version" --release "$file" --mirrors mirrors-all.yaml --libexec libexec --arch amd64,arm64 --plan
        has out "v$version"
    done
done

# a version that is not there: what is nearest
run 2 create --k8s v1.29 --plan
has err "the nearest is v1.30"
run 2 create --k8s v1.99.1 --plan
has err "the nearest is v1.36"
run 2 create --k8s v1.31.9 --plan
has err "the nearest is v1.31.14"
