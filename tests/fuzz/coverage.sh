#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/fuzz/coverage.sh [--all] [BUILD_DIR]: how many lines and branches of the readers of outside
# bytes are reached by replaying the corpora (fuzz/*), and with --all by the unit tests and the
# hostile corpus too. Preset "coverage"; gcov's figures per file, then the lines nobody reached in
# bundle/'s readers.
set -euo pipefail
TOP=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
CHOICE='^fuzz/'
TARGETS=()
for file in "$TOP"/tests/fuzz/fuzz_*.c; do
    TARGETS+=("$(basename "$file" .c)")
done
[[ ${1:-} != --all ]] || { TARGETS=(all) CHOICE='^(fuzz/|unit/|interop/hostile_(corpus|mutate))'; shift; }
BUILD=${1:-$TOP/build/coverage}
READERS=(bundle/{layout,open,stretch,verify,read,manifest_parse,signatures,spki,trust,names,trust_list,document,revocations,slices,receipt}.c
    core/{json,slice,chain}.c net/http.c registry/{route,oci}.c
    pack/{oci_document,oci_challenge,fetch_rules,lock,scan,layers,dpkg}.c
    install/inventory/inventory.c install/audit/audit_book.c install/support/redact.c install/node/protocol.c
    manifests/{yaml,release}.c)

cd "$TOP"
for file in "${READERS[@]}"; do
    [[ -f $file ]] || { echo "coverage.sh: there is no $file any more" >&2; exit 1; }
done
cmake --preset coverage -B "$BUILD" >/dev/null
cmake --build "$BUILD" -j "$(nproc)" --target "${TARGETS[@]}" | tail -n 1
find "$BUILD" -name '*.gcda' -delete
ctest --test-dir "$BUILD" -R "$CHOICE" -j "$(nproc)" --label-exclude '^(bench|long)$' | tail -n 3

work=$(mktemp -d "$(dirname "$BUILD")/gcov.XXXXXX") # as deep: the sources are named relative to BUILD
trap 'rm -rf "$work"' EXIT
cd "$work"
printf '%-28s %8s %8s\n' reader lines branches
for file in "${READERS[@]}"; do
    data=$(find "$BUILD/${file%%/*}" -name "$(basename "$file").gcda" -print -quit)
    if [[ -z $data ]]; then
        printf '%-28s %8s\n' "$file" none
        continue
    fi
    gcov -b -o "$(dirname "$data")" "$data" 2>/dev/null | awk -v name="$file" '
        /^File/ { ours = index($0, name) }
        ours && /^Lines executed/ { split($2, part, ":"); lines = part[2] }
        ours && /^Taken at least once/ { split($4, part, ":"); branches = part[2]; ours = 0 }
        END { printf "%-28s %8s %8s\n", name, lines, branches }'
done
echo
echo "lines of bundle/'s readers that nothing reached:"
grep -HE '^ *#####:' {layout,open,verify,read,manifest_parse,signatures}.c.gcov | sed 's/\.gcov: *#####: */:/' || true
