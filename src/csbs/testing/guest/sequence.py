"""A writer inside the guest that numbers its writes over both disks in turn.

Each write is on its disk (O_DIRECT, O_SYNC) before the next one, on the other disk, begins.  So
whatever instant the disks come back from, they hold a prefix of the numbers: one missing below
one that is there means that the disks are not of one instant, or that a write is lost.

The numbers lie in slots of two files whose places on the disks do not change, so they can be
found in the bytes of a disk without its file system.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from csbs.testing.guest.shell import GuestShell

SLOT_SIZE = 4096
#: In each file; then numbers overwrite older ones.
SLOTS = 2048

_UNIT = "csbs-sequence"
_NUMBER = "/run/csbs-sequence-number"
_FILES = {"vda": "/root/sequence", "vdb": "/var/lib/mysql/sequence"}
_SCRIPT = r"""
use Fcntl; use constant O_DIRECT => 040000;
my ($slots, $size, $told, @paths) = @ARGV;
my @files = map { sysopen(my $f, $_, O_WRONLY | O_SYNC | O_DIRECT) or die "$_: $!"; $f } @paths;
my $memory = "\0" x (2 * $size);
my $skip = -unpack("J", pack("P", $memory)) % $size;  # O_DIRECT wants aligned memory
for (my $number = 0; ; $number++) {
    substr($memory, $skip, 20) = sprintf("%019d\n", $number);
    my $file = $files[$number % 2];
    sysseek($file, int($number / 2) % $slots * $size, 0);
    syswrite($file, $memory, $size, $skip) == $size or die "write: $!";
    open(my $out, ">", "$told.new"); print $out $number; close $out; rename "$told.new", $told;
}
"""

#: Reads (offset, size) of a disk, by target.
ReadDisk = Callable[[str, int, int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedWrites:
    """The writer of one guest; `places` has (offset on the disk, size) of each file's parts."""

    shell: GuestShell
    places: Mapping[str, Sequence[tuple[int, int]]]

    @staticmethod
    def begin(shell: GuestShell) -> NumberedWrites:
        """Makes the files and lets the guest write."""
        paths = " ".join(_FILES.values())
        shell.run(
            f"for path in {paths}; do "
            f"dd if=/dev/zero of=$path bs={SLOT_SIZE} count={SLOTS} conv=fsync 2> /dev/null; done\n"
            f"cat > {_NUMBER}.pl << 'END'\n{_SCRIPT}\nEND\n"
            f"systemd-run --quiet --unit={_UNIT} "
            f"perl {_NUMBER}.pl {SLOTS} {SLOT_SIZE} {_NUMBER} {paths}\n"
            f"until [ -e {_NUMBER} ]; do sleep 0.1; done"
        )
        places = {target: _places(shell, path) for target, path in _FILES.items()}
        return NumberedWrites(shell=shell, places=places)

    def end(self) -> None:
        """Ends the writer."""
        self.shell.run(f"systemctl stop {_UNIT}; rm -f {' '.join(_FILES.values())}")

    def newest(self) -> int:
        """The newest number whose write has ended by now."""
        return int(self.shell.run(f"cat {_NUMBER}"))

    def found(self, read: ReadDisk) -> int:
        """The newest number on the disks.  Raises `AssertionError` if they hold no prefix."""
        numbers: list[int] = []
        for parity, target in enumerate(self.places):
            data = b"".join(read(target, offset, size) for offset, size in self.places[target])
            for slot in range(SLOTS):
                text = data[slot * SLOT_SIZE : slot * SLOT_SIZE + 19]
                if text.strip(b"\0"):
                    number = int(text)
                    assert number % 2 == parity, f"{target} holds {number}"
                    assert number // 2 % SLOTS == slot, f"{target} holds {number} in slot {slot}"
                    numbers.append(number)
        newest = max(numbers)
        missing = set(range(max(0, newest - 2 * SLOTS + 1), newest + 1)) - set(numbers)
        assert not missing, f"up to {newest} were written, and {sorted(missing)[:5]} are missing"
        return newest


def _places(shell: GuestShell, path: str) -> list[tuple[int, int]]:
    """Where the file lies on its disk, by FIEMAP; the file system begins with the disk."""
    text = shell.run(f"filefrag -b{SLOT_SIZE} -v {path}")
    parts = []
    for line in text.splitlines():
        fields = [each.strip() for each in line.split(":")]
        if len(fields) > _FILEFRAG_FIELDS and fields[0].isdecimal():
            first = int(fields[2].split("..")[0])
            parts.append((first * SLOT_SIZE, int(fields[3]) * SLOT_SIZE))
    assert sum(size for _, size in parts) == SLOTS * SLOT_SIZE, json.dumps(text)
    return parts


_FILEFRAG_FIELDS = 3
