#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# disk_full.sh MAKER: a bundle written where there is no room ends in a clear error and leaves
# nothing. In a mount namespace of its own; 77 (skipped) where the kernel gives us none.
set -euo pipefail
if [ "${INSIDE:-}" != 1 ]; then
    flags=(--mount)
    [ "$(id -u)" = 0 ] || flags=(--mount --user --map-root-user)
    unshare "${flags[@]}" true 2> /dev/null || exit 77
    INSIDE=1 exec unshare "${flags[@]}" "$BASH" "$0" "$@"
fi
work=$(mktemp -d)
trap 'umount "$work/small" 2> /dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/small"
mount -t tmpfs -o size=2m tmpfs "$work/small"
status=0
"$1" "$work/small/x.tar.zst" "$work/site.pub" 2> "$work/log" || status=$?
cat "$work/log"
[ "$status" = 1 ]
grep -q 'x.tar.zst.partial.*No space left on device.*(disk_full)' "$work/log"
[ -z "$(ls -A "$work/small")" ]
echo "nothing is left"
