#!/bin/sh
# Makes a guest of a fresh Debian root: quick to boot without KVM, root without password on the
# serial console, guest agent, MariaDB with its data on a disk of its own.
#
# usage: customize.sh ROOT
set -eu
root=$1

echo csbs-guest > "$root/etc/hostname"
echo '127.0.0.1 localhost csbs-guest' > "$root/etc/hosts"
passwd --root "$root" --delete root > /dev/null

cat > "$root/etc/fstab" << 'END'
/dev/vda         /               ext4   noatime  0 0
LABEL=csbs-data  /var/lib/mysql  ext4   noatime  0 0
tmpfs            /tmp            tmpfs  size=64m  0 0
END

# Small logs, no locks on memory: what costs seconds without KVM.
cat > "$root/etc/mysql/mariadb.conf.d/90-csbs.cnf" << 'END'
[mariadbd]
skip-networking
skip-name-resolve
innodb_log_file_size = 16M
innodb_buffer_pool_size = 64M
innodb_use_native_aio = 0
END
# Made anew, with these settings.
rm -rf "$root"/var/lib/mysql/*
chroot "$root" mariadb-install-db --user=mysql --auth-root-authentication-method=socket \
    --skip-test-db > /dev/null

# Debian's unit checks and upgrades all tables at each start: minutes without KVM.
mkdir -p "$root/etc/systemd/system/mariadb.service.d"
cat > "$root/etc/systemd/system/mariadb.service.d/csbs.conf" << 'END'
[Unit]
RequiresMountsFor=/var/lib/mysql
[Service]
ExecStartPre=
ExecStartPost=
ExecStartPre=/usr/bin/install -m 755 -o mysql -g root -d /var/run/mysqld
TimeoutStartSec=300
END

# An agent that is the first to be ready, and may do all.
mkdir -p "$root/etc/systemd/system/qemu-guest-agent.service.d"

# Journal in memory: it is read on the console, and costs writes.
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nForwardToConsole=no\n' \
    > "$root/etc/systemd/journald.conf.d/csbs.conf"
printf '[Manager]\nDefaultTimeoutStartSec=300\nDefaultTimeoutStopSec=60\n' \
    > "$root/etc/systemd/system.conf"

for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer systemd-timesyncd.service systemd-networkd.service \
    systemd-pstore.service systemd-random-seed.service systemd-update-utmp.service \
    systemd-update-utmp-runlevel.service systemd-hwdb-update.service \
    systemd-journal-catalog-update.service systemd-machine-id-commit.service \
    systemd-sysctl.service systemd-binfmt.service networking.service ifupdown-pre.service \
    getty@tty1.service keyboard-setup.service console-setup.service \
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-kernel-config.mount sys-fs-fuse-connections.mount modprobe@.service \
    systemd-firstboot.service systemd-sysusers.service ldconfig.service cron.service
do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
systemctl --root "$root" --quiet enable qemu-guest-agent.service mariadb.service || true
echo 0123456789abcdef0123456789abcdef > "$root/etc/machine-id"

# An initial RAM disk of busybox and the drivers of the disk: Debian's own takes 5 s longer.
version=$(ls "$root/usr/lib/modules")
ram=$(mktemp -d)
mkdir -p "$ram/bin" "$ram/dev" "$ram/proc" "$ram/root" "$ram/modules"
cp "$root/bin/busybox" "$ram/bin/"
: > "$ram/order"
for module in virtio_pci virtio_blk; do
    chroot "$root" modprobe --show-depends --set-version "$version" "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' > "$ram/paths"
while read -r path; do
    cp "$root$path" "$ram/modules/"
    basename "$path" >> "$ram/order"
done < "$ram/paths"
cat > "$ram/init" << 'END'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
while read -r module; do /bin/busybox insmod "/modules/$module"; done < /order
tries=0
until [ -b /dev/vda ] || [ $tries -eq 300 ]; do
    /bin/busybox usleep 100000
    tries=$((tries + 1))
done
/bin/busybox mount -t ext4 -o noatime /dev/vda /root
exec /bin/busybox switch_root /root /sbin/init
END
chmod 755 "$ram/init"
cp -r "$ram" "$root/ram"
chroot "$root" sh -c 'cd /ram && find . | busybox cpio -o -H newc > /boot/csbs-initrd 2>/dev/null'
rm -rf "$ram" "$root/ram"
