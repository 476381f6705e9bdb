#!/bin/sh
# What a real machine gets from its installer and its network, done at every boot of a lab node. Its values lie beside it in /lab.
set -eu

# Real machines' mounts are shared; calico-node and CSI drivers refuse anything else.
mount --make-rshared /

# podman binds its own files over these three, and a bind mount cannot be replaced atomically. Underneath lies the machine's own file,
# which keeps what was written to it; only an empty one (first boot) gets the lab's.
for name in hosts hostname resolv.conf; do
    while mountpoint -q "/etc/$name"; do umount "/etc/$name"; done
    [ -s "/etc/$name" ] || install -m 0644 "/lab/$name" "/etc/$name"
done

# A distribution's kernel comes with a list of what is built into it; Cilium's agent looks there for iptables. This kernel has all of it built in.
modules="/lib/modules/$(uname -r)"
if [ ! -e "$modules/modules.builtin" ] && [ ! -e "$modules/modules.dep" ]; then
    install -d "$modules"
    for name in ip_tables iptable_filter iptable_mangle iptable_nat iptable_raw ip6_tables ip6table_filter ip6table_mangle ip6table_raw ip_set xt_socket; do
        echo "kernel/net/netfilter/$name.ko"
    done > "$modules/modules.builtin"
fi

install -d -m 0700 /root/.ssh
install -m 0600 /lab/authorized_keys /root/.ssh/authorized_keys
install -m 0600 /lab/ssh_host_ed25519_key /etc/ssh/ssh_host_ed25519_key

# What an older kernel does not have is left out.
sysctl --quiet --ignore --load=/lab/sysctl.conf
# What was set on the machine itself comes last, as after any boot.
/usr/lib/systemd/systemd-sysctl --prefix=net
ip -batch /lab/routes

if [ -e /lab/frr.conf ] && ! cmp -s /lab/frr.conf /etc/frr/frr.conf; then
    install -o frr -g frr -m 0640 /lab/frr.conf /etc/frr/frr.conf
    # frr.service is ordered after this script: its job has to wait for the end of it, the script must not wait for the job. It takes over only what differs.
    if systemctl --quiet is-active frr.service; then systemctl --no-block reload frr.service; fi
fi
