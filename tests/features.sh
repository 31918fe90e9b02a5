#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Keeps tests/features.txt (which says how a row is added), the marks in the tests and the README's
# table of features the same. usage: tests/features.sh [check|ctest|compare|record|write]
#   check    the list, the marks and the README agree (what ctest runs)
#   ctest    all of ctest passed: its marks are results
#   compare  what the parts that ./check ran have seen (build/features) is what the list says
#   record   takes it over into the list, and writes the table
#   write    writes the README's table out of the list
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."

LIST=tests/features.txt RESULTS=build/features README=README.md
LEVELS=(running validated rendered)
MARK='^[[:space:]]*(/\* |# )?seen ([a-z0-9.-]+) (running|validated|rendered)( \*/)?$'
BAD=''

complain() {
    echo "features: $*" >&2
    BAD=yes
}

# --- the list -------------------------------------------------------------------------------------

declare -A AREA=() TEXT=() HOW=() PARTS=()
IDS=() AREAS=()

rank() { # running is above validated is above rendered is above -
    case $1 in running) echo 3 ;; validated) echo 2 ;; rendered) echo 1 ;; *) echo 0 ;; esac
}

read_list() {
    local area id text how parts number=0 line
    while IFS= read -r line; do
        number=$((number + 1))
        [[ -n $line && $line != '#'* ]] || continue
        IFS='|' read -r area id text how parts <<<"${line// | /|}"
        [[ -n $parts && $id =~ ^[a-z0-9.-]+$ ]] || {
            complain "$LIST:$number: AREA | ID | FEATURE | HOW | PARTS is needed"
            continue
        }
        [[ -z ${TEXT[$id]:-} ]] || complain "$LIST:$number: $id stands there twice"
        [[ " ${LEVELS[*]} - " == *" $how "* ]] || complain "$LIST:$number: $how: one of ${LEVELS[*]} or -"
        [[ " ${AREAS[*]/%/;} " == *" $area; "* ]] || AREAS+=("$area")
        IDS+=("$id")
        AREA[$id]=$area TEXT[$id]=$text HOW[$id]=$how PARTS[$id]=$parts
    done <"$LIST"
}

# The file in which a part's marks stand; nothing where there is no such test.
source_of() {
    local file
    for file in "tests/e2e/${1%%_*}.sh" "tests/unit/$1.c" "tests/cli/$1.sh"; do
        [[ ! -f $file ]] || { echo "$file" && return; }
    done
}

# An e2e script is a test only where ./check runs it.
in_check() { [[ $1 == test_* ]] || grep -E "^E2E(_LONG)?=\((.* )?$1[ )]" check >/dev/null; }

marks_of() { # FILE: "ID HOW", each once
    sed -nE "s,$MARK,\2 \3,p" "$1" | sort -u
}

# --- the README -----------------------------------------------------------------------------------

cell() { # AREA HOW
    local id text=''
    for id in "${IDS[@]}"; do
        [[ ${AREA[$id]} != "$1" || ${HOW[$id]} != "$2" ]] || text+="${text:+ · }${TEXT[$id]}"
    done
    printf '%s' "$text"
}

table() {
    local area
    echo '| | seen running | taken by the API server (dry run) | rendered, compared with what is expected | built, not seen yet |'
    echo '|---|---|---|---|---|'
    for area in "${AREAS[@]}"; do
        printf '| %s | %s | %s | %s | %s |\n' "$area" "$(cell "$area" running)" "$(cell "$area" validated)" "$(cell "$area" rendered)" "$(cell "$area" -)"
    done
}

readme() { # the README with the table as it should be
    local line kept=yes
    while IFS= read -r line; do
        [[ $line != '<!-- end -->' ]] || kept=yes
        [[ -z $kept ]] || printf '%s\n' "$line"
        if [[ $line == '<!-- features -->' ]]; then
            table
            kept=''
        fi
    done <"$README"
}

write_readme() {
    local new
    new=$(readme)
    printf '%s\n' "$new" >"$README"
}

# --- what is compared -----------------------------------------------------------------------------

check_entry() { # ID: each part is a test that has the mark
    local id=$1 part file
    [[ ${HOW[$id]} != - || ${PARTS[$id]} == - ]] || complain "$id: seen by no way, but by ${PARTS[$id]}"
    [[ ${HOW[$id]} != - ]] || return 0
    for part in ${PARTS[$id]}; do
        file=$(source_of "$part")
        if [[ -z $file ]] || ! in_check "$part"; then
            complain "$id: $part is no test that is run"
        elif ! grep -qxF "$id ${HOW[$id]}" <<<"$(marks_of "$file")"; then
            complain "$id: $file has no line \"seen $id ${HOW[$id]}\""
        fi
    done
}

