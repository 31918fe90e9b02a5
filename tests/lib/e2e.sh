# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the tests in tests/e2e share: the installed product, the lab's upstream and site, one bundle
# for all of them, and how a test speaks. Nothing is read from or written to the caller's own
# configuration of kpack. Settings: KPACK_PREFIX (build/prefix), KPACK_E2E_SUFFIX (of the site's name, so
# that two runs do not meet), KPACK_E2E_KEEP=1 leaves site and
# folder of a failed test.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PREFIX=${KPACK_PREFIX:-$TOP/build/prefix}
E2E=$TOP/build/e2e
UPSTREAM=$TOP/tests/lab/upstream/upstream
SITE=$TOP/tests/lab/site
ARCH=$(dpkg --print-architecture 2>/dev/null || echo amd64)
PATH=$PREFIX/bin:$PREFIX/libexec/kpack/$ARCH:$PATH
export PATH

# As ./check names it: the script, and the part of it that was asked for.
E2E_PART=${0##*/}
E2E_PART=${E2E_PART%.sh}${1:+_$1}
PART=start PART_STARTED=$EPOCHREALTIME PASSED=0
UPSTREAM_STARTED='' WORK=${WORK:-} E2E_NAME=''

# --- speaking -----------------------------------------------------------------------------------

say() { printf '     %s\n' "$*"; }

fail() {
    printf 'FAIL %s: %s\n' "$PART" "$*" >&2
    exit 1
}

# Seconds since $1 (an EPOCHREALTIME), with one decimal.
since() {
    local now=$EPOCHREALTIME
    local tenths=$(((${now/[.,]/} - ${1/[.,]/}) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

# Ends one part of the test with the time it took, and names the next; "part end" ends the last.
part() {
    if [[ $PART != start ]]; then
        printf 'ok   %6s s  %s\n' "$(since "$PART_STARTED")" "$PART"
        PASSED=$((PASSED + 1))
    fi
    PART=$1 PART_STARTED=$EPOCHREALTIME
}

# The feature of tests/features.txt was just proved: it counts where the whole run passes.
seen() { # ID running|validated|rendered
    printf '%s %s\n' "$1" "$2" >>"$WORK/.features"
}

keep_seen() {
    mkdir -p "$TOP/build/features"
    rm -f "$TOP/build/features/$E2E_PART"
    [[ ! -f $WORK/.features ]] || sort -u "$WORK/.features" >"$TOP/build/features/$E2E_PART"
}

expect() { # WHAT WANTED GOT
    [[ $2 == "$3" ]] || fail "$1: wanted \"$2\", got \"$3\""
}

contains() { # WHAT TEXT WORD…: each word is in the text
    local what=$1 text=$2 word
    shift 2
    for word in "$@"; do
        [[ $text == *"$word"* ]] || fail "$what: \"$word\" is not in: $text"
    done
}

# Runs a command that must fail in one of the ways given: "3|4". Its output is in $OUTPUT, its code in $CODE.
refused() { # CODES COMMAND…
    local codes=$1
    shift
    CODE=0
    OUTPUT=$("$@" 2>&1 </dev/null) || CODE=$?
    [[ "|$codes|" == *"|$CODE|"* ]] || fail "exit code of \"${*:0:6} …\": wanted $codes, got $CODE: $OUTPUT"
}

# Tries a command until it succeeds, for some seconds.
soon() { # SECONDS COMMAND…
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

sha256_of() {
    local line
    line=$(sha256sum <"$1")
    echo "${line%% *}"
}

# --- a test's life --------------------------------------------------------------------------------

# Begins the test NAME: its folder WORK (on the disk of the checkout), its site's name, its end.
e2e_begin() {
    E2E_NAME=$1
    export KPACK_LAB_SITE=e2e-$1${KPACK_E2E_SUFFIX:-}
    [[ -x $PREFIX/bin/kpack ]] || fail "no $PREFIX/bin/kpack: run ./check --only release first"
    mkdir -p "$E2E"
    WORK=$(mktemp -d "$E2E/work.$1.XXXXXX")
    chmod 755 "$WORK"
    mkdir -p "$WORK/config" "$WORK/home"
    trap e2e_end EXIT
    trap 'exit 143' TERM
    trap 'exit 130' INT
}

e2e_end() {
    local status=$? job
    trap - EXIT
    trap '' INT TERM
    ((status == 0)) || printf 'FAIL in: %s\n' "$PART" >&2
    for job in $(jobs -p); do kill "$job" 2>/dev/null || true; done
    if ((status != 0)); then keep_logs; else keep_seen; fi
    if ((status != 0)) && [[ -n ${KPACK_E2E_KEEP:-} ]]; then
        echo "left as it is (KPACK_E2E_KEEP): $WORK, site $KPACK_LAB_SITE" >&2
    else
        [[ -z $(type -t e2e_cleanup) ]] || e2e_cleanup || true
        [[ $(id -u) != 0 ]] || "$SITE" check-leaks >/dev/null 2>&1 || "$SITE" down || status=1
        rm -rf "$WORK"
        [[ -z $UPSTREAM_STARTED ]] || "$UPSTREAM" down || status=1
    fi
    ((status != 0)) || printf '%s: %d parts passed\n' "$E2E_NAME" "$PASSED"
    exit "$status"
}

# The state folders of a failed test (journal and the nodes' logs, no secrets) stay in build/log.
keep_logs() {
    local folder to=$TOP/build/log/$E2E_NAME
    rm -rf "$to"
    for folder in "$WORK"/*.state; do
        [[ -d $folder ]] || continue
        mkdir -p "$to"
        cp -r "$folder/journal.jsonl" "$folder/log" "$to/" 2>/dev/null || true
        echo "journal and logs of the nodes: $to" >&2
    done
}

# --- the product, with its configuration inside WORK --------------------------------------------

CACHE=${KPACK_E2E_CACHE:-$HOME/.cache/kpack-lab/e2e}

in_home() {
    HOME=$WORK/home XDG_CONFIG_HOME=$WORK/config XDG_CACHE_HOME=$CACHE "$@"
}

kpack() { in_home "$PREFIX/bin/kpack" "$@"; }

# On the site's admin side, which reaches the nodes and nothing else. Keeps its number in
# KINSTALL_PID where it is started with "&" (exec all the way down).
kinstall() { in_home "$SITE" exec -- "$PREFIX/libexec/kpack/$ARCH/kinstall" "$@"; }

# --- upstream and bundle --------------------------------------------------------------------------

# One that runs already stays behind the test, and gets what it does not serve yet (UPSTREAM_WITH).
upstream_up() { # [OPTIONS…: of upstream up]
    local running=yes
    "$UPSTREAM" status >/dev/null 2>&1 || running='' UPSTREAM_STARTED=yes
    if [[ -z $running || -n "$*${UPSTREAM_WITH:-}" ]]; then
        # What it starts may outlive this test: without the bundle's lock.
        if [[ -n ${BUNDLE_LOCK:-} ]]; then "$UPSTREAM" up "$@" {BUNDLE_LOCK}>&-; else "$UPSTREAM" up "$@"; fi
    fi
    eval "$("$UPSTREAM" env)"
}

# What a bundle depends on: the programs it carries and the upstream's release file.
bundle_stamp() {
    cat "$PREFIX/bin/kpack" "$PREFIX/libexec/kpack/$ARCH"/k* "$1" | sha256sum
}

# kpack create with the lab as its internet: create_from_lab OUTPUT [OPTIONS…]
create_from_lab() {
    local output=$1
    shift
    kpack create --k8s v1.30 --release "$E2E/lab.yaml" --mirrors "$E2E/mirrors.yaml" --output "$output" "$@"
}

# Makes the bundle that all tests share, unless it is there and current: sets BUNDLE, LOCK, KEY
# (private) and PUB. The key is the tests' own.
shared_bundle() {
    # shellcheck disable=SC2034 # PUB is for the tests
    BUNDLE=$E2E/k8s.tar.zst LOCK=$E2E/k8s.lock.json KEY=$E2E/keys/e2e.key PUB=$E2E/keys/e2e.pub
    exec {BUNDLE_LOCK}>"$E2E/lock"
    flock "$BUNDLE_LOCK"
    if [[ ! -f $E2E/lab.yaml || ! -f $E2E/mirrors.yaml || ! -f $BUNDLE ]]; then
        upstream_up
        "$UPSTREAM" release-file "$E2E/lab.yaml"
        "$UPSTREAM" mirrors-file "$E2E/mirrors.yaml"
    fi
    if [[ ! -f $BUNDLE || $(cat "$E2E/stamp" 2>/dev/null) != "$(bundle_stamp "$E2E/lab.yaml")" ]]; then
        upstream_up
        rm -f "$BUNDLE" "$LOCK"
        [[ -f $KEY ]] || kpack keygen e2e --folder "$E2E/keys"
        create_from_lab "$BUNDLE" --key "$KEY"
        bundle_stamp "$E2E/lab.yaml" >"$E2E/stamp"
    fi
    exec {BUNDLE_LOCK}>&-
}

# --- the cluster ----------------------------------------------------------------------------------

# kubectl on the admin side, through the kubeconfig that kinstall fetched.
kubectl() {
    "$SITE" exec -- "$KUBECTL_PROGRAM" --kubeconfig "$WORK/$CLUSTER.state/kubeconfig" --request-timeout=10s "$@"
}

# The kubectl of the bundle, for the admin side.
fetch_kubectl() {
    KUBECTL_PROGRAM=$WORK/kubectl
    kpack extract --key "$PUB" --file kubectl --to "$WORK" "$BUNDLE" >/dev/null
}

# "cp1=True w1=True": each node's Ready condition.
ready_nodes() {
    kubectl get nodes -o json |
        jq -r '[.items[] | .metadata.name + "=" + (.status.conditions[] | select(.type == "Ready") | .status)] | sort | join(" ")'
}

# Pods that are neither done nor Ready, one a line.
unready_pods() {
    kubectl get pods -A -o json | jq -r '.items[] | select(.status.phase != "Succeeded")
        | select([.status.conditions[]? | select(.type == "Ready" and .status == "True")] | length == 0)
        | .metadata.namespace + "/" + .metadata.name + " " + .status.phase'
}

no_unready_pods() { [[ -z $(unready_pods) ]]; }

# Data of the cluster that no fault may lose: ConfigMaps key-1, key-2, …
write_keys() { # FROM TO
    local i
    for ((i = $1; i <= $2; i++)); do
        printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: key-%d, namespace: default}\ndata: {value: "%d"}\n' "$i" "$((i * 7))"
    done >"$WORK/keys.yaml"
    kubectl create -f "$WORK/keys.yaml" >/dev/null
}

# What of the keys is there: "COUNT SUM".
read_keys() {
    kubectl get configmap -n default -o json |
        jq -r '[.items[] | select(.metadata.name | startswith("key-")) | .data.value | tonumber] | "\(length) \(add // 0)"'
}

wanted_keys() { echo "$1 $((7 * $1 * ($1 + 1) / 2))"; }
