#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/fuzz/run.sh [SECONDS [TARGET…]]: builds the fuzz preset (clang, libFuzzer, sanitizers) and
# runs every target, or those named, for SECONDS (60) each on a copy of its corpus. What a target
# finds is kept in build/fuzz/found; the exit code is 1 then. KPACK_FUZZ_BUILD: another build folder.
set -euo pipefail
TOP=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
SECONDS_EACH=${1:-60}
shift $(($# > 0 ? 1 : 0))
BUILD=${KPACK_FUZZ_BUILD:-$TOP/build/fuzz}
FOUND=$BUILD/found
[[ $SECONDS_EACH =~ ^[0-9]+$ ]] || { echo "usage: run.sh [SECONDS [TARGET…]]" >&2; exit 2; }

targets=("$@")
if ((${#targets[@]} == 0)); then
    for source in "$TOP"/tests/fuzz/fuzz_*.c; do
        name=$(basename "$source" .c)
        targets+=("${name#fuzz_}")
    done
fi

cd "$TOP"
cmake --preset fuzz -B "$BUILD" >/dev/null
cmake --build "$BUILD" -j "$(nproc)" --target "${targets[@]/#/fuzz_}" | tail -n 1
mkdir -p "$FOUND"
bad=0
for name in "${targets[@]}"; do
    work=$BUILD/corpus/$name
    mkdir -p "$work"
    # the corpus of the tree is only read; what is new lands in the first folder
    if "$BUILD/tests/fuzz/fuzz_$name" -max_total_time="$SECONDS_EACH" -timeout=20 -rss_limit_mb=2048 \
        -max_len=1048576 -print_final_stats=1 -artifact_prefix="$FOUND/$name-" \
        "$work" "$TOP/tests/fuzz/corpus/$name" >"$BUILD/$name.log" 2>&1; then
        state=ok
    else
        state=FOUND bad=1
    fi
    printf '%-6s %-20s %9s inputs, %s\n' "$state" "$name" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$BUILD/$name.log")" \
        "$(grep -aoE 'cov: [0-9]+' "$BUILD/$name.log" | tail -n 1 || true)"
    [[ $state == ok ]] || tail -n 25 "$BUILD/$name.log"
done
exit "$bad"
