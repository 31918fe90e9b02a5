#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# kinstall support: what is in the archive, and that no secret of the site is, wherever it stood; with the
# API down and a node off too. Needs root. Run: tests/e2e/support.sh
# shellcheck disable=SC2016 # single quotes: for the shells of the nodes
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

CLUSTER=talks
VALUE=Tr0ub4dor-and-3-xyzzy
LINE=correct-horse-battery-staple
TOKEN=abc123.0123456789abcdef

k() { kinstall "$@" -i "$WORK/hosts.yaml"; }

good() {
    "$@" >"$WORK/out" 2>&1 || fail "${*:0:6}: $(tail -n 40 "$WORK/out")"
}

# The body of every private key, whether it lies in a file of its own, in a kubeconfig or beside a certificate.
key_lines='
    for f in "$@"; do
        [ -f "$f" ] || continue
        { cat "$f"; sed -n "s/.*client-key-data: //p" "$f" | base64 -d 2>/dev/null; } |
            sed -n "/BEGIN.*PRIVATE KEY/,/END.*PRIVATE KEY/p" | grep -v -e "-----" || true
        sed -n "s/.*client-key-data: //p; s/^ *secret: //p" "$f"
    done'

# Every secret of the site, one a line; the short last lines of keys say nothing.
known_secrets() {
    local node
    for node in cp1 w1; do
        "$SITE" run "$node" -- sh -c 'set -- $(find /etc/kubernetes /etc/kpack /var/lib/kubelet/pki -type f); '"$key_lines"
    done
    # shellcheck disable=SC2046 # names without blanks
    sh -c "$key_lines" sh $(find "$WORK/$CLUSTER.state" -type f -not -name '*.jsonl')
    printf '%s\n' "$VALUE" "$LINE" "$(printf %s "$VALUE" | base64)" "$TOKEN"
}

unpack() {
    rm -rf "$WORK/open" && mkdir "$WORK/open"
    tar --zstd -C "$WORK/open" -xf "$1" || fail "tar cannot read $1"
}

holds_no_secret() {
    local found
    found=$(grep -rlFf "$WORK/secrets" "$WORK/open" || true)
    expect "files with a secret in them" "" "$found"
    ! grep -rl -e 'PRIVATE KEY-----' "$WORK/open" || fail "a private key is in the archive"
}

e2e_begin support
part "a bundle"
shared_bundle
part "a control plane, a worker"
"$SITE" up --node cp1=10.77.0.11 --node w1=10.77.0.12
kinstall trust add "$PUB"
"$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/hosts.yaml"
sed -i '/^nodes:/i security: {encryption: true}' "$WORK/hosts.yaml"
good kinstall --bundle "$BUNDLE" -i "$WORK/hosts.yaml"
fetch_kubectl

part "secrets in a Secret, in the journal, in a container's log, in a pod's environment"
kubectl create secret generic app --from-literal=password="$VALUE" --from-literal=pin=1234 >/dev/null
kubectl run talker --image=registry.k8s.io/pause:3.9 --env=DB_PASSWORD="$LINE" >/dev/null
"$SITE" run w1 -- systemd-run --quiet --wait --unit=kpack-talker sh -c "echo it is $VALUE, and the join token $TOKEN"
"$SITE" run w1 -- sh -c "mkdir -p /var/log/pods/x_y_z/c && cat /var/lib/kubelet/pki/kubelet-client-current.pem >/var/log/pods/x_y_z/c/0.log && echo 'talked: $VALUE' >>/var/log/pods/x_y_z/c/0.log"
known_secrets | awk 'length($0) >= 20' | sort -u >"$WORK/secrets"
(($(wc -l <"$WORK/secrets") > 40)) || fail "only $(wc -l <"$WORK/secrets") lines of secrets are known: the test looks for too little"
"$SITE" run w1 -- journalctl --sync
contains "where they stand" "$("$SITE" run w1 -- journalctl -u kpack-talker -o cat)" "$VALUE"

part "support: one file, 0600, that tar opens; what is asked for is in it, no secret is"
good k support -o "$WORK/one.tar.zst"
sed 's/^/     /' "$WORK/out"
expect "mode" 600 "$(stat -c %a "$WORK/one.tar.zst")"
unpack "$WORK/one.tar.zst"
for file in README.txt admin/journal.jsonl admin/hosts.yaml cluster/nodes.txt cluster/pods.txt nodes/cp1/journal-kubelet.txt \
    nodes/cp1/manifests.txt nodes/cp1/etcd.txt nodes/w1/container-logs.txt nodes/w1/disk.txt nodes/w1/time.txt; do
    [[ -s $WORK/open/$file ]] || fail "$file is not in it: $(find "$WORK/open" -type f)"
done
contains "etcd" "$(cat "$WORK/open/nodes/cp1/etcd.txt")" "MemberID"
contains "static pods" "$(cat "$WORK/open/nodes/cp1/manifests.txt")" "--etcd-servers"
contains "the journal's line, without what it hid" "$(cat "$WORK/open/nodes/w1/journal-kpack.txt")" "it is <removed>, and the join token <removed>"
contains "the log" "$(cat "$WORK/open/nodes/w1/container-logs.txt")" "talked: <removed>"
contains "the pod" "$(cat "$WORK/open/cluster/pods.txt")" talker DB_PASSWORD
holds_no_secret

part "the API down and a node off: what there is, and what did not answer"
"$SITE" poweroff w1
"$SITE" run cp1 -- sh -c 'systemctl stop kubelet; kill $(pidof kube-apiserver)'
good k support -o "$WORK/two.tar.zst"
sed 's/^/     /' "$WORK/out"
contains "what it says" "$(cat "$WORK/out")" "1 of 2 nodes could not be asked" "no API server answers"
unpack "$WORK/two.tar.zst"
[[ -s $WORK/open/nodes/w1/unreachable.txt && -s $WORK/open/cluster/unreachable.txt && -s $WORK/open/nodes/cp1/journal-kubelet.txt ]] ||
    fail "not what was wanted: $(find "$WORK/open" -type f)"
holds_no_secret
seen support running
part end
