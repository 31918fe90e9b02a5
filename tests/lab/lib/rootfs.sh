# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The nodes' root file system: one Debian tar, built once per package list and kept in the cache.

ROOTFS_SUITE=bookworm
ROOTFS_PACKAGES=(systemd systemd-sysv dbus openssh-server sudo iproute2 iptables nftables kmod
    ca-certificates conntrack socat ethtool ebtables procps iputils-ping curl)

rootfs_path() {
    local digest
    digest=$(printf '%s\n' "$ROOTFS_SUITE" minbase "${ROOTFS_PACKAGES[@]}" | sha256sum)
    printf '%s/rootfs-%s-%s.tar' "$LAB_CACHE" "$ROOTFS_SUITE" "${digest:0:12}"
}

# Builds the tar unless it is there. KPACK_LAB_MIRROR names another Debian mirror.
rootfs_build() {
    local tar partial lock started=$EPOCHREALTIME
    local -a options=() mirror=()
    tar=$(rootfs_path)
    mkdir -p "$LAB_CACHE"
    exec {lock}>"$LAB_CACHE/rootfs.lock"
    flock "$lock"
    if [[ ! -s $tar ]]; then
        say "building the nodes' root file system (Debian $ROOTFS_SUITE, once; about half a minute)"
        partial=${tar%.tar}.partial.tar
        mapfile -t options < <(apt-config dump | sed -n 's/^\(Acquire::https\?::Proxy\) "\(.\+\)";$/--aptopt=\1 "\2";/p')
        [[ -z ${KPACK_LAB_MIRROR:-} ]] || mirror=("$KPACK_LAB_MIRROR")
        mmdebstrap --variant=minbase --include="$(IFS=,; echo "${ROOTFS_PACKAGES[*]}")" \
            "${options[@]}" "$ROOTFS_SUITE" "$partial" "${mirror[@]}" </dev/null >&2 ||
            die "mmdebstrap failed (see above); is a Debian mirror to be reached? KPACK_LAB_MIRROR names another"
        rootfs_check "$partial"
        mv "$partial" "$tar"
        say "root file system: $tar, $(du -h "$tar" | cut -f1), $(since "$started") s"
    fi
    exec {lock}>&-
}

# why: a product that needs Python on the nodes must fail here, not at a customer's
rootfs_check() {
    ! tar -tf "$1" | grep -E '/s?bin/python' >&2 || die "the nodes' root file system has Python in it"
}
