#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# verify, inspect, list, extract, sign: what is trusted, damaged, missing.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
make_upstream
run 0 keygen site
run 0 create --k8s v1.30 --release release.yaml --arch amd64 --libexec libexec --mirrors mirrors.yaml -o x.tar.zst

run 0 verify x.tar.zst
golden verify
run 0 verify --json x.tar.zst
[[ $(jq -r '.ok, .signers[0].name' out | paste -sd' ') == "true site" ]] || fail "verify --json"
run 0 inspect x.tar.zst
golden inspect

# extract
run 0 extract x.tar.zst --file kubelet --file two --to ex
cmp ex/kubelet www/dl/v1.30.2/kubelet || fail "kubelet differs"
cmp ex/two tools-2.0/two || fail "two differs"
[[ $(stat -c %a ex/kubelet ex/two | paste -sd' ') == "755 644" ]] || fail "modes"
run 5 extract x.tar.zst --file nosuch --to ex
has err "has no such file"
ln -s "$WORK/outside" ex/one.partial
run 0 extract x.tar.zst --file one --to ex
[[ ! -e outside ]] || fail "a link was followed"
run 0 extract x.tar.zst --oci layout
if command -v skopeo >/dev/null; then
    skopeo inspect oci:layout:registry.k8s.io/pause:3.9 >/dev/null || fail "skopeo does not read the layout"
fi
mkdir linked && ln -s /tmp linked/blobs
run 1 extract x.tar.zst --oci linked

# damage: code 4, names what and where; the rest is refused by extract too
cp x.tar.zst bad.tar.zst
size=$(stat -c %s bad.tar.zst)
printf '\xff' | dd of=bad.tar.zst bs=1 seek=$((size / 2)) conv=notrunc status=none
run 4 verify bad.tar.zst
has err "damaged: bad.tar.zst: blobs/sha256/"
run 4 verify --json bad.tar.zst
[[ $(wc -l <out) == 1 && $(jq -r '.ok, .code, .reason, .name' out | paste -sd' ') == "false 4 damaged k8s-v1.30.2-flannel-amd64" ]] || fail "verify --json of a damaged one"
[[ $(jq -r '[.entries[] | select(.state == "damaged")] | length' out) -ge 1 ]] || fail "no entry is damaged"
# the second damage, in another entry, is found with --all only; every entry then has its verdict
printf '\xff' | dd of=bad.tar.zst bs=1 seek=$((size - 600)) conv=notrunc status=none
run 4 verify --json --all bad.tar.zst
[[ $(jq -r '[.entries[] | select(.state == "damaged")] | length' out) == 2 ]] || fail "not both damages: $(jq -c '.entries[] | select(.state != "ok")' out)"
[[ $(jq -r '[.entries[] | select(.state == "unchecked")] | length' out) == 0 ]] || fail "unchecked with --all"
[[ $(jq -r '.entries[] | select(.state == "damaged") | .ranges[0][0]' out | sort -n | tail -n 1) -le $((size - 600)) ]] || fail "ranges"
run 4 verify --all bad.tar.zst
[[ $(grep -c 'blobs/sha256/' out) -ge 1 && $(wc -l <out) == 3 ]] || fail "the table of damages: $(cat out)"
run 0 verify --json x.tar.zst
[[ $(jq -r '[.entries[] | .state] | unique | join(" ")' out) == ok && $(jq -c .policy out) == '{"threshold":1,"valid":1,"met":true}' ]] || fail "entries of a good one"
run 4 extract bad.tar.zst --file kubelet --to ex2
[[ ! -e ex2/kubelet ]] || fail "extracted from a damaged bundle"
head -c $((size - 1)) x.tar.zst >short.tar.zst
run 4 verify short.tar.zst
cat x.tar.zst - <<<x >long.tar.zst
run 4 verify long.tar.zst

# trust
mv config/kpack/trusted.d/site.pub .
run 3 verify x.tar.zst
has err "no trusted key is known here"
run 3 verify --json x.tar.zst
[[ $(jq -r '.ok, .code, .reason' out | paste -sd' ') == "false 3 no_trusted_keys" ]] || fail "verify --json without keys"
run 0 verify x.tar.zst --key site.pub
run 0 keygen other
run 3 verify x.tar.zst
run 3 inspect x.tar.zst
run 2 verify x.tar.zst --key config/kpack/keys/other.key

# a second signature, in place
before=$(stat -c %s x.tar.zst)
run 0 sign x.tar.zst --key other
[[ $(stat -c %s x.tar.zst) == "$before" ]] || fail "signing changed the size"
run 0 verify x.tar.zst
has out "an unknown key, unchecked"
run 0 verify x.tar.zst --key site.pub
has out "site (key"

# unsigned, signed later
run 0 create --k8s v1.30 --release release.yaml --arch amd64 --libexec libexec --mirrors mirrors.yaml \
    --unsigned -o u.tar.zst
run 3 verify u.tar.zst
run 0 sign u.tar.zst --key other
run 0 verify u.tar.zst
