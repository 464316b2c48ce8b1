#!/bin/sh
# Process 1 of a guest in its own root: what every host has, then systemd or the job alone.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
. /run/lab/settings

umount -l /mnt
busybox ip link set lo up
busybox hostname lab
echo 1 >/proc/sys/kernel/printk
echo 1 >/proc/sys/net/ipv4/ip_forward
# The job's output leaves through this line as it is, without ends of lines for a terminal.
[ -n "$LAB_TERMINAL" ] || busybox stty -F /dev/ttyS0 raw -echo
[ -e /etc/machine-id ] || echo 0123456789abcdef0123456789abcdef >/etc/machine-id
if ! nft add table inet lab 2>/dev/null; then
    # This kernel has no nf_tables of the family that netavark's firewall needs.
    mkdir -p /etc/containers/containers.conf.d
    printf '[network]\nfirewall_driver="none"\n' >/etc/containers/containers.conf.d/lab.conf
else
    nft delete table inet lab
fi

if [ "$LAB_SYSTEMD" = 1 ]; then
    umount /sys/fs/cgroup
    exec /lib/systemd/systemd --system --unit=lab.target --show-status=no --log-target=null
fi
# As systemd leaves it: no process in the root cgroup, every controller for its children.
mkdir /sys/fs/cgroup/init.scope
echo $$ >/sys/fs/cgroup/init.scope/cgroup.procs
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
sh /run/lab/job
busybox poweroff -f
