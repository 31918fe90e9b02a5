#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# key_walkthrough.sh KPACK KINSTALL: runs the walk-throughs of docs/security.md (ceremony, rotation,
# compromise) exactly as they stand there, and looks at what each left.
set -euo pipefail
kpack=$(readlink -f "$1") kinstall=$(readlink -f "$2")
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
walk() { # NAME: the fenced commands of that name; what the site trusts then is in list.json
    sed -n "/^\`\`\`sh $1\$/,/^\`\`\`\$/{/^\`\`\`/d;p}" "$page" >"$1.sh"
    grep -q kpack "$1.sh" || fail "no commands \"$1\" in $page"
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
