#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kpack create against a small upstream: plan, bundle, lock, what is missing, what is broken.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
make_upstream
BUNDLE=k8s-v1.30.2-flannel-amd64.tar.zst

create 0 --k8s v1.30 --release release.yaml --arch amd64 --plan
golden plan
[[ ! -e $BUNDLE ]] || fail "--plan wrote a bundle"
grep -q 'GET .*kubelet' access.log && fail "--plan fetched a file"

create 0 --k8s v1.30 --release release.yaml --arch amd64
golden create
(($(grep -c 'done   sha256 ok$' err) == 10)) || fail "two files and eight layers were to be fetched: $(<err)"
[[ $(stat -c %a config/kpack/keys/*.key) == 600 ]] || fail "a key was to be made"
grep -q '127.0.0.1' "${BUNDLE%.tar.zst}.lock.json" && fail "the lock names a mirror"
compgen -G '*.partial' >/dev/null && fail "a partial file was left"

run 0 verify "$BUNDLE"
run 0 list "$BUNDLE"
golden list
run 0 inspect --json "$BUNDLE"
jq -e '.provenance.sources | map(.checked) | (index("pinned") != null) and (index("seen") != null) and (index("expected-match") != null) and (index("local") != null)' \
    out >/dev/null || fail "provenance does not say how sources were checked"

# the same lock, the same bytes: everything cached; and from nothing
create 0 --lock "${BUNDLE%.tar.zst}.lock.json" -o again.tar.zst
same "$BUNDLE" again.tar.zst
create 0 --lock "${BUNDLE%.tar.zst}.lock.json" -o cold.tar.zst --cache cold
same "$BUNDLE" cold.tar.zst
same "${BUNDLE%.tar.zst}.lock.json" cold.lock.json

# everything cached and locked: no request at all
: >access.log
create 0 --lock "${BUNDLE%.tar.zst}.lock.json" -o again.tar.zst
[[ ! -s access.log ]] || fail "requests were made: $(head -3 access.log)"

# another libzstd: an error, unless what it would make is cached
sed 's/"zstd": "[^"]*"/"zstd": "9.9.9"/' "${BUNDLE%.tar.zst}.lock.json" >zstd.json
create 1 --lock zstd.json -o zstd.tar.zst
has err "made with libzstd 9.9.9"
sed 's/"serial": /"serial": -/' "${BUNDLE%.tar.zst}.lock.json" >bad.json
create 2 --lock bad.json
has err "bad.json.serial"

# our own programs are part of the lock
echo changed >>libexec/amd64/kinstall
create 5 --lock "${BUNDLE%.tar.zst}.lock.json" -o own.tar.zst --cache own
has err "kpack (sha256"
make_libexec

# two architectures
create 0 --k8s 1.30.2 --release release.yaml --arch arm64,amd64 --json
[[ $(jq -r .name out) == k8s-v1.30.2-flannel-amd64-arm64 ]] || fail "name of two arches"
run 0 list --json k8s-v1.30.2-flannel-amd64-arm64.tar.zst
[[ $(jq '[.files[] | select(.name == "kubelet")] | length' out) == 2 ]] || fail "kubelet for two arches"
rm libexec/arm64/knode
create 5 --k8s v1.30 --release release.yaml --arch arm64 --plan
has err "our own knode for arm64 is not in"
make_libexec

# what the user adds must be complete
cat >app.yaml <<'END'
apiVersion: v1
kind: Pod
spec:
  containers:
  - image: quay.io/x/extra:1
    args: ["--helper=quay.io/x/helper:2"]
END
create 5 --k8s v1.30 --release release.yaml --arch amd64 --manifest app.yaml -o app.tar.zst
golden missing
[[ ! -e app.tar.zst ]] || fail "an incomplete bundle was written"
create 0 --k8s v1.30 --release release.yaml --arch amd64 --manifest app.yaml --image quay.io/x/extra:1 \
    --waive quay.io/x/helper:2 -o app.tar.zst
run 0 list --json app.tar.zst
[[ $(jq -r '.images[] | select(.reference == "quay.io/x/extra:1") | .why' out) == --image ]] || fail "why"
mv app.yaml elsewhere.yaml
create 0 --lock app.lock.json -o app2.tar.zst
same app.tar.zst app2.tar.zst
create 5 --lock app.lock.json -o app3.tar.zst --cache app-cold
has err "file:app.yaml"
create 0 --lock app.lock.json -o app3.tar.zst --cache app-cold --manifest elsewhere.yaml
same app.tar.zst app3.tar.zst
create 5 --k8s v1.30 --release release.yaml --arch s390x --plan
has err "no sha256 for s390x"

# a digest that was only expected: a warning, in the provenance too
sed -E 's/expected: "sha256:..../expected: "sha256:0000/' release.yaml >other.yaml
create 0 --k8s v1.30 --release other.yaml --arch amd64 -o other.tar.zst
has err "warning   registry.k8s.io/etcd:3.5.12-0 is sha256:"
run 0 inspect --json other.tar.zst
jq -e '.provenance.sources[] | select(.checked == "expected-mismatch") | .expected | startswith("0000")' out >/dev/null ||
    fail "the mismatch is not in the provenance"
# one that is confirmed: an error
sed -E 's/expected: "sha256:..../digest: "sha256:0000/' release.yaml >other.yaml
rm other.tar.zst
create 1 --k8s v1.30 --release other.yaml --arch amd64 -o other.tar.zst
has err "registry.k8s.io/etcd:3.5.12-0 is not in its registry"
[[ ! -e other.tar.zst ]] || fail "a bundle was written"

# broken upstreams
broken() { # WHAT CODE TEXT
    rm -rf broken-cache broken.tar.zst
    create "$2" --k8s v1.30 --release release.yaml --arch amd64 --cache broken-cache -o broken.tar.zst
    has err "$3"
    [[ ! -e broken.tar.zst && ! -e broken.tar.zst.partial ]] || fail "$1: half a bundle was left"
}
cp www/dl/v1.30.2/kubelet kubelet.good
printf x | dd of=www/dl/v1.30.2/kubelet bs=1 seek=77 conv=notrunc status=none
broken "wrong checksum" 4 "https://dl.k8s.io/v1.30.2/kubelet"
rm www/dl/v1.30.2/kubelet
broken "404" 1 "404"
cp kubelet.good www/dl/v1.30.2/kubelet
cp www/dl/tools-2.0.tgz tools.good
tar --owner=0 --group=0 --mtime=@0 -czf www/dl/tools-2.0.tgz tools-2.0/one
sed "s/$(sum tools.good)/$(sum www/dl/tools-2.0.tgz)/" release.yaml >short.yaml
rm -rf broken-cache
create 5 --k8s v1.30 --release short.yaml --arch amd64 --cache broken-cache -o broken.tar.zst
has err "tools-2.0/two"
cp tools.good www/dl/tools-2.0.tgz
sed -i 's/10.244/10.245/' www/dl/flannel-0.22.0.yml
broken "text to replace" 1 '"10.244.0.0/16" is not in it'
