#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# delta.sh KPACK KREGISTRY: a delta and its base served as one, to curl, skopeo and crane; and what
# kregistry says where the base is absent or another.
kregistry=$2
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
upstream=${KPACK_LAB_CACHE:-$HOME/.cache/kpack-lab}/upstream # before HOME changes
for folder in "$upstream"/components/crane-*; do PATH=$PATH:$folder; done
REGISTRY=
trap '[[ -z $REGISTRY ]] || kill "$REGISTRY" 2>/dev/null; finish' EXIT
make_upstream
run 0 keygen site
FROM=(--k8s v1.30 --release release.yaml --arch amd64)
create 0 "${FROM[@]}" --serial 1000 -o old.tar.zst
create 0 "${FROM[@]}" --serial 2000 --image quay.io/x/extra:1 --base old.tar.zst -o delta.tar.zst
create 0 "${FROM[@]}" --serial 2500 -o other.tar.zst
id_of() { "$KPACK" inspect --json "$1" | jq -r .id; }
old=$(id_of old.tar.zst) delta=$(id_of delta.tar.zst)

refused() { # CODE WORD ARGUMENTS…
    local code=0 want=$1 word=$2
    shift 2
    timeout 20 "$kregistry" --plain 127.0.0.1:0 "$@" >out 2>err || code=$?
    [[ $code == "$want" ]] || fail "kregistry $*: exit code $code, not $want"
    has err "$word"
}
refused 5 "missing: k8s-v1.30.2-flannel-amd64 serial 1000" --bundle delta.tar.zst,id="$delta"
refused 5 "serial 1000" --bundle delta.tar.zst,id="$delta" --bundle other.tar.zst
refused 3 "not the accepted" --bundle delta.tar.zst,id="$delta" --bundle other.tar.zst,id="$old"
refused 5 "no such file" --bundle delta.tar.zst,id="$delta" --bundle gone.tar.zst,id="$old"

start() { # ARGUMENTS…: sets url
    : >log # else an earlier one's address could be read before this one has opened it
    "$kregistry" --plain 127.0.0.1:0 "$@" 2>>log &
    REGISTRY=$!
    for _ in {1..600}; do grep -q 'serving on' log && break; sleep 0.05; done
    url=$(sed -n 's,.*serving on http://\(.*\),\1,p' log)
}
stop() {
    kill "$REGISTRY"
    wait "$REGISTRY" || fail "kregistry ended with $?"
    REGISTRY=
}
start --bundle delta.tar.zst,id="$delta" --bundle old.tar.zst,id="$old"

# every blob that the delta needs, out of whichever file
tar --zstd -xOf delta.tar.zst bundle.json >delta.json
based=0
while read -r digest base; do
    curl -fsS -o blob "http://$url/blobs/sha256/$digest" || fail "blob $digest is not served"
    [[ $(sum blob) == "$digest" ]] || fail "blob $digest has other bytes"
    [[ -z $base ]] || based=$((based + 1))
done < <(jq -r '.blobs[] | "\(.sha256) \(.base // "")"' delta.json)
((based > 10)) || fail "only $based blobs lie in the base"

# both files for other mirrors
for bundle in old delta; do
    curl -fsS -o copy "http://$url/bundle/${!bundle}" || fail "bundle $bundle is not served"
    same copy $bundle.tar.zst
done

# clients that are not ours: an image of both, and the one that is new
for image in registry.k8s.io/pause:3.9 quay.io/x/extra:1; do
    name=${image#*/}
    if command -v skopeo >/dev/null; then
        rm -rf copied
        skopeo copy -q --src-tls-verify=false --override-arch amd64 "docker://$url/$name" dir:copied || fail "skopeo $name"
    fi
    if command -v crane >/dev/null; then
        crane --insecure pull --platform linux/amd64 "$url/$name" pulled.tar || fail "crane $name"
    fi
done
stop

# damage in the base: its blob alone is not served
layer=$(jq -r '[.blobs[] | select(.base and .size > 100000)][0].sha256' delta.json)
cp old.tar.zst bad.tar.zst
at=$(LC_ALL=C grep -aboF "blobs/sha256/$layer" bad.tar.zst | tail -n 1 | cut -d: -f1)
printf '\xff\x00\xff' | dd of=bad.tar.zst bs=1 seek=$((at + 5000)) conv=notrunc status=none
start --bundle delta.tar.zst,id="$delta" --bundle bad.tar.zst,id="$old"
[[ $(curl -s -o /dev/null -w '%{http_code}' "http://$url/blobs/sha256/$layer") == 404 ]] || fail "a damaged blob of the base is served"
[[ $(curl -s -o /dev/null -w '%{http_code}' "http://$url/v2/pause/manifests/3.9") == 200 ]] || fail "nothing else is served"
stop

# base and delta both in slices, wherever either is read
mkdir -p cut/old cut/delta
run 0 split old.tar.zst --size 300000 --output cut/old/old.tar.zst
run 0 split delta.tar.zst --size 200000 --output cut/delta/delta.tar.zst
run 0 verify cut/delta/delta.tar.zst.001 --base cut/old/old.tar.zst.001
has out "verified: cut/old/old.tar.zst.001"
create 0 "${FROM[@]}" --serial 2000 --image quay.io/x/extra:1 --base cut/old -o again.tar.zst
same again.tar.zst delta.tar.zst
start --bundle cut/delta/delta.tar.zst,id="$delta" --bundle cut/old,id="$old"
while read -r digest; do
    curl -fsS -o blob "http://$url/blobs/sha256/$digest" || fail "blob $digest is not served out of slices"
    [[ $(sum blob) == "$digest" ]] || fail "blob $digest of the slices has other bytes"
done < <(jq -r '.blobs[].sha256' delta.json)
curl -fsS -o copy "http://$url/bundle/$old" || fail "the sliced base is not served whole"
same copy old.tar.zst
stop
mv cut/old/old.tar.zst.003 .
run 5 verify cut/delta/delta.tar.zst.001 --base cut/old/old.tar.zst.001
has err "old.tar.zst.003 is missing"
refused 5 "old.tar.zst.003 is missing" --bundle cut/delta/delta.tar.zst,id="$delta" --bundle cut/old,id="$old"
