#!/bin/sh
# The first program of guest `own`, process 1 of its namespaces on this host's kernel. It makes the
# guest's root, an overlay whose upper layer is memory, enters it and becomes systemd.
# LAB_RUN: the directory shared with the host; LAB_OUTPUT: the descriptor that takes the output.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
. "$LAB_RUN/settings"

fail() {
    echo "lab: $1" >&2
    exit 1
}
over() { # NAME LOWER TARGET: LOWER at TARGET, where what is written goes to memory
    mkdir -p "/mnt/$1/upper" "/mnt/$1/work" "$3"
    mount -t overlay -o "lowerdir=$2,upperdir=/mnt/$1/upper,workdir=/mnt/$1/work" "$1" "$3" ||
        fail "no overlay on $2"
}

# The namespace of cgroups has this as its root. The parent of this process is outside.
mount --make-rprivate / || fail "cannot make mounts private"
mount -t tmpfs -o mode=755 lab /mnt || fail "cannot mount /mnt"
root=/mnt/merged
over root "$LAB_ROOT" $root
mkdir -p $root/sys $root/proc
mount -t sysfs sysfs $root/sys
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup || fail "no cgroup v2"
echo 0 >$root/sys/fs/cgroup/cgroup.procs || fail "cannot enter the cgroup"
mount -t proc proc $root/proc

mount -t tmpfs -o mode=755 dev $root/dev
mkdir -p $root/dev/pts $root/dev/shm $root/dev/mqueue $root/dev/net
for name in null zero full random urandom tty fuse net/tun; do
    [ ! -e /dev/$name ] || { : >$root/dev/$name && mount --bind /dev/$name $root/dev/$name; }
done
mount -t devpts -o newinstance,gid=5,mode=620,ptmxmode=666 devpts $root/dev/pts
mount -t tmpfs -o mode=1777 shm $root/dev/shm
mount -t mqueue mqueue $root/dev/mqueue
ln -s pts/ptmx $root/dev/ptmx
ln -s /proc/self/fd $root/dev/fd
ln -s fd/0 $root/dev/stdin
ln -s fd/1 $root/dev/stdout
ln -s fd/2 $root/dev/stderr
mount -t tmpfs -o mode=755 run $root/run
mount -t tmpfs -o mode=1777 tmp $root/tmp
mkdir -p $root/run/lock $root/run/lab
# What would change the host, whose root this is: settings of its kernel, its modules and devices.
mkdir -p $root/run/systemd/system
for unit in systemd-sysctl.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount \
    systemd-modules-load.service kmod-static-nodes.service systemd-udevd.service \
    systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-hibernate-clear.service; do
    ln -s /dev/null $root/run/systemd/system/$unit
done
mount --bind "$LAB_RUN" $root/run/lab || fail "cannot share $LAB_RUN"
: >$root/run/lab/own-kernel
# overlayfs takes no overlay as its upper layer.
for name in containers containerd docker lab; do
    mkdir -p $root/var/lib/$name
    mount -t tmpfs -o mode=755 "$name" $root/var/lib/$name
done
over checkout "$LAB_CHECKOUT" "$root$LAB_CHECKOUT"
for directory in $LAB_WRITABLE; do
    mkdir -p "$root$directory"
    mount --bind "$directory" "$root$directory" || fail "cannot share $directory"
done
mkdir -p $root/mnt
cd $root && pivot_root . mnt || fail "cannot change the root"
cat >/run/lab/enter <<'X'
umount -l /mnt
ip link set lo up
hostname lab
# Who holds the output open is the line that the job writes to.
sleep infinity </dev/null &
ln -s /proc/$!/fd/$LAB_OUTPUT /dev/ttyS0
if ! nft add table inet lab 2>/dev/null; then
    mkdir -p /etc/containers/containers.conf.d
    printf '[network]\nfirewall_driver="none"\n' >/etc/containers/containers.conf.d/lab.conf
else
    nft delete table inet lab
fi
exec env container=lab /lib/systemd/systemd --system --unit=lab.target --show-status=no \
    --log-target=null
X
exec chroot . /bin/sh /run/lab/enter </dev/null
