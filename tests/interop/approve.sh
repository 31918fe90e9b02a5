#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# knode approve against a kubectl that plays the API server: two pages, what is approved and as which
# object, what is left alone and named, a conflict, an API server that is down. usage: approve.sh KNODE
set -euo pipefail
KNODE=$1
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
fail() {
    echo "FAIL: $*" >&2
    exit 1
}

request() { # NAME USER SANS: an item as the API server lists it
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj "/O=system:nodes/CN=$2" -addext "subjectAltName=$3" -out "$WORK/csr" 2>/dev/null
    jq -cn --arg name "$1" --arg user "$2" --arg request "$(base64 -w0 <"$WORK/csr")" '{metadata: {name: $name, uid: ("uid-" + $name), resourceVersion: "7"},
        spec: {signerName: "kubernetes.io/kubelet-serving", username: $user, groups: ["system:nodes", "system:authenticated"],
        usages: ["digital signature", "server auth"], request: $request}, status: {}}'
}

mkdir "$WORK/bin" "$WORK/put"
cat >"$WORK/bin/kubectl" <<'END'
#!/bin/bash
[[ ! -e $WORK/down ]] || { echo "The connection to the server was refused" >&2; exit 1; }
for word; do path=$word; [[ $word != /apis* ]] || break; done
case $path in
    */approval)
        name=${path%/approval}
        name=${name##*/}
        [[ $name != csr-conflict ]] || { echo "Error from server (Conflict): the object has been modified" >&2; exit 1; }
        cat >"$WORK/put/$name"
        ;;
    *continue=bmV4dA) cat "$WORK/second" ;;
    *limit=*) cat "$WORK/first" ;;
    *) echo "unexpected: $*" >&2; exit 1 ;;
esac
END
chmod +x "$WORK/bin/kubectl"
export WORK
echo '{"kind":"kpack.nodes/v1","nodes":[{"name":"w1","addresses":["10.77.0.12"]},{"name":"w2","addresses":["10.77.0.13"]}]}' >"$WORK/nodes.json"
jq -cn --argjson a "$(request csr-w1 system:node:w1 DNS:w1,IP:10.77.0.12)" --argjson b "$(request csr-evil system:node:w1 DNS:w1,IP:10.77.0.13)" \
    '{metadata: {continue: "bmV4dA"}, items: [$a, $b]}' >"$WORK/first"
jq -cn --argjson a "$(request csr-w2 system:node:w2 DNS:w2)" --argjson b "$(request csr-conflict system:node:w2 DNS:w2)" --argjson c "$(request csr-ghost system:node:w9 DNS:w9)" \
    '{metadata: {}, items: [$a, $b, $c, ($a | .metadata.name = "csr-old" | .status.conditions = [{type: "Denied"}])]}' >"$WORK/second"
approve() { PATH=$WORK/bin:$PATH "$KNODE" approve --kubeconfig "$WORK/conf" --nodes "$WORK/nodes.json" --result "$WORK/last.json"; }

approve 2>"$WORK/said" || fail "$(cat "$WORK/said")"
[[ $(cd "$WORK/put" && echo *) == "csr-w1 csr-w2" ]] || fail "approved: $(ls "$WORK/put")"
[[ $(jq -r '[.kind, .metadata.uid, .metadata.resourceVersion, .status.conditions[0].type, .status.conditions[0].status] | join(" ")' "$WORK/put/csr-w1") == \
    "CertificateSigningRequest uid-csr-w1 7 Approved True" ]] || fail "sent: $(cat "$WORK/put/csr-w1")"
[[ $(jq -r '[.refused[] | .name] | join(" ")' "$WORK/last.json") == "csr-evil csr-ghost" ]] || fail "$(cat "$WORK/last.json")"
grep -q "left alone: csr-evil of system:node:w1: it asks for the address 10.77.0.13" "$WORK/said" || fail "$(cat "$WORK/said")"
approve 2>"$WORK/said" || fail "again: $(cat "$WORK/said")"
! grep 'left alone' "$WORK/said" || fail "what was named is named again"
touch "$WORK/down"
! approve 2>"$WORK/said" || fail "well without an API server"
grep -q "was refused" "$WORK/said" || fail "$(cat "$WORK/said")"
rm "$WORK/down"
for text in '' 'hello' '{"items": 7}' '{"items": [7, {}, {"spec": {"signerName": "kubernetes.io/kubelet-serving"}}]}'; do
    printf '%s' "$text" >"$WORK/first"
    approve 2>"$WORK/said" || [[ $? == 1 ]] || fail "\"$text\": $(cat "$WORK/said")"
done
echo '{"metadata": {"continue": "a b;c"}, "items": []}' >"$WORK/first"
approve 2>"$WORK/said" || fail "a continue that is none: $(cat "$WORK/said")"
echo "approve: ok"
