#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# create --base and --have: what is left out, what the delta says it needs, base and delta as one.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
make_upstream
run 0 keygen site
FROM=(--k8s v1.30 --release release.yaml --arch amd64)
create 0 "${FROM[@]}" --serial 1000 -o old.tar.zst
create 0 "${FROM[@]}" --serial 2000 --image quay.io/x/extra:1 -o whole.tar.zst

# the plan says what is left out; then the delta
create 0 "${FROM[@]}" --serial 2000 --image quay.io/x/extra:1 --base old.tar.zst --plan
has out "which the site has"
create 0 "${FROM[@]}" --serial 2000 --image quay.io/x/extra:1 --base old.tar.zst -o delta.tar.zst
golden create
(($(stat -c %s delta.tar.zst) * 3 < $(stat -c %s whole.tar.zst))) || fail "the delta is not small"

# nothing of the base is carried but what must travel; the same blobs are needed as by the whole
manifest() { tar --zstd -xOf "$1" bundle.json; }
manifest old.tar.zst >old.json
manifest delta.tar.zst >delta.json
manifest whole.tar.zst >whole.json
same <(jq -c '.blobs[] | del(.base)' delta.json) <(jq -c '.blobs[]' whole.json)
jq -r '.blobs[].sha256' old.json | sort >old.blobs
jq -r '.blobs[] | select(.base) | .sha256' delta.json | sort >based
[[ -z $(comm -23 based old.blobs) ]] || fail "the base does not have what it should"
jq -r '[.files[] | select(.origin == "kpack") | .blob] + [.manifests[].blob] + [.blobs[] | select(.media_type | test("[.](index|manifest)[.]")) | .sha256] | .[]' \
    delta.json | sort -u >travels
comm -23 old.blobs based | comm -12 - <(jq -r '.blobs[].sha256' delta.json | sort) >both
[[ -z $(comm -23 both travels) ]] || fail "carried though the base has it: $(comm -23 both travels)"
[[ -z $(comm -12 based travels) ]] || fail "must travel, and was left out"

# the same lock gives the same bytes, with an empty cache too, and only with its base
create 0 --lock delta.lock.json --base old.tar.zst -o again.tar.zst
same delta.tar.zst again.tar.zst
create 5 --lock delta.lock.json -o none.tar.zst
has err "missing: k8s-v1.30.2-flannel-amd64 serial 1000"
create 5 --lock delta.lock.json --base whole.tar.zst -o none.tar.zst
[[ ! -e none.tar.zst ]] || fail "made without its base"
create 0 --lock delta.lock.json --base old.tar.zst --cache fresh -o again.tar.zst
same delta.tar.zst again.tar.zst
while read -r layer; do
    [[ -z $(find www -name "sha256:$layer") || -z $(find fresh -name "$layer*") ]] || fail "layer $layer is not carried, and was fetched"
done < <(jq -r '.blobs[] | select(.base and (.media_type | test("layer"))) | .sha256' delta.json)

# what a base must not be
create 2 "${FROM[@]}" --serial 900 --base old.tar.zst -o low.tar.zst
has err "serial 1000"
create 2 "${FROM[@]}" --serial 3000 --base old.tar.zst -o old.tar.zst
has err "old.tar.zst is the base"
run 0 verify old.tar.zst
create 2 --lock delta.lock.json --base old.tar.zst --serial 5
mv config/kpack/trusted.d/site.pub .
create 3 "${FROM[@]}" --serial 3000 --base old.tar.zst --key site -o x.tar.zst
create 0 "${FROM[@]}" --serial 3000 --base old.tar.zst --trust site.pub --key site -o x.tar.zst
mv site.pub config/kpack/trusted.d/

# verify: the file alone is good, and says what it needs
run 0 verify delta.tar.zst
golden verify
run 0 verify --json delta.tar.zst
[[ $(jq -r '.ok, .complete, .bases[0].name, .bases[0].serial' out | paste -sd' ') == "true false k8s-v1.30.2-flannel-amd64 1000" ]] || fail "verify --json"
run 0 verify delta.tar.zst --base old.tar.zst
has out "with base k8s-v1.30.2-flannel-amd64 serial 1000"
run 5 verify delta.tar.zst --base whole.tar.zst
has err "is not a base that delta.tar.zst still needs"
cp old.tar.zst bad.tar.zst
printf '\xff' | dd of=bad.tar.zst bs=1 seek=$(($(stat -c %s bad.tar.zst) / 2)) conv=notrunc status=none
run 4 verify delta.tar.zst --base bad.tar.zst
run 0 inspect delta.tar.zst
has out "base        k8s-v1.30.2-flannel-amd64 serial 1000"
run 0 list delta.tar.zst
has out "base $(sha256sum old.json | cut -c1-8)"

# extract: only the two together have it all
run 5 extract delta.tar.zst --file kubelet --to ex
has err "missing: k8s-v1.30.2-flannel-amd64 serial 1000"
run 5 extract delta.tar.zst --oci half
[[ ! -e half/index.json ]] || fail "half a layout"
run 0 extract delta.tar.zst --base old.tar.zst --file kubelet --oci layout --to ex
cmp ex/kubelet www/dl/v1.30.2/kubelet || fail "kubelet differs"
run 0 extract whole.tar.zst --oci wanted
diff -r layout wanted || fail "the layout of base and delta is not that of the whole"
run 4 extract delta.tar.zst --base bad.tar.zst --file kubelet --oci layout2 --to ex2

# a chain: what the second delta leaves out lies in two files
make_image quay.io/x/more 1 >/dev/null
create 0 "${FROM[@]}" --serial 3000 --image quay.io/x/extra:1 --image quay.io/x/more:1 \
    --base old.tar.zst --base delta.tar.zst -o second.tar.zst
[[ $(manifest second.tar.zst | jq -r '.bases[].serial' | paste -sd' ') == "2000 1000" ]] || fail "bases of the second"
run 5 verify second.tar.zst --base delta.tar.zst
has err "serial 1000"
run 0 verify second.tar.zst --base delta.tar.zst --base old.tar.zst

# a receipt says the same as the bundle itself
id=$(sha256sum old.json | cut -d' ' -f1)
jq --arg id "$id" --argjson size "$(stat -c %s old.tar.zst)" '. as $m |
    [.blobs[] | select(.base | not) | {sha256, size}] as $blobs |
    {kind: "kpack.receipt/v1", cluster: "demo", created: "2026-11-23T21:00:00Z", bundles: [{id: $id, name, serial,
     size: $size, mirrors: ["cp1"], blobs: $blobs, files: [.files[] | {origin, name, arch, sha256, size, blob}]}]}' \
    old.json >receipt.json
create 0 "${FROM[@]}" --serial 2000 --image quay.io/x/extra:1 --have receipt.json -o have.tar.zst
same delta.tar.zst have.tar.zst
sed 's/receipt.v1/receipt\/v9/' receipt.json >wrong.json
create 2 "${FROM[@]}" --serial 2000 --have wrong.json -o x.tar.zst
has err "kind"

# another level of zstd makes other blobs; the base's own are taken
create 0 "${FROM[@]}" --serial 4000 --level 9 --base old.tar.zst -o level.tar.zst
[[ $(manifest level.tar.zst | jq '[.files[] | select(.name == "kubelet") | .blob][0]') == \
    $(jq '[.files[] | select(.name == "kubelet") | .blob][0]' old.json) ]] || fail "kubelet is carried again"
