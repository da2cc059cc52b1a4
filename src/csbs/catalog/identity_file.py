"""Who a catalog is, in a file beside it: a catalog that is lost can be made again as the same one.

The catalog decides.  The file is looked at only where there is no catalog, so that a rebuilt one
is the owner of its repository as the lost one was, and need not take it over.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from csbs.catalog.catalog import Home
from csbs.domain.ids import ProjectId

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IdentityFile:
    """The file at `path`."""

    path: Path

    def read(self) -> Home | None:
        """Who the catalog was; None where nobody knows."""
        try:
            fields = json.loads(self.path.read_text("utf-8"))
            return Home(
                catalog_id=str(fields["catalog_id"]),
                region=str(fields["region"]),
                project_id=ProjectId(fields["project_id"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("the file is not used", extra={"path": self.path, "why": repr(error)})
            return None

    def write(self, home: Home) -> None:
        """Keeps it durably, where it is not kept yet.

        Raises nothing: on a full file system backups must be deleted all the same.
        """
        if self.read() == home:
            return
        temporary = self.path.with_name(self.path.name + ".new")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(json.dumps(asdict(home), indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            log.warning("who the catalog is was not kept", extra={"why": str(error)})
