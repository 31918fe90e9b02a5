#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# one_document.sh KPACK KINSTALL BUNDLE_MAKE: whatever fails under --json says so in exactly one document on
# stdout, with ok, the exit code and a reason. Every command that --help lists and that knows --json is
# tried; where there is a report (nodes, findings, signatures) the reason stands in the report itself.
set -euo pipefail
export LC_ALL=C NO_COLOR=1
KPACK=$(readlink -f "$1") KINSTALL=$(readlink -f "$2") MAKE=$(readlink -f "$3")
WORK=$(mktemp -d /tmp/kpack-document.XXXXXX)
trap 'rm -rf "$WORK"' EXIT
cd "$WORK"
export HOME=$WORK XDG_CONFIG_HOME=$WORK/config XDG_CACHE_HOME=$WORK/cache
FAILED=0
fail() { echo "FAIL $*" >&2; FAILED=1; }

one() { # PROGRAM ARGS…: fails, in one document; it is left in out
    local code=0
    timeout 60 "$@" --json >out 2>err </dev/null || code=$?
    ((code > 0 && code < 6)) || { fail "$*: exit code $code"; return; }
    [[ $(jq -s length out 2>jq.err) == 1 ]] || { fail "$*: not one document: $(<out)"; return; }
    jq -e --argjson code $code '.ok == false and .code == $code and (.reason | length > 2) and (.message | length > 2)' out >/dev/null ||
        { fail "$*: $(<out)"; return; }
    printf 'ok    %-60.60s %s\n' "$(basename "$1") ${*:2}" "$(jq -r .reason out)"
}
says() { jq -e "$1" out >/dev/null || fail "not so: $1: $(<out)"; }
# Each command that knows --json, "" for the one without a name.
commands() { "$1" --help | sed -n '/^commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p'; }
knows_json() { "$@" --help | grep -c -- '--json ' >/dev/null; }

# --- no command: nothing of what it needs is there
printf 'cluster: c\nssh: {user: root, connect_timeout: 1}\nnodes:\n  - {name: a, address: 127.0.0.1, roles: [control-plane], ssh: {port: 1}, host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMeG9WcxHPrkmgoXBLwGBmSEHHLUPlRuMTnbL3BgXNbJ"}\n' >hosts.yaml
tried=0
for program in "$KPACK" "$KINSTALL"; do
    for command in $(commands "$program"); do
        knows_json "$program" "$command" || continue
        tried=$((tried + 1))
        one "$program" "$command" --nonsense
        case $(basename "$program") in
            kpack) one "$program" "$command" a.json b.json c d ;;
            *) one "$program" "$command" -i nosuch.yaml ;;
        esac
    done
done
((tried >= 25)) || fail "only $tried commands were found"
one "$KINSTALL" --nonsense
one "$KPACK" nonsense

# --- every command of kpack on a bundle that nobody trusts, that is damaged, that is not there
"$MAKE" x.tar.zst maker.pub
cp x.tar.zst bad.tar.zst
printf x | dd of=bad.tar.zst bs=1 seek=$(($(stat -c %s bad.tar.zst) / 2)) conv=notrunc status=none
mkdir -p other && "$KPACK" keygen other --folder other >/dev/null 2>&1
for file in x.tar.zst nosuch.tar.zst; do
    for command in verify inspect list sbom provenance; do
        ! knows_json "$KPACK" $command || one "$KPACK" $command $file
    done
    one "$KPACK" diff $file x.tar.zst
    one "$KPACK" extract --file x $file
    one "$KPACK" split $file
    one "$KPACK" join $file
done
one "$KPACK" repair x.tar.zst --from bad.tar.zst
one "$KPACK" verify --key maker.pub bad.tar.zst
says '.reason == "damaged" and (.entries | length > 1)'
one "$KPACK" verify --key maker.pub --all bad.tar.zst
one "$KPACK" extract --key maker.pub --file x bad.tar.zst
one "$KPACK" sign --check x.tar.zst --trust other/other.pub
says '.reason == "unknown_key" and (.signatures | length > 0)'

# --- verbs of kinstall with a report: a node that nobody reaches
for verb in check plan apply; do
    one "$KINSTALL" $verb -i hosts.yaml --bundle nosuch.tar.zst
    one "$KINSTALL" $verb -i hosts.yaml --bundle x.tar.zst
    says '.reason == "unknown_key"'
    one "$KINSTALL" $verb -i hosts.yaml --key maker.pub --bundle bad.tar.zst
    says '.reason == "damaged"'
done
for verb in status 'status --cis' receipt 'etcd status' 'etcd backup' 'etcd defrag' 'etcd restore x' 'certs check' 'certs renew' \
    'reset --yes' 'remove a --yes' 'rollback a' kubeconfig 'kubeconfig --user u --role admin --hours 1' upgrade; do
    # shellcheck disable=SC2086 # words
    one "$KINSTALL" $verb -i hosts.yaml
    # shellcheck disable=SC2086
    one "$KINSTALL" $verb -i hosts.yaml --bundle x.tar.zst --key maker.pub
done
one "$KINSTALL" status -i hosts.yaml --bundle x.tar.zst --key maker.pub
says '.nodes[0].state == "unreachable"'
for verb in check plan apply; do
    one "$KINSTALL" $verb -i hosts.yaml --bundle x.tar.zst --key maker.pub
    says '.findings | length > 0'
done
one "$KINSTALL" audit --nodes -i hosts.yaml
for verb in 'add nosuch.pub' 'remove nobody' 'import nosuch.json' 'import'; do
    # shellcheck disable=SC2086 # words
    one "$KINSTALL" trust $verb
done

# --- and what goes well is one document too
well() { # PROGRAM ARGS…
    "$@" --json >out 2>err </dev/null || { fail "$*: $(<err)"; return; }
    [[ $(jq -s length out 2>jq.err) == 1 ]] || fail "$*: not one document: $(<out)"
}
well "$KINSTALL" trust add other/other.pub
says '.ok and .name == "other"'
well "$KINSTALL" trust list
well "$KINSTALL" audit -i hosts.yaml
well "$KINSTALL" support -i hosts.yaml --bundle x.tar.zst --key maker.pub # of a site that is down
well "$KINSTALL" audit -i hosts.yaml -o report
says '.file == "report"'
well "$KINSTALL" trust remove other
well "$KPACK" trust init t-1.json other/other.pub
well "$KPACK" trust sign t-1.json --key other/other.key
well "$KPACK" trust show t-1.json
well "$KPACK" trust next t-1.json t-2.json
says '.file == "t-2.json"'
well "$KINSTALL" trust import t-1.json
says '.imported[0].version == 1 and .imported[0].new'
exit $FAILED
