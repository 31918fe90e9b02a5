#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# auditor.sh BUNDLE PUBKEY: runs the commands that docs/security.md prints, taken from that page,
# with nothing else in PATH than the tools it names. Exits 0 where the bundle is good.
set -euo pipefail
if [ $# -ne 2 ]; then
    echo "usage: auditor.sh BUNDLE PUBKEY" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
page=$here/../../docs/security.md
BUNDLE=$(realpath "$1")
KEY=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
for tool in tar zstd openssl sha256sum mkdir; do
    ln -s "$(command -v "$tool")" "$work/bin/$tool"
done
sed -n '/^```sh auditor$/,/^```$/{/^```/d;p}' "$page" > "$work/commands"
if ! grep -q 'openssl pkeyutl -verify' "$work/commands"; then
    echo "auditor.sh: the commands were not found in $page" >&2
    exit 1
fi
cd "$work"
env -i PATH="$work/bin" BUNDLE="$BUNDLE" KEY="$KEY" "$BASH" commands
