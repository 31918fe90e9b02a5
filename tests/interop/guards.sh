#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# guards.sh [REGEX]: takes the guards of guards.txt out one at a time, in a copy of the tree, and sees that a
# test fails. A guard that nothing misses ends it with 1. Takes half an hour for all: not part of ctest.
# guards.sh --fresh: only that each program still finds its guard in the tree; part of ctest.
set -euo pipefail
HERE=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
TOP=$(cd "$HERE/../.." && pwd)
BUILD=${KPACK_GUARDS_BUILD:-$TOP/build/guards}
TREE=$BUILD/tree
READER=(bundle_layout bundle_manifest bundle_sign bundle_trust bundle_read bundle_damage)

guards() { grep -v '^#' "$HERE/guards.txt"; }

# Takes the guard out of FILE beneath a tree, into another file; false where nothing changes.
take_out() { # FROM TO PROGRAM
    sed -E "$3" "$1" >"$2"
    ! cmp -s "$1" "$2"
}

fresh() {
    local file what tests program stale=0 count=0 scratch
    scratch=$(mktemp)
    while IFS='|' read -r file what tests program; do
        count=$((count + 1))
        take_out "$TOP/$file" "$scratch" "$program" || { echo "STALE: $file: $what" && stale=1; }
        for name in $tests; do
            [[ $name == bundle || -f $TOP/tests/unit/test_$name.c ]] || { echo "no test $name: $what" && stale=1; }
        done
    done < <(guards)
    rm -f "$scratch"
    echo "$count guards"
    return $stale
}

build() { cmake --build "$BUILD/out" -j "$(nproc)" --target "$@" </dev/null >"$BUILD/log" 2>&1; }

names_of() { if [[ $1 == bundle ]]; then echo "${READER[@]}"; else echo "$1"; fi; }

# The first of the tests that fails, or nothing. A test that does not build any more misses it too, in its way.
who_misses_it() { # TESTS
    local name
    for name in $(names_of "$1"); do
        build "test_$name" || { echo "STALE: it does not build" && return; }
        timeout 300 "$BUILD/out/tests/unit/test_$name" >/dev/null 2>&1 || { echo "unit/$name" && return; }
    done
    [[ $1 == bundle ]] || return 0
    build kpack hostile_corpus hostile_mutate || { echo "STALE: it does not build" && return; }
    timeout 600 "$BUILD/out/tests/interop/hostile_corpus" "$BUILD/out/pack/kpack" >/dev/null 2>&1 || { echo interop/hostile_corpus && return; }
    timeout 60 "$BUILD/out/tests/interop/hostile_mutate" 10 1 >/dev/null 2>&1 || echo interop/hostile_mutate
}

if [[ ${1:-} == --fresh ]]; then
    fresh
    exit
fi
mkdir -p "$TREE"
git -C "$TOP" archive HEAD | tar -xm -C "$TREE"
cmake -S "$TREE" -B "$BUILD/out" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DKPACK_WERROR=OFF -DCMAKE_C_FLAGS='-O1' >/dev/null
unguarded=0
declare -A sound=()
while IFS='|' read -r file what tests program; do
    [[ "$file $what $tests" =~ ${1:-.} ]] || continue
    for name in $(names_of "$tests"); do # with the guard in place it passes
        [[ -z ${sound[$name]:-} ]] || continue
        build "test_$name" && timeout 300 "$BUILD/out/tests/unit/test_$name" >/dev/null 2>&1 || { echo "test_$name fails as it is" && exit 1; }
        sound[$name]=yes
    done
    cp "$TREE/$file" "$BUILD/kept"
    if take_out "$BUILD/kept" "$TREE/$file" "$program"; then verdict=$(who_misses_it "$tests"); else verdict='STALE: the program finds nothing'; fi
    cp "$BUILD/kept" "$TREE/$file"
    [[ -n $verdict ]] || verdict=NOBODY
    [[ $verdict != STALE* && $verdict != NOBODY ]] || unguarded=1
    printf '%-24s %-52s %s\n' "$file" "$what" "$verdict"
done < <(guards)
exit "$unguarded"
