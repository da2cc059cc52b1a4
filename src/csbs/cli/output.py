"""Talking to people and to machines: tables, sizes, JSON, questions, errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from csbs.domain.errors import ConfirmationNeeded, CsbsError, OperationCancelled
from csbs.domain.lookup import PREFIX_SIZE_MIN

if TYPE_CHECKING:  # not needed for `csbs --help`
    from csbs.documents.base import Document, Range

#: More are for machines.
_RANGES_MAX = 20

_KIB = 1024
_KILO = 1000
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


@dataclass(eq=False)
class OutputFailed(CsbsError):
    """The command was carried out, and its result could not be written."""

    output: str
    why: str

    template = "the command was carried out, but {0.output} took no result: {0.why}"


@dataclass(frozen=True, slots=True)
class Output:
    """Where a command writes: one JSON document for machines, or text for people."""

    as_json: bool

    def show(self, document: Document | Mapping[str, object], text: str = "") -> None:
        """The command's result, in the form that was asked for."""
        if self.as_json:
            _write(json.dumps(_plain(document), ensure_ascii=False, indent=2) + "\n")
        elif text:
            _write(text + "\n")

    def table(
        self,
        document: Document | Mapping[str, object],
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
    ) -> None:
        """A list; `document` is what machines get."""
        self.show(document, table(headings, rows))

    def line(self, document: Document | Mapping[str, object]) -> None:
        """One document of many, on a line of its own."""
        _write(json.dumps(_plain(document), ensure_ascii=False) + "\n")

    def say(self, sentence: str) -> None:
        """A word on the way, for people only."""
        if not self.as_json:
            _write(sentence + "\n")

    def confirm(self, question: str, operation: str, *, yes: bool) -> None:
        """Asks a person, unless `yes`; raises `ConfirmationNeeded` where nobody can answer."""
        if yes:
            return
        if self.as_json or not sys.stdin.isatty():
            raise ConfirmationNeeded(operation)
        _write(f"{question} [y/N] ")
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise OperationCancelled(operation)

    def confirm_by_name(self, question: str, name: str, operation: str) -> None:
        """Asks a person to type `name`; raises `OperationCancelled` for anything else."""
        _write(f"{question} Type {name} to go on: ")
        if sys.stdin.readline().strip() != name:
            raise OperationCancelled(operation)


def show_error(error: CsbsError, *, as_json: bool) -> None:
    """An error of ours, on standard error."""
    if as_json:
        fields = {"kind": error.kind, "object": error.object_name, "message": str(error)}
        sys.stderr.write(json.dumps({"error": fields}, ensure_ascii=False) + "\n")
    else:
        sys.stderr.write(f"csbs: {error}\n")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, two spaces apart."""
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def ranges_text(ranges: Sequence[Range]) -> str:
    """Ranges of a disk, one a line, by offset and length in bytes; the first of many."""
    lines = [
        f"  offset {each.offset_bytes}, length {each.size_bytes}" for each in ranges[:_RANGES_MAX]
    ]
    if len(ranges) > _RANGES_MAX:
        lines.append(f"  and {len(ranges) - _RANGES_MAX} more (--json lists them)")
    return "\n".join(lines)


def holes_text(target: str, ranges: Sequence[Range]) -> str:
    """What was lost of a disk, and is zeroes now."""
    lost_bytes = sum(each.size_bytes for each in ranges)
    lost = f"{target}: {size(lost_bytes)} are lost and were filled with zeroes:"
    return f"{lost}\n{ranges_text(ranges)}"


def size(size_bytes: int | None) -> str:
    """Bytes for people: ``1.5 GiB``; a dash where it is not known."""
    if size_bytes is None:
        return "-"
    value, sign = float(abs(size_bytes)), "-" if size_bytes < 0 else ""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < _KIB:
            return f"{sign}{value:.0f} {unit}" if unit == "B" else f"{sign}{value:.1f} {unit}"
        value /= _KIB
    return f"{sign}{value:.1f} TiB"


def rate(bytes_per_s: int) -> str:
    """A speed for people, as `--limit` takes it: ``120 MB/s``."""
    value = float(bytes_per_s)
    for unit in ("B", "KB", "MB"):
        if value < _KILO:
            return f"{value:.0f} {unit}/s"
        value /= _KILO
    return f"{value:.1f} GB/s"


def about(left_s: float) -> str:
    """A time that is estimated: ``about 20 s``, no finer than anybody can know it."""
    if left_s < _MINUTE_S - 5:
        return f"about {max(5, round(left_s / 5) * 5)} s"
    minutes = max(1, round(left_s / _MINUTE_S))
    if minutes < _MINUTE_S:
        return f"about {minutes} min"
    hours, minutes = divmod(round(minutes / 5) * 5, 60)
    if hours < _DAY_S // _HOUR_S:
        return f"about {hours} h {minutes} min" if minutes else f"about {hours} h"
    return f"about {round(left_s / _DAY_S)} d"


def progress_text(
    done_bytes: int, total_bytes: int, bytes_per_s: int | None, left_s: float | None
) -> str:
    """``1.2 GiB of 3.4 GiB, 120 MB/s, about 20 s left``, as far as it is known."""
    if not total_bytes:
        return ""
    parts = [f"{size(done_bytes)} of {size(total_bytes)}"]
    if bytes_per_s is not None and left_s is not None and done_bytes < total_bytes:
        parts += [rate(bytes_per_s), f"{about(left_s)} left"]
    return ", ".join(parts)


def short(identifier: str) -> str:
    """Enough of an id for people, and for `csbs` to find it again."""
    return identifier[:PREFIX_SIZE_MIN]


def cut(text: str, size_max: int) -> str:
    """At most so many characters; the whole text is shown elsewhere."""
    return text if len(text) <= size_max else text[: size_max - 1] + "…"


def moment(at: datetime | None) -> str:
    """An instant for people, in the zone of this machine."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else "-"


def _plain(document: Document | Mapping[str, object]) -> Mapping[str, object]:
    return document if isinstance(document, Mapping) else document.json_value()


def _width(text: str) -> int:
    from rich.cells import cell_len  # noqa: PLC0415  not needed for `csbs --help`

    return cell_len(text)


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (AttributeError, OSError) as error:  # closed, or a full file system
        raise OutputFailed("standard output", str(error)) from error
