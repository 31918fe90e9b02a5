#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Writes the tables of docs/inventory.md out of the program's own table of keys; with --check only
# says whether they are what it would write.
# usage: docs/tables.sh KINSTALL [--check]
set -euo pipefail
program=$(readlink -f "$1")
cd "$(dirname "$0")"
new=$(mktemp)
trap 'rm -f "$new"' EXIT
kept=yes
while IFS= read -r line; do
    [[ $line == '<!-- end -->' ]] && kept=yes
    [ "$kept" = no ] || printf '%s\n' "$line"
    if [[ $line =~ ^'<!-- keys: '([a-z_]+)' -->'$ ]]; then
        "$program" explain --markdown "${BASH_REMATCH[1]}"
        kept=no
    fi
done <inventory.md >"$new"
if [ "${2:-}" = --check ]; then
    diff -u inventory.md "$new" || {
        echo "docs/inventory.md is not what the table of keys says: cmake --build BUILD --target docs" >&2
        exit 1
    }
else
    cmp -s "$new" inventory.md || cat "$new" >inventory.md
fi
