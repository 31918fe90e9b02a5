#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# key_walkthrough.sh KPACK KINSTALL BUNDLE_MAKE: runs the walk-throughs of docs/security.md (ceremony, signing,
# rotation, compromise) exactly as they stand there, and looks at what each left. Every block of commands on
# that page is run by a test: here, by auditor.sh, or ("line") by tests/e2e/audit.sh.
set -euo pipefail
kpack=$(readlink -f "$1") kinstall=$(readlink -f "$2") maker=$(readlink -f "$3")
page=$(cd "$(dirname "$0")" && pwd)/../../docs/security.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
ln -s "$kpack" "$work/bin/kpack"
ln -s "$kinstall" "$work/bin/kinstall"
export PATH=$work/bin:$PATH HOME=$work XDG_CONFIG_HOME=$work/site
export BAD_ID=00000000000000000000000000000000000000000000000000000000000000aa
cd "$work"

fail() {
    echo "key_walkthrough: $*" >&2
    exit 1
}
blocks=$(sed -n 's/^```sh *//p' "$page" | sort | paste -sd' ')
[[ $blocks == "auditor ceremony compromise encrypted id line rotation signing" ]] || fail "blocks of commands: $blocks"
! grep -E '^    (kpack|kinstall|openssl|tar) ' "$page" || fail "commands that no test runs"
walk() { # NAME: the fenced commands of that name; what the site trusts then is in list.json
    sed -n "/^\`\`\`sh $1\$/,/^\`\`\`\$/{/^\`\`\`/d;p}" "$page" >"$1.sh"
    [[ -s $1.sh ]] || fail "no commands \"$1\" in $page"
    bash -eu "$1.sh" >"$1.log" 2>&1 || { cat "$1.log" && fail "$1"; }
    kinstall trust list --json >list.json
    echo "walked: $1"
}
holds() { jq -e "$1" list.json >/dev/null || { cat list.json && fail "not so: $1"; }; }
refused() { # CODE REASON FILE…
    local code=0
    kinstall trust import --json "${@:3}" >out 2>&1 || code=$?
    [[ $code == "$1" ]] || { cat out && fail "import ${*:3}: exit code $code, not $1"; }
    jq -e --arg reason "$2" '[.. | .reason? // empty] | index($reason)' out >/dev/null || { cat out && fail "no reason $2"; }
    echo "refused: ${*:3} ($2)"
}

walk ceremony
walk id
[[ $(cut -d' ' -f1 id.log) == "$(jq -r '.keys[] | select(.name == "ann") | .id' list.json)" ]] || fail "the key id: $(<id.log)"
"$maker" x.tar.zst maker.pub
export BUNDLE=$work/x.tar.zst
! kpack verify "$BUNDLE" >/dev/null 2>&1 || fail "the maker is trusted"
walk signing
grep -Eq '^ann +valid' signing.log && grep -Eq '^bob +valid' signing.log || fail "who has signed: $(<signing.log)"
echo "a passphrase" >passphrase
walk encrypted
grep -q ENCRYPTED keys/fay.key || fail "fay's key is not encrypted"
holds '.version == 1 and .thresholds.root == 2 and (.keys | length) == 3'
kpack trust next site-1.json alone.json 2>/dev/null
kpack trust sign alone.json --key keys/ann.key 2>/dev/null
refused 3 threshold alone.json
walk rotation
holds '.version == 2 and ([.keys[].name] | sort) == ["ann", "dan", "eve"]'
refused 3 rollback site-1.json
kpack revoke half.json --revoke-key keys/ann.pub --key keys/eve.key 2>/dev/null >/dev/null
refused 3 threshold half.json
walk compromise
holds '.keys[] | select(.name == "eve") | .revoked == "stolen 2027-03-02"'
holds ".revoked.bundles[0].id == \"$BAD_ID\""
kpack trust next site-2.json site-3.json
kpack trust sign site-3.json --key keys/ann.key 2>/dev/null
kpack trust sign site-3.json --key keys/eve.key 2>/dev/null
refused 3 revoked site-3.json
