#!/bin/sh
# The first program of a guest, process 1. The root is still this host's own, read-only (hostfs).
# It makes the guest's root, an overlay whose upper layer is memory, and enters it.
# LAB_RUN is a word of the kernel's command line, which the kernel hands on as environment.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
. "$LAB_RUN/settings"

fail() {
    echo "lab: $1" >/dev/console
    busybox poweroff -f
}
over() { # NAME LOWER TARGET: LOWER at TARGET, where what is written goes to memory
    mkdir -p "/mnt/$1/upper" "/mnt/$1/work" "$3"
    mount -t overlay -o "lowerdir=$2,upperdir=/mnt/$1/upper,workdir=/mnt/$1/work" "$1" "$3" ||
        fail "no overlay on $2"
}

mount -t proc proc /proc
[ -z "$LAB_OVERLAY" ] || busybox insmod "$LAB_OVERLAY" || fail "cannot load $LAB_OVERLAY"
mount -t tmpfs -o mode=755 lab /mnt
root=/mnt/merged
over root "$LAB_ROOT" $root
umount /proc
mount -t proc proc $root/proc
mount -t sysfs sysfs $root/sys
mount -t devtmpfs dev $root/dev
mkdir -p $root/dev/pts $root/dev/shm $root/dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts $root/dev/pts
mount -t tmpfs -o mode=1777 shm $root/dev/shm
mount -t mqueue mqueue $root/dev/mqueue
ln -sf /proc/self/fd $root/dev/fd
ln -sf fd/0 $root/dev/stdin
ln -sf fd/1 $root/dev/stdout
ln -sf fd/2 $root/dev/stderr
mount -t tmpfs -o mode=755 run $root/run
mount -t tmpfs -o mode=1777 tmp $root/tmp
mkdir -p $root/run/lock $root/run/lab
mount -t hostfs -o "$LAB_RUN" lab-run $root/run/lab || fail "cannot share $LAB_RUN"
if [ -n "$LAB_MODULES" ]; then
    mkdir -p $root/usr/lib/modules
    mount -t hostfs -o "$LAB_MODULES" lab-modules $root/usr/lib/modules ||
        fail "cannot share $LAB_MODULES"
fi
# Engines' storage on a real disk: overlayfs takes no overlay as its upper layer.
mkdir -p $root/var/lib/lab
mount -t ext4 -o noatime "$LAB_DISK" $root/var/lib/lab || fail "cannot mount $LAB_DISK"
for name in containers containerd docker; do
    mkdir -p $root/var/lib/lab/$name $root/var/lib/$name
    mount --bind $root/var/lib/lab/$name $root/var/lib/$name
done
over checkout "$LAB_CHECKOUT" "$root$LAB_CHECKOUT"
for directory in $LAB_WRITABLE; do
    mkdir -p "$root$directory"
    mount -t hostfs -o "$directory" lab-writable "$root$directory" || fail "cannot share $directory"
done
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 $root/sys/fs/cgroup ||
    fail "no cgroup v2"
mkdir -p $root/mnt
cd $root && pivot_root . mnt || fail "cannot change the root"
exec chroot . /bin/sh /run/lab/setup </dev/null >/dev/console 2>&1
