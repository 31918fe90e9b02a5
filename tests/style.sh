#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The style gates: formatting, banned calls, sizes of files and functions, shell scripts, and (with a
# build folder that has compile_commands.json) clang-tidy.
# usage: tests/style.sh [BUILD_DIR]
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
complain() {
    echo "style: $1" >&2
    failed=1
}

mapfile -t sources < <(git ls-files --cached --others --exclude-standard '*.c' '*.h')
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard | while read -r file; do
    [[ -f $file && $(head -c 64 "$file" | tr -d '\0') =~ ^#!.*(bash|/sh) ]] && echo "$file"
done)

clang-format --dry-run -Werror "${sources[@]}" 2>/tmp/format.$$ || {
    grep -a 'error:' /tmp/format.$$ | cut -d: -f1 | sort | uniq -c >&2 || true
    complain "formatting: run clang-format -i on the files above"
}
rm -f /tmp/format.$$

banned='(^|[^a-zA-Z0-9_>.])(strcpy|strcat|sprintf|strtok|atoi|system|popen|alloca)[[:space:]]*\('
if grep -nE "$banned" "${sources[@]}" | grep -vE '^[^:]+:[0-9]+:[[:space:]]*(/?\*|//)'; then
    complain "banned calls (STYLE)"
fi
mapfile -t outside_core < <(printf '%s\n' "${sources[@]}" | grep -v '^core/')
if grep -nE '(^|[^a-zA-Z0-9_])strto[a-z]+[[:space:]]*\(' "${outside_core[@]}"; then
    complain "strto* outside core/: use core/slice.h"
fi
if grep -nE '\bgoto[[:space:]]+[A-Za-z_*]' "${sources[@]}" | grep -vE ':[[:space:]]*(/?\*|//)'; then
    complain "goto"
fi

awk '
    FNR == 1 { if (lines > 800) { print name ": " lines " lines"; bad = 1 } name = FILENAME; start = 0 }
    { lines = FNR }
    /^[A-Za-z_].*\(/ && !/;[[:space:]]*$/ { start = FNR }
    /^}/ { if (start && FNR - start > 100) { print FILENAME ":" start ": function of " FNR - start " lines"; bad = 1 } start = 0 }
    END { if (lines > 800) { print name ": " lines " lines"; bad = 1 } exit bad }
' "${sources[@]}" >&2 || complain "a file over 800 lines or a function over 100"

for source in "${sources[@]}"; do
    [[ $(head -n 1 "$source") == *SPDX-License-Identifier* ]] || complain "$source: no SPDX line"
done
# Its writer may get SIGPIPE, which pipefail takes for a failure, now and then.
if grep -nE '\| *(head( |$)|grep (-[a-zA-Z]+ )*-[a-zA-Z]*(q|m))' "${scripts[@]}" | grep -vE ':[0-9]+: *#|sh -c|style.sh:|guards.sh:|ExecStartPre'; then
    complain "a pipe whose reader ends early: sed -n 1p, [[ -n \$(…) ]], grep -q <<<\"\$(…)\""
fi
shellcheck -S warning -x "${scripts[@]}" >&2 || complain "shellcheck"

if [ $# -gt 0 ]; then
    mapfile -t compiled < <(printf '%s\n' "${sources[@]}" | grep -E '^(core|net|bundle|manifests|pack|registry|install)/.*\.c$')
    printf '%s\n' "${compiled[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p "$1" 2>/dev/null | grep -E 'warning:|error:' >&2 &&
        complain "clang-tidy"
fi
[ "$failed" = 0 ] && echo "style: ${#sources[@]} sources, ${#scripts[@]} scripts: ok"
exit "$failed"
