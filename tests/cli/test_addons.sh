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

# hooks: carried, in the lock, and not for a key that this host's trust list gives no such role
printf '#!/bin/sh\necho hello\n' >hook.sh
create 2 "${HAVE[@]}" --hook lunch:before:all=hook.sh --plan
has err "'lunch' is no phase; there are mirror, prepare"
create 0 "${HAVE[@]}" --hook prepare:before:all=hook.sh --hook prove:after:admin:7=hook.sh -o hook.tar.zst
run 0 list --json hook.tar.zst
jq -e '[.files[] | select(.component == "hook") | [.name, .target, .mode]] == [["hook-1-hook-sh", "/var/lib/kpack/hooks/hook-1-hook-sh", "0700"],
    ["hook-2-hook-sh", "/var/lib/kpack/hooks/hook-2-hook-sh", "0700"]]' out >/dev/null || fail "files: $(jq -c .files out)"
jq -e '.hooks == [{"phase": "prepare", "when": "before", "where": "all", "file": "hook-1-hook-sh", "timeout": 300},
    {"phase": "prove", "when": "after", "where": "admin", "file": "hook-2-hook-sh", "timeout": 7}]' out >/dev/null || fail "hooks: $(jq -c .hooks out)"
create 0 --lock hook.lock.json -o again.tar.zst
same hook.tar.zst again.tar.zst
KEY=$(echo config/kpack/keys/*.key) LIST=config/kpack/trusted.d/trust.1.json
mkdir -p config/kpack/trusted.d
run 0 trust init "$LIST" "${KEY%.key}.pub"
run 0 trust sign "$LIST" --key "$KEY"
create 3 "${HAVE[@]}" --hook prepare:before:all=hook.sh -o no.tar.zst
has err "has no role hooks"
create 0 "${HAVE[@]}" -o plain.tar.zst
rm config/kpack/trusted.d/*
run 0 trust init "$LIST" "${KEY%.key}.pub" --role sign --role root --role revoke --role hooks
run 0 trust sign "$LIST" --key "$KEY"
create 0 "${HAVE[@]}" --hook prepare:before:all=hook.sh -o yes.tar.zst
