"""A program in the guest that waits for each of its writes, as a database does, and times them.

It writes 4 KiB durably (O_DIRECT, O_SYNC), so many times a second, each to another block of 64 KiB
of its file: during a backup each is the first to its block, and QEMU must keep the old bytes of
that block before it lets the write through.  That is the worst case.
"""

from __future__ import annotations

from dataclasses import dataclass

from csbs.testing.guest import GuestShell

WRITES_PER_S = 50
#: A walk over all blocks takes 80 s: longer than any backup here.
BLOCKS = 4096

_UNIT = "csbs-bench-writer"
_FOLDER = "/run/csbs-bench-writer"
_FILE = "/root/csbs-bench-writer"
_PREPARE_TIMEOUT_S = 120.0
_SCRIPT = r"""
use Fcntl; use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC usleep);
use constant { O_DIRECT => 040000, BLOCK => 65536, SIZE => 4096 };
my ($path, $log, $per_s, $blocks) = @ARGV;
sysopen(my $file, $path, O_WRONLY | O_SYNC | O_DIRECT) or die "$path: $!";
open(my $told, ">", $log) or die "$log: $!";
my $memory = "\0" x (2 * SIZE);
my $skip = -unpack("J", pack("P", $memory)) % SIZE;  # O_DIRECT wants aligned memory
my $due = clock_gettime(CLOCK_MONOTONIC);
for (my $number = 0; ; $number++) {
    substr($memory, $skip, 20) = sprintf("%019d\n", $number);
    my $part = int($number / $blocks) % (BLOCK / SIZE);
    sysseek($file, $number % $blocks * BLOCK + $part * SIZE, 0);
    my $began = clock_gettime(CLOCK_MONOTONIC);
    syswrite($file, $memory, SIZE, $skip) == SIZE or die "write: $!";
    my $now = clock_gettime(CLOCK_MONOTONIC);
    syswrite($told, sprintf("%.3f\n", ($now - $began) * 1000));
    $due += 1 / $per_s;
    if ($due > $now) { usleep(($due - $now) * 1e6) } else { $due = $now }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedWrites:
    """The writer of one guest."""

    shell: GuestShell

    def begin(self) -> None:
        """Makes the file and starts the writer; it ends with the guest."""
        self.shell.run(
            f"dd if=/dev/zero of={_FILE} bs=1M count={BLOCKS // 16} conv=fsync 2> /dev/null\n"
            f"mkdir -p {_FOLDER} && cat > {_FOLDER}/writer.pl << 'END'\n{_SCRIPT}\nEND\n"
            f"systemd-run --quiet --unit={_UNIT} "
            f"perl {_FOLDER}/writer.pl {_FILE} {_FOLDER}/log {WRITES_PER_S} {BLOCKS}\n"
            f"until [ -s {_FOLDER}/log ]; do sleep 0.1; done",
            timeout_s=_PREPARE_TIMEOUT_S,
        )

    def count(self) -> int:
        """Writes that have ended by now.  Raises `ToolFailed` if the writer does not run."""
        return int(self.shell.run(f"systemctl is-active --quiet {_UNIT} && wc -l < {_FOLDER}/log"))

    def waits_ms(self, first: int, end: int) -> tuple[float, ...]:
        """How long each of these writes took, by the guest's monotonic clock."""
        lines = self.shell.run(f"sed -n '{first + 1},{end}p' {_FOLDER}/log").split()
        return tuple(float(each) for each in lines)
