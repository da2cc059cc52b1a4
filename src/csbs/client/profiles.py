"""Logins that are kept: `$XDG_CONFIG_HOME/csbs/logins.json`, for nobody else's eyes.

It has tokens and secret keys, and never a password.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from csbs.client.errors import LoginNameReserved, LoginsUnreadable, LoginUnknown
from csbs.domain.errors import folder_error

#: The name that means no service.
LOCAL = "local"
DEFAULT = "default"
_FILE_NAME = "logins.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One login: to which service, as whom, for which project."""

    name: str
    url: str
    user: str
    region: str
    #: The project that commands are about; empty: none.
    project_id: str = ""
    project: str = ""
    #: Of a login by password.
    token: str = field(default="", repr=False)
    #: RFC 3339.
    token_expires_at: str = ""
    #: Of one by access key.
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    #: Certificates (PEM) that are trusted instead of the system's.
    ca_file: str = ""
    #: Plain http beyond this machine was asked for.
    insecure_http: bool = False


@dataclass(frozen=True, slots=True)
class Profiles:
    """All logins of a person, and the one in use; empty: none."""

    file: Path
    current: str = ""
    by_name: Mapping[str, Profile] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path | None = None) -> Profiles:
        """What the file has.  Raises `LoginsUnreadable`, `FolderDenied`."""
        file = file or config_folder() / _FILE_NAME
        try:
            found = json.loads(file.read_text("utf-8"))
            named = {name: Profile(name=name, **fields) for name, fields in found["logins"].items()}
            return cls(file, str(found["current"]), named)
        except FileNotFoundError:
            return cls(file)
        except OSError as error:
            raise folder_error(file, error) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LoginsUnreadable(str(file), "it is no file of logins of this csbs") from error

    def find(self, name: str) -> Profile:
        """The login of this name.  Raises `LoginUnknown`."""
        found = self.by_name.get(name)
        if found is None:
            raise LoginUnknown(name)
        return found

    def with_login(self, profile: Profile, *, use: bool = True) -> Profiles:
        """With one more, or another in its place."""
        self.require_name(profile.name)
        current = profile.name if use else self.current
        return replace(self, current=current, by_name={**self.by_name, profile.name: profile})

    def require_name(self, name: str) -> None:
        """Raises `LoginNameReserved` for a name that no login can have."""
        if name == LOCAL:
            raise LoginNameReserved(name)

    def without(self, name: str) -> Profiles:
        """Without this one; commands work on this machine then, if it was in use."""
        self.find(name)
        kept = {each: profile for each, profile in self.by_name.items() if each != name}
        return replace(self, current="" if self.current == name else self.current, by_name=kept)

    def using(self, name: str) -> Profiles:
        """With another one in use; `local`: none.  Raises `LoginUnknown`."""
        return replace(self, current="" if name == LOCAL else self.find(name).name)

    def save(self) -> None:
        """Writes the file, as a whole or not at all.  Raises `FolderDenied`, `FolderUnusable`."""
        logins = {}
        for name, profile in self.by_name.items():
            fields = asdict(profile)
            del fields["name"]
            logins[name] = fields
        text = json.dumps({"current": self.current, "logins": logins}, indent=1)
        part = self.file.with_name(f"{self.file.name}.{os.getpid()}")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                os.fchmod(out.fileno(), 0o600)
                out.write(text + "\n")
            part.replace(self.file)
        except OSError as error:
            raise folder_error(self.file.parent, error) from error


def chosen_profile(wanted: str | None) -> Profile | None:
    """The login of this name, else the one in use; None: this machine.  Raises `LoginUnknown`."""
    if wanted == LOCAL:
        return None
    profiles = Profiles.load()
    name = wanted or profiles.current
    return profiles.find(name) if name else None


def config_folder() -> Path:
    """Where a person keeps settings of csbs."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")  # noqa: TID251  settings of a person, not of the service
    return Path(base) / "csbs"


def told(name: str) -> str | None:
    """`CSBS_PASSWORD`, `CSBS_SECRET_KEY`, `CSBS_DATA_DIR`: what a person told all commands."""
    return os.environ.get(f"CSBS_{name}") or None  # noqa: TID251  likewise
