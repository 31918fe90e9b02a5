#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kpack create --with: what an add-on brings, what is unknown, and that no image of it can be forgotten.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
make_upstream
HAVE=(--k8s v1.30 --release release.yaml --arch amd64)

create 2 "${HAVE[@]}" --with stroe --plan
has err "--with: release v1.30.2 has no add-on 'stroe'; it has store"

cat >own.yaml <<'END'
apiVersion: v1
kind: ConfigMap
metadata: {name: own}
END
create 0 "${HAVE[@]}" --with store,store --manifest own.yaml -o store.tar.zst
run 0 list --json store.tar.zst
jq -e '[.manifests[] | [.name, .addon, .version, .why]] == [["kube-flannel", null, null, "network flannel"],
    ["store", "store", "0.3", "add-on store"], ["own", "own", null, "--manifest"]]' out >/dev/null || fail "manifests: $(jq -c .manifests out)"
jq -e '.manifests[1].checks == [{"kind": "volume", "subject": "store", "what": "a volume is bound and written"}]' out >/dev/null ||
    fail "checks: $(jq -c .manifests[1] out)"
jq -e '[.images[] | select(.why == "add-on store") | .reference] | sort == ["docker.io/library/busybox:latest", "quay.io/x/store:v0.3"]' \
    out >/dev/null || fail "images: $(jq -c .images out)"
create 0 --lock store.lock.json -o again.tar.zst
same store.tar.zst again.tar.zst
create 2 --lock store.lock.json --with store -o again.tar.zst
has err "--lock decides"

# each of its images taken out of the list: the bundle is not made, and the image is named
for image in quay.io/x/store:v0.3 docker.io/library/busybox:latest; do
    grep -vF "$image" release.yaml >less.yaml
    create 5 --k8s v1.30 --release less.yaml --arch amd64 --with store -o less.tar.zst
    has err "$image is not in the bundle"
    has err "store-0.3.yml:"
    [[ ! -e less.tar.zst ]] || fail "an incomplete bundle was written"
done
