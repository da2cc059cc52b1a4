"""A writer inside the guest that notices how long it is kept waiting.

It writes a few bytes durably to a file on each disk, in turn, as fast as it may; the longest that
one write took, by the guest's own clock, is what a freeze or a full scratch folder costs a program.
"""

from __future__ import annotations

from dataclasses import dataclass

from csbs.testing.guest.shell import GuestShell

_UNIT = "csbs-writer"
_FOLDER = "/run/csbs-writer"
_SCRIPT = r"""
use Fcntl; use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC usleep);
my ($folder, @paths) = @ARGV; my ($longest, $count) = (0, 0);
my @files = map { sysopen(my $f, $_, O_WRONLY | O_CREAT | O_SYNC) or die "$_: $!"; $f } @paths;
while (1) {
    if (-e "$folder/reset") { unlink "$folder/reset"; $longest = 0; $count = 0 }
    for my $file (@files) {
        my $began = clock_gettime(CLOCK_MONOTONIC);
        sysseek($file, 0, 0); defined(syswrite($file, sprintf("%016d", ++$count))) or die $!;
        my $took = clock_gettime(CLOCK_MONOTONIC) - $began;
        $longest = $took if $took > $longest;
    }
    open(my $out, ">", "$folder/new"); printf $out "%d %d\n", $longest * 1000, $count; close $out;
    rename "$folder/new", "$folder/longest"; usleep(10_000);
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestWriter:
    """The writer of one guest."""

    shell: GuestShell

    def begin(self) -> None:
        """Starts it, on the system disk and on the data disk."""
        self.shell.run(
            f"mkdir -p {_FOLDER} && cat > {_FOLDER}/writer.pl << 'END'\n{_SCRIPT}\nEND\n"
            f"systemd-run --quiet --unit={_UNIT} perl {_FOLDER}/writer.pl {_FOLDER} "
            "/root/writer /var/lib/mysql/writer\n"
            f"until [ -e {_FOLDER}/longest ]; do sleep 0.1; done"
        )

    def end(self) -> None:
        """Ends it."""
        self.shell.run(f"systemctl stop {_UNIT}")

    def reset(self) -> None:
        """Forgets what was measured so far."""
        self.shell.run(
            f": > {_FOLDER}/reset; while [ -e {_FOLDER}/reset ]; do sleep 0.05; done; "
            f"rm -f {_FOLDER}/longest; until [ -e {_FOLDER}/longest ]; do sleep 0.05; done"
        )

    def longest_wait_ms(self) -> int:
        """The longest that a write took since then; it writes on at this moment.

        Raises `ToolFailed` if it does not.
        """
        return int(
            self.shell.run(
                f"rm -f {_FOLDER}/longest; until [ -e {_FOLDER}/longest ]; do sleep 0.05; done; "
                f"systemctl is-active --quiet {_UNIT} && cat {_FOLDER}/longest"
            ).split()[0]
        )
