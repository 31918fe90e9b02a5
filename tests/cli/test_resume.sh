#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kpack create killed and interrupted: no half bundle, and the next run goes on where it was.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
make_upstream
sed 's#/dl/"}#/slow/"}#' mirrors.yaml >slow.yaml
ARGS=(create --k8s v1.30 --release release.yaml --arch amd64 --serial 7 --libexec libexec -o x.tar.zst)

# SIGNAL: starts, waits until part of the kubelet is there, sends it; sets $code.
broken_off() {
    local pid i
    "$KPACK" "${ARGS[@]}" --mirrors slow.yaml >out 2>err &
    pid=$!
    for i in {1..200}; do
        [[ -n $(find cache -path '*partial*' -type f -size +300k 2>/dev/null) ]] && break
        sleep 0.02
    done
    [[ $i -lt 200 ]] || fail "nothing of the kubelet came"
    kill "-$1" $pid
    code=0
    wait $pid 2>/dev/null || code=$?
    compgen -G 'x.*' >/dev/null && fail "after $1 there is $(echo x.*)"
    return 0
}

broken_off INT
((code == 1)) || fail "exit code after Ctrl-C is $code"
has err "interrupted"
broken_off KILL
: >access.log
run 0 "${ARGS[@]}" --mirrors mirrors.yaml
grep -q 'GET /dl/v1.30.2/kubelet HTTP/1.1" 206' access.log || fail "the kubelet was not resumed: $(grep kubelet access.log)"
run 0 verify x.tar.zst

# the same serial and lock from nothing gives the same bytes as the one that was broken off twice
run 0 create --lock x.lock.json -o y.tar.zst --cache cold --mirrors mirrors.yaml --libexec libexec
same x.tar.zst y.tar.zst

# two at once, one cache
"$KPACK" "${ARGS[@]}" --cache both --mirrors mirrors.yaml -o a.tar.zst >/dev/null 2>&1 &
one=$!
run 0 "${ARGS[@]}" --cache both --mirrors mirrors.yaml -o b.tar.zst
wait $one || fail "the other of two at once failed"
run 0 verify a.tar.zst b.tar.zst

# a blob that rotted in the cache is noticed, dropped, and fetched again
blob=$(find cache -name "$(sum www/dl/v1.30.2/kubelet)")
chmod u+w "$blob"
printf rotten | dd of="$blob" bs=1 seek=1000 conv=notrunc status=none
rm -rf cache/kpack/memo
run 4 "${ARGS[@]}" --mirrors mirrors.yaml
has err "is damaged"
run 0 "${ARGS[@]}" --mirrors mirrors.yaml
run 0 verify x.tar.zst

# so is a layer, and a compressed file: what the writer reads
rotten() { # SHA256
    blob=$(find cache -name "$1")
    [[ -n $blob ]] || fail "$1 is not in the cache"
    chmod u+w "$blob"
    printf rotten | dd of="$blob" bs=1 seek=20 conv=notrunc status=none
}
run 0 list --json x.tar.zst
rotten "$(jq -r '.files[] | select(.name == "two") | .blob' out)"
for layer in www/v2/docker.io/flannel/flannel/blobs/*; do # one of the architecture that was taken
    [[ -z $(find cache -name "${layer##*:}") ]] || break
done
rotten "${layer##*:}"
run 4 "${ARGS[@]}" --mirrors mirrors.yaml
has err "run the same command again"
run 0 "${ARGS[@]}" --mirrors mirrors.yaml
run 0 verify x.tar.zst
same x.tar.zst y.tar.zst
