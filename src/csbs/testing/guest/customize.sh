#!/bin/sh
# Makes a guest of a fresh Debian root: quick to boot without KVM, with the guest agent, and
# with MariaDB whose data lies on a disk of its own.  `recipe.py` says who runs it.
#
# usage: customize.sh ROOT
set -eu
root=$1
etc=$root/etc

echo csbs-guest > "$etc/hostname"
echo '127.0.0.1 localhost csbs-guest' > "$etc/hosts"
# A fixed id: one that is made at the first boot costs a second boot stage.
echo 0c5b0c5b0c5b0c5b0c5b0c5b0c5b0c5b > "$etc/machine-id"
# For a look at the serial console (`virsh console`); the guest has no network.
passwd --root "$root" --delete root > /dev/null

cat > "$etc/fstab" << 'END'
/dev/vda         /               ext4  noatime  0 0
LABEL=csbs-data  /var/lib/mysql  ext4  noatime  0 0
END

mkdir -p "$etc/systemd/system/mariadb.service.d"
cat > "$etc/systemd/system/mariadb.service.d/csbs.conf" << 'END'
[Unit]
RequiresMountsFor=/var/lib/mysql
[Service]
# Checks all tables at each start: half a minute without KVM.
ExecStartPost=
TimeoutStartSec=300
END
cat > "$etc/mysql/mariadb.conf.d/90-csbs.cnf" << 'END'
[mariadbd]
skip-networking
innodb_log_file_size = 16M
innodb_buffer_pool_size = 64M
END
# The tables are made anew, with these settings: packages made them with a log of 96 MiB.
rm -rf "$root"/var/lib/mysql/*
chroot "$root" mariadb-install-db --user=mysql --auth-root-authentication-method=socket \
    --skip-test-db > /dev/null

cat > "$etc/systemd/system.conf" << 'END'
[Manager]
DefaultTimeoutStartSec=300
END
# What a guest without network, clock and people does not need.
for unit in \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    e2scrub_reap.service systemd-pstore.service systemd-timesyncd.service \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-binfmt.service \
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-kernel-config.mount sys-fs-fuse-connections.mount modprobe@.service getty@tty1.service
do
    ln -sf /dev/null "$etc/systemd/system/$unit"
done
