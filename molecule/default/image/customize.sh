#!/bin/sh
# Runs on the host at the end of mmdebstrap, with the new root as $1.
set -eu
root=$1

# Machines are told apart by these: each gets its own at its first boot.
rm -f "$root"/etc/ssh/ssh_host_*
: > "$root/etc/machine-id"
: > "$root/etc/hostname"
rm -f "$root/etc/resolv.conf" "$root/etc/hosts"
: > "$root/etc/resolv.conf"
: > "$root/etc/hosts"
# No machine of the lab reaches a package server.
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/log/apt "$root"/var/log/dpkg.log "$root"/var/log/bootstrap.log

sed -i 's/^bgpd=no$/bgpd=yes/; s/^bfdd=no$/bfdd=yes/' "$root/etc/frr/daemons"
# Roles decide about these; a fresh machine does not run them. Time comes from the one kernel that all share.
chroot "$root" systemctl --quiet disable bird.service chrony.service haproxy.service keepalived.service nftables.service
chroot "$root" systemctl --quiet mask systemd-timesyncd.service fstrim.timer e2scrub_all.timer apt-daily.timer apt-daily-upgrade.timer
chroot "$root" systemctl --quiet enable lab-boot.service ssh.service frr.service
