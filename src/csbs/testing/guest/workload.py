"""What the guest writes, so that a wrong restore shows.

Database (data disk): each transaction adds rows with consecutive numbers and updates the totals
over all rows.  Files (system disk): each new file is durable before its SHA-256 gets its name.
So whatever instant a disk comes back from, it must hold a whole prefix of what was written: the
rows that the totals tell, each with its right digest, and every file whose SHA-256 is there.
"""

from __future__ import annotations

from dataclasses import dataclass

from csbs.domain.errors import Corrupt, ToolFailed
from csbs.testing.guest.shell import GuestShell

_UNIT = "csbs-workload"
_POLL_INTERVAL_S = 0.5
_CHECK_TIMEOUT_S = 180.0

_TABLES = """
CREATE DATABASE shop;
USE shop;
CREATE TABLE orders (
    number BIGINT PRIMARY KEY,
    payload VARCHAR(512) CHARACTER SET ascii NOT NULL,
    digest BINARY(32) AS (UNHEX(SHA2(payload, 256))) PERSISTENT
) ENGINE=InnoDB;
CREATE TABLE totals (row_count BIGINT NOT NULL, crc_sum BIGINT NOT NULL) ENGINE=InnoDB;
INSERT INTO totals VALUES (0, 0);
DELIMITER //
CREATE PROCEDURE place_orders()
LOOP
    START TRANSACTION;
    SELECT row_count INTO @begin FROM totals FOR UPDATE;
    INSERT INTO orders (number, payload)
        SELECT @begin + seq, CONCAT(SHA2(UUID(), 512), SHA2(UUID(), 512)) FROM seq_1_to_20;
    UPDATE totals SET row_count = @begin + 20,
        crc_sum = crc_sum + (SELECT SUM(CRC32(payload)) FROM orders WHERE number > @begin);
    COMMIT;
    DO SLEEP(0.05);
END LOOP //
"""
_WRITER = r"""
mkdir -p /srv/files && cd /srv/files
mariadb shop -e 'CALL place_orders()' &
count=$(ls -- *.sha256 2>/dev/null | wc -l)
while :; do
    count=$((count + 1)); name=$(printf '%06d' $count)
    head -c 65536 /dev/urandom > "$name.bin" && sync "$name.bin"
    sha256sum "$name.bin" > new && sync new && mv new "$name.sha256" && sync .
    sleep 0.3
done
"""
_COUNT = """
mariadb -BN shop -e 'SELECT row_count FROM totals'
ls /srv/files | grep -c 'sha256$' || true
"""
_CHECK_TABLES = "mariadb -BN shop -e 'CHECK TABLE orders EXTENDED; CHECK TABLE totals EXTENDED'"
_CHECK_ROWS = """
mariadb -BN shop -e '
    SELECT COUNT(*), MAX(number), SUM(digest <> UNHEX(SHA2(payload, 256))), SUM(CRC32(payload))
        FROM orders;
    SELECT row_count, row_count, 0, crc_sum FROM totals'
"""
_CHECK_FILES = """
cd /srv/files && cat -- *.sha256 | sha256sum --check --quiet --strict
dmesg | grep -E 'EXT4-fs (error|warning)' >&2 && exit 1
ls | grep -c 'sha256$'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How much was written: committed rows, and files."""

    rows: int
    files: int

    def reaches(self, other: Progress) -> bool:
        """Whether all of `other` is there too."""
        return self.rows >= other.rows and self.files >= other.files

    def __str__(self) -> str:
        return f"{self.rows} rows, {self.files} files"


@dataclass(eq=False)
class WorkloadDamaged(Corrupt):
    """The guest does not hold a whole prefix of what was written."""

    server: str
    why: str

    template = "{0.server} has damaged content: {0.why}"


@dataclass(frozen=True, slots=True)
class Workload:
    """The workload of one guest."""

    shell: GuestShell

    def wait_for_database(self, *, timeout_s: float) -> None:
        """Waits until MariaDB serves; raises `ToolFailed` with its journal if it does not start."""
        self.shell.run(
            "systemctl start mariadb || { systemctl status -n 20 mariadb >&2; exit 1; }",
            timeout_s=timeout_s,
        )

    def begin(self) -> None:
        """Makes the tables and lets the guest write until it stops."""
        self.shell.run(f"mariadb << 'END'\n{_TABLES}\nEND")
        self.shell.run(
            f"cat > /usr/local/sbin/{_UNIT} << 'END'\n{_WRITER}\nEND\n"
            f"systemd-run --quiet --unit={_UNIT} /bin/sh /usr/local/sbin/{_UNIT}"
        )

    def resume(self) -> None:
        """Goes on writing in a guest that was started again."""
        self.shell.run(f"systemd-run --quiet --unit={_UNIT} /bin/sh /usr/local/sbin/{_UNIT}")

    def progress(self) -> Progress:
        """What is committed by now."""
        rows, files = self.shell.run(_COUNT).split()
        return Progress(rows=int(rows), files=int(files))

    def wait_for_more(self, more: Progress, *, timeout_s: float) -> Progress:
        """Waits until that much was written in addition, and returns what is there then."""
        wanted = self.progress()
        wanted = Progress(rows=wanted.rows + more.rows, files=wanted.files + more.files)
        end = self.shell.monotonic() + timeout_s
        while not (reached := self.progress()).reaches(wanted):
            if self.shell.monotonic() > end:
                raise ToolFailed(_UNIT, "writing", f"only {reached} within {timeout_s:g} s")
            self.shell.sleep(_POLL_INTERVAL_S)
        return reached

    def check(self) -> Progress:
        """Reads all rows and files, and returns how many there are.

        Nobody may write meanwhile.  Raises `WorkloadDamaged`.
        """
        tables = self._checked(_CHECK_TABLES)
        if any(not line.endswith("status\tOK") for line in tables.splitlines()):
            raise WorkloadDamaged(self.shell.domain, f"CHECK TABLE says {tables}")
        found, told = self._checked(_CHECK_ROWS).splitlines()
        if found != told:
            raise WorkloadDamaged(
                self.shell.domain,
                f"rows are {found}, the totals tell {told} (count, last, bad, sum)",
            )
        files = self._checked(_CHECK_FILES)
        return Progress(rows=int(found.split()[0]), files=int(files))

    def _checked(self, script: str) -> str:
        try:
            return self.shell.run(script, timeout_s=_CHECK_TIMEOUT_S)
        except ToolFailed as error:
            raise WorkloadDamaged(self.shell.domain, error.why) from error
