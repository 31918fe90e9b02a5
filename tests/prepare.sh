#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing for the named groups (tests/packages/GROUP.txt); asks nothing.
# usage: tests/prepare.sh build check lab
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export DEBIAN_FRONTEND=noninteractive

missing=()
for group in "$@"; do
    while read -r package; do
        case $package in '' | '#'*) continue ;; esac
        [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == 'install ok installed'* ]] ||
            missing+=("$package")
    done <"$here/packages/$group.txt"
done
[ "${#missing[@]}" -gt 0 ] || exit 0

mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
if [ "$(id -u)" != 0 ]; then
    echo "these packages are missing, and only root can install them: ${missing[*]}" >&2
    exit 1
fi
echo "installing ${#missing[@]} packages: ${missing[*]}"
log=$(mktemp)
# Services of test programs must not start by themselves on the machine of whoever runs this.
policy=/usr/sbin/policy-rc.d
made_policy=no
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made_policy=yes
fi
cleanup() {
    if [ "$made_policy" = yes ]; then rm -f "$policy"; fi
    rm -f "$log"
}
trap cleanup EXIT
if ! { apt-get -o DPkg::Lock::Timeout=600 update -q &&
    apt-get -o DPkg::Lock::Timeout=600 install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    exit 1
fi