check_marks() {
    local file id
    for file in tests/e2e/*.sh tests/unit/test_*.c tests/cli/test_*.sh; do
        while read -r id _; do
            [[ -n ${TEXT[$id]:-} ]] || complain "$file: seen $id: $LIST has no such feature"
        done < <(marks_of "$file")
    done
}

check_all() {
    local id
    for id in "${IDS[@]}"; do check_entry "$id"; done
    check_marks
    [[ $(readme) == "$(<"$README")" ]] || complain "$README is not what $LIST says: tests/features.sh write"
}

keep_ctest() {
    local file name marks
    mkdir -p "$RESULTS"
    for file in tests/unit/test_*.c tests/cli/test_*.sh; do
        name=${file##*/} marks=$(marks_of "$file")
        rm -f "$RESULTS/${name%.*}"
        [[ -z $marks ]] || printf '%s\n' "$marks" >"$RESULTS/${name%.*}"
    done
}

# Files of results, without those of parts that ./check does not run as such.
results() {
    local file
    for file in "$RESULTS"/*; do
        if [[ -f $file ]] && in_check "${file##*/}"; then echo "$file"; fi
    done
}

# What one part saw is what the list says that it sees.
compare_part() { # FILE
    local part=${1##*/} id how
    while read -r id how; do
        [[ -n ${TEXT[$id]:-} ]] || { complain "$part saw $id, which $LIST does not have" && continue; }
        [[ ${HOW[$id]} != "$how" || " ${PARTS[$id]} " == *" $part "* ]] || complain "$part saw $id, $LIST does not say so"
        (($(rank "$how") <= $(rank "${HOW[$id]}"))) || complain "$part saw $id $how, $LIST says ${HOW[$id]}"
    done <"$1"
    for id in "${IDS[@]}"; do
        [[ " ${PARTS[$id]} " != *" $part "* ]] || grep -xF "$id ${HOW[$id]}" "$1" >/dev/null || complain "$part did not see $id ${HOW[$id]}"
    done
}

compare() {
    local file
    for file in $(results); do compare_part "$file"; done
    [[ -z $BAD ]] || echo "features: is it meant? then tests/features.sh record" >&2
}

# --- taking results over --------------------------------------------------------------------------

forget_part() { # the part ran: only what it saw now counts
    local part=$1 id kept
    for id in "${IDS[@]}"; do
        kept=$(printf '%s\n' ${PARTS[$id]} | grep -vxF -e "$part" | xargs) || true
        PARTS[$id]=${kept:--}
        [[ ${PARTS[$id]} != - ]] || HOW[$id]=-
    done
}

record_part() { # FILE
    local part=${1##*/} id how
    while read -r id how; do
        [[ -n ${TEXT[$id]:-} ]] || { complain "$part saw $id: add a row for it to $LIST" && continue; }
        if (($(rank "$how") > $(rank "${HOW[$id]}"))); then
            HOW[$id]=$how PARTS[$id]=$part
        elif [[ $how == "${HOW[$id]}" && " ${PARTS[$id]} " != *" $part "* ]]; then
            PARTS[$id]="${PARTS[$id]} $part"
        fi
    done <"$1"
}

record() {
    local file new line id
    for file in $(results); do forget_part "${file##*/}"; done
    for file in $(results); do record_part "$file"; done
    new=$(while IFS= read -r line; do
        IFS='|' read -r _ id _ <<<"${line// | /|}"
        if [[ -n $line && $line != '#'* && -n ${TEXT[$id]:-} ]]; then
            line="${AREA[$id]} | $id | ${TEXT[$id]} | ${HOW[$id]} | ${PARTS[$id]}"
        fi
        printf '%s\n' "$line"
    done <"$LIST")
    printf '%s\n' "$new" >"$LIST"
    write_readme
}

read_list
case ${1:-check} in
    check) check_all ;;
    ctest) keep_ctest ;;
    compare) compare ;;
    record) record ;;
    write) write_readme ;;
    *) complain "usage: tests/features.sh [check|ctest|compare|record|write]" ;;
esac
[[ -z $BAD ]] || exit 1
[[ ${1:-check} != check ]] || echo "features: ${#IDS[@]} features: ok"
