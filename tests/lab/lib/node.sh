# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Makes one node's root: its own identity, keys, user, and the small unit that opens the control
# groups at each boot.

node_prepare() {
    local node=$1 root
    root=$(node_root "$node")
    cgroup_enter "$CGROUP/work"
    mkdir -p "$root"
    tar -xf "$(rootfs_path)" -C "$root" --numeric-owner --xattrs --xattrs-include='*'
    node_identity "$node" "$root"
    node_units "$root"
    node_add_packages "$node" "$root"
    node_remove_packages "$node" "$root"
    node_user "$node" "$root"
}

node_identity() {
    local node=$1 root=$2 resolver
    echo "$node" >"$root/etc/hostname"
    tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
    printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n%s %s\n' \
        "$(node_field "$node" address)" "$node" >"$root/etc/hosts"
    resolver=$(node_field "$node" resolver)
    # why: an empty file, else the machine's own resolver leaks in and CoreDNS forwards to it
    rm -f "$root/etc/resolv.conf"
    printf '%s' "${resolver:+nameserver $resolver$'\n'}" >"$root/etc/resolv.conf"
    rm -f "$root"/etc/ssh/ssh_host_*
    ssh-keygen -q -A -f "$root" >/dev/null
    node_authorize "$root/root" 0:0
}

# The lines of known_hosts for this node.
node_host_keys() {
    sed "s/^\([^ ]* [^ ]*\).*/$(node_field "$1" address),$1 \1/" "$(node_root "$1")"/etc/ssh/ssh_host_*_key.pub
}

# The node is switched off for good; another machine stands in its place, and is switched on.
node_replace() {
    local node=$1 others
    [[ -z $(node_nspawn "$node") ]] || node_power_off "$node"
    rm -rf --one-file-system "$(node_root "$node")"
    (node_prepare "$node")
    others=$(grep -v "^$(node_field "$node" address)," "$KNOWN_HOSTS" || true)
    { echo "$others"; node_host_keys "$node"; } >"$KNOWN_HOSTS"
    node_power_on "$node"
    node_wait "$node"
}

# Lets the site's key in to the account whose home and owner are given.
node_authorize() {
    install -d -m 700 -o "${2%:*}" -g "${2#*:}" "$1/.ssh"
    install -m 600 -o "${2%:*}" -g "${2#*:}" "$SSH_KEY.pub" "$1/.ssh/authorized_keys"
}

node_units() {
    local root=$1 unit
    for unit in systemd-networkd.service systemd-networkd.socket systemd-resolved.service; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
    install -d "$root/usr/local/lib/kpack-lab" "$root/etc/systemd/system/basic.target.wants"
    cat >"$root/usr/local/lib/kpack-lab/open-cgroups" <<'EOF'
#!/bin/sh
# The lab's: a node on bare metal has its control groups writable from the start.
set -e
[ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ] || exit 0
for group in freezer pids blkio devices memory cpu cpuacct cpuset; do
    mountpoint -q "/sys/fs/cgroup/$group" || continue
    mount -o bind,remount,rw "/sys/fs/cgroup/$group"
done
mount -o remount,rw /sys/fs/cgroup
EOF
    chmod 755 "$root/usr/local/lib/kpack-lab/open-cgroups"
    cat >"$root/etc/systemd/system/lab-cgroups.service" <<'EOF'
[Unit]
Description=Open the control groups (the lab's stand-in for a node on bare metal)
DefaultDependencies=no
Before=basic.target containerd.service crio.service kubelet.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/lib/kpack-lab/open-cgroups
EOF
    ln -sf ../lab-cgroups.service "$root/etc/systemd/system/basic.target.wants/"
    # All nodes share this machine's disk: how full it is says nothing of the cluster.
    echo 'KUBELET_EXTRA_ARGS=--eviction-hard=memory.available<100Mi,nodefs.available<1%,imagefs.available<1% --image-gc-high-threshold=100' >"$root/etc/default/kubelet"
}

# Debian packages that are not in the root file system, with what they depend on; each set is fetched
# once and kept in the cache.
node_add_packages() {
    local node=$1 root=$2 debs
    local -a packages
    mapfile -t packages < <(jq -r --arg n "$node" '.nodes[] | select(.name == $n) | .with[]' "$NODES_JSON")
    ((${#packages[@]})) || return 0
    debs=$LAB_CACHE/debs/$(IFS=+; echo "${packages[*]}")
    mkdir -p "$debs/partial"
    (
        flock 9
        [[ -e $debs/complete ]] || {
            apt-get -qq -y --no-install-recommends --download-only -o Dir::State::status="$root/var/lib/dpkg/status" \
                -o Dir::Cache::archives="$debs" -o Debug::NoLocking=1 -o APT::Sandbox::User=root \
                install "${packages[@]}" >/dev/null && touch "$debs/complete"
        }
    ) 9>"$debs.lock" || die "node $node: with=: cannot get ${packages[*]}"
    cp -r "$debs" "$root/tmp/lab-debs"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" && chmod 755 "$root/usr/sbin/policy-rc.d"
    # why: again, what must be configured before others are unpacked is so only then
    chroot "$root" sh -c 'export DEBIAN_FRONTEND=noninteractive
        for i in 1 2 3 4 5; do
            ! dpkg -i --force-confdef /tmp/lab-debs/*.deb || exit 0
            dpkg --configure -a
        done
        exit 1' >"$root/tmp/lab-dpkg.log" 2>&1 ||
        die "node $node: with=: $(tail -n 3 "$root/tmp/lab-dpkg.log")"
    rm -rf "$root/usr/sbin/policy-rc.d" "$root"/tmp/lab-*
}

node_remove_packages() {
    local node=$1 root=$2 package
    for package in $(jq -r --arg n "$node" '.nodes[] | select(.name == $n) | .without[]' "$NODES_JSON"); do
        chroot "$root" dpkg-query -W "$package" >/dev/null 2>&1 ||
            die "node $node: without=$package: the root file system has no such package"
        chroot "$root" dpkg --purge --force-depends "$package" >/dev/null 2>&1 ||
            die "node $node: cannot remove the package $package"
    done
}

node_user() {
    local node=$1 root=$2 user password owner
    user=$(node_field "$node" user)
    [[ -n $user ]] || return 0
    password=$(node_field "$node" password)
    chroot "$root" useradd -m -s /bin/bash -G sudo "$user"
    [[ -z $password ]] || printf '%s:%s\n' "$user" "$password" | chroot "$root" chpasswd
    if [[ $(node_field "$node" nopasswd) == true ]]; then
        printf '%s ALL=(ALL:ALL) NOPASSWD: ALL\n' "$user" >"$root/etc/sudoers.d/kpack-lab"
        chmod 440 "$root/etc/sudoers.d/kpack-lab"
    fi
    owner=$(chroot "$root" id -u "$user"):$(chroot "$root" id -g "$user")
    node_authorize "$root/home/$user" "$owner"
    cat >"$root/home/$user/.bashrc" <<'EOF'
# Prints in every shell, also one that ssh starts for a command, as many a site's does.
printf '\033[1;33mAUTHORIZED USE ONLY\033[0m\nlast maintenance: %s\n' "$(date)"
echo "node $(hostname): 3 updates pending" >&2
EOF
}
