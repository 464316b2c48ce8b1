#!/bin/sh
# mmdebstrap's last step: configure the guest with systemd. $1 is its root.
set -eu
root=$1
cd "$root/etc"

echo lab >hostname
printf '127.0.0.1 localhost lab\n::1 localhost\n' >hosts
echo 0123456789abcdef0123456789abcdef >machine-id
: >fstab
: >resolv.conf
chroot "$root" passwd -q -d root

# A plain user with ids to map, whose systemd --user runs from the start.
chroot "$root" useradd -m -s /bin/bash -u 1000 lab
for file in subuid subgid; do
    grep -q '^lab:' $file 2>/dev/null || echo lab:100000:65536 >>$file
done
mkdir -p "$root/var/lib/systemd/linger"
: >"$root/var/lib/systemd/linger/lab"

# Units that a guest without devices, network and a second boot has no use for.
for unit in ldconfig.service systemd-boot-random-seed.service systemd-firstboot.service \
    systemd-hwdb-update.service systemd-journal-catalog-update.service systemd-networkd.service \
    systemd-networkd-wait-online.service systemd-pcrphase.service systemd-random-seed.service \
    systemd-remount-fs.service systemd-resolved.service systemd-timesyncd.service \
    systemd-tpm2-setup.service systemd-tpm2-setup-early.service systemd-udev-trigger.service \
    systemd-udev-settle.service systemd-update-done.service systemd-update-utmp.service \
    e2scrub_reap.service dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    podman-auto-update.timer; do
    ln -sf /dev/null systemd/system/$unit
done
# What a test starts itself, if it wants it.
for unit in docker.socket docker.service containerd.service podman.socket; do
    chroot "$root" systemctl -q disable $unit 2>/dev/null || true
done
mkdir -p systemd/journald.conf.d systemd/system.conf.d systemd/system/user@.service.d
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\n' >systemd/journald.conf.d/lab.conf
printf '[Manager]\nDefaultTasksMax=infinity\n' >systemd/system.conf.d/lab.conf
# The controllers that a user may have, as distributions for rootless containers set it.
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >systemd/system/user@.service.d/lab.conf

# The lab's job, and a target that pulls in nothing else: lab/guest/job.sh.
cat >systemd/system/lab-job.service <<'X'
[Unit]
Description=The command that the lab was given
After=dbus.service systemd-logind.service
[Service]
Type=exec
ExecStart=/bin/sh /run/lab/job
Delegate=yes
TasksMax=infinity
LimitNOFILE=1048576
# The end of a process by its memory limit is a result, not the end of the job.
OOMPolicy=continue
TimeoutStartSec=infinity
X
cat >systemd/system/lab.target <<'X'
[Unit]
Requires=basic.target dbus.socket lab-job.service
Wants=systemd-logind.service
After=basic.target
AllowIsolate=yes
X
rm -rf "$root"/var/cache/apt/archives/*.deb
