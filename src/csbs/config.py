"""Settings: typed, from the environment and `<data-dir>/config.toml`, checked at the start.

The environment wins over the file.  docs/reference/settings.md is made from this module.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from csbs.domain.encryption import EncryptionMode
from csbs.domain.errors import InvalidRate, InvalidSetting, folder_error
from csbs.domain.notification import is_mail_address
from csbs.domain.rate import parse_rate
from csbs.domain.store_url import FolderPlace, InvalidStoreUrl, StorePlace, parse_store_url
from csbs.domain.zones import UnknownZone, zone_of
from csbs.notify.mail_sender import MailSecurity

PREFIX = "CSBS_"
FILE_NAME = "config.toml"
_REGION_KEY = "region.key"
_PORT_MAX = 65535
#: No `v2`, `ecs` or `evs` in it: SDKs replace these texts in the URLs of the catalog.
_PUBLIC_URL = re.compile(r"https?://(?!.*(?:v2|ecs|evs))[\w.:\[\]-]+(?:/[\w.~-]+)*/?", re.ASCII)


class Settings(BaseSettings):
    """Every setting of csbs; `CSBS_<NAME>` in the environment, `<name>` in the file."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data_dir: Annotated[
        Path, Field(description="Folder of the catalog, the store, locks and the content index.")
    ]
    libvirt_uri: Annotated[str, Field(min_length=1, description="Where libvirt listens.")] = (
        "qemu:///system"
    )
    libvirt_timeout_s: Annotated[
        float,
        Field(gt=0, le=3600, description="How long libvirt may take to answer one call."),
    ] = 45.0
    store_url: Annotated[
        str,
        Field(
            description="Object store of the backups, as `file:///folder` or "
            "`s3://bucket/prefix?endpoint=https://host&region=name`; "
            "empty: the folder `store` in the data folder."
        ),
    ] = ""
    s3_access_key_id: Annotated[
        str, Field(description="Key id for a store in S3. Never a part of `store_url`.")
    ] = ""
    s3_secret_access_key: Annotated[
        str, Field(repr=False, description="Secret of that key; never shown or logged.")
    ] = ""
    s3_ca_file: Annotated[
        str,
        Field(
            description="File of certificates (PEM) that are trusted for S3 besides the system's."
        ),
    ] = ""
    copy_s3_access_key_id: Annotated[
        str,
        Field(
            description="Key id for the target of `csbs repository copy`; empty: that of the store."
        ),
    ] = ""
    copy_s3_secret_access_key: Annotated[
        str, Field(repr=False, description="Secret of that key; never shown or logged.")
    ] = ""
    store_rate_limit: Annotated[
        str,
        Field(
            description="What this host may send to its store and get from it a second, such as "
            "`50MB/s`; empty: no limit."
        ),
    ] = ""
    encryption: Annotated[
        EncryptionMode,
        Field(
            description="Whether a new repository is encrypted: `on`, `off`, or `auto`, which "
            "means on unless the store is a folder. A repository stays what it is; where "
            "encryption is on, nothing is written to one that is not encrypted."
        ),
    ] = EncryptionMode.AUTO
    region_key_file: Annotated[
        Path | None,
        Field(
            validate_default=True,
            description="File of the region key, which opens encrypted repositories; made with "
            "the first of them. Never in the store. Empty: `region.key` in the data folder.",
        ),
    ] = None
    recovery_key_file: Annotated[
        Path | None,
        Field(
            description="File with a recovery key, to open an encrypted repository by it instead "
            "of the region key."
        ),
    ] = None
    run_dir: Annotated[
        Path, Field(description="Folder of locks and sockets; QEMU must be able to enter it.")
    ] = Path("/run/csbs")
    scratch_dir: Annotated[
        Path,
        Field(
            description="Folder where QEMU keeps what a server overwrites while it is backed up."
        ),
    ] = Path("/var/lib/csbs/scratch")
    scratch_max_bytes: Annotated[
        int,
        Field(gt=0, description="How much of it one backup may use; then the backup is ended."),
    ] = 64 * 1024**3
    scratch_reserve_bytes: Annotated[
        int,
        Field(ge=0, description="How much must stay free there; else the backup is ended."),
    ] = 1024**3
    freeze_budget_s: Annotated[
        float,
        Field(ge=1, le=10, description="How long a guest's file systems may be frozen at most."),
    ] = 3.0
    rate_limit: Annotated[
        str,
        Field(
            description="What one backup may read, or one restore read and write, a second, such "
            "as `50MB/s`; empty: no limit."
        ),
    ] = ""
    stop_timeout_s: Annotated[
        float,
        Field(gt=0, le=3600, description="How long a server may take to shut down, then force."),
    ] = 120.0
    shutdown_timeout_s: Annotated[
        float,
        Field(
            ge=0,
            le=3600,
            description="How long a stop of the service waits for tasks that it breaks off, and "
            "for a restore that writes; the next start goes on with what has not ended.",
        ),
    ] = 30.0
    store_timeout_s: Annotated[
        float,
        Field(
            gt=0,
            le=3600,
            description="How long one call to the store may take, with all its attempts; then the "
            "operation fails.",
        ),
    ] = 120.0
    catalog_url: Annotated[
        str,
        Field(
            repr=False,
            description="Database of the catalog and of tasks, as "
            "`postgresql://user:password@host/database`; empty: SQLite files in the data folder.",
        ),
    ] = ""
    timezone: Annotated[
        str,
        Field(
            description="Time zone of policies that name none, such as `Europe/Berlin` or "
            "`UTC+08:00`: when they run, and where days, weeks, months and years of kept backups "
            "begin."
        ),
    ] = "UTC"
    tasks_at_once: Annotated[
        int,
        Field(
            ge=1,
            le=64,
            description="How many backups, restores and deletions the service carries out at once; "
            "others wait. Of one server it is never more than one.",
        ),
    ] = 4
    schedule_jitter_s: Annotated[
        int,
        Field(
            ge=0,
            le=21_600,
            description="Backups that policies begin are spread over so many seconds behind their "
            "due time, each server always at the same place; at most over half of the time until "
            "the next run. 0: all at once.",
        ),
    ] = 0
    readers: Annotated[
        int,
        Field(
            ge=1,
            le=32,
            description="Threads that read the disks of a backup; a restore has twice as many.",
        ),
    ] = 2
    low_priority: Annotated[
        bool,
        Field(
            description="Copy with less of the host's processors and disks than others get "
            "(nice 10; best-effort I/O, level 7), so that servers stay quick."
        ),
    ] = True

    listen: Annotated[
        str,
        Field(
            description="Where `csbs serve` listens, as `ADDRESS:PORT` (`[ADDRESS]:PORT` for "
            "IPv6); port 0 is any that is free."
        ),
    ] = "127.0.0.1:8774"
    public_url: Annotated[
        str,
        Field(
            description="Where clients reach the service, such as `https://backup.example`; empty: "
            "the address that each request names in its `Host` header."
        ),
    ] = ""
    tls_certificate_file: Annotated[
        Path | None,
        Field(
            description="Certificate of the service (PEM, with those of its issuers); with it and "
            "its key the service speaks HTTPS. Plain HTTP is served on loopback only."
        ),
    ] = None
    tls_key_file: Annotated[
        Path | None, Field(description="Private key of that certificate (PEM, no password).")
    ] = None
    bootstrap_password: Annotated[
        str,
        Field(
            repr=False,
            description="Password of the user `admin`, whom the first start of the service makes; "
            "empty: a random one, which is printed.",
        ),
    ] = ""
    task_keep_days: Annotated[
        int,
        Field(
            ge=0,
            le=36500,
            description="The service forgets tasks that were done or cancelled after so many days; "
            "0: never.",
        ),
    ] = 90
    failed_task_keep_days: Annotated[
        int,
        Field(
            ge=0,
            le=36500,
            description="The same for tasks that failed; anybody may delete them before.",
        ),
    ] = 365
    audit_keep_days: Annotated[
        int,
        Field(
            ge=0,
            le=36500,
            description="The service forgets what is older in the audit trail; 0: never. "
            "`csbs audit export` keeps it elsewhere.",
        ),
    ] = 365
    token_lifetime_s: Annotated[
        int, Field(ge=60, le=30 * 86400, description="How long a token of the service is good.")
    ] = 86400

    api_requests_max: Annotated[
        int,
        Field(
            ge=1,
            le=10_000,
            description="Requests that the service works on at once; more are refused (503).",
        ),
    ] = 128
    api_body_wait_s: Annotated[
        float,
        Field(gt=0, le=600, description="How long the body of a request may take to arrive."),
    ] = 30.0

    rpo_grace_s: Annotated[
        int,
        Field(
            ge=0,
            le=30 * 86400,
            description="How much later than the longest time between two runs of its policy the "
            "newest backup of a server may be there, before that is an alert.",
        ),
    ] = 3600
    metrics_servers_max: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="Of how many servers, the worst off first, `/metrics` shows the age of the "
            "newest backup, by the server's id; it asks nobody who he is.",
        ),
    ] = 0
    event_keep_days: Annotated[
        int, Field(ge=1, le=3650, description="How long events are kept.")
    ] = 90
    webhook_local_targets: Annotated[
        bool,
        Field(
            description="Let projects have events sent to loopback and link-local addresses: to "
            "what listens on this host alone, or on its link."
        ),
    ] = False
    notification_ca_file: Annotated[
        str,
        Field(
            description="File of certificates (PEM) that are trusted for webhooks and mail besides "
            "the system's."
        ),
    ] = ""
    smtp_host: Annotated[
        str, Field(description="Server that takes mail about events; empty: no mail is sent.")
    ] = ""
    smtp_port: Annotated[int, Field(ge=1, le=_PORT_MAX, description="Its port.")] = 587
    smtp_security: Annotated[
        MailSecurity,
        Field(
            description="How it is spoken to: `starttls` (nothing is sent unless it turns to TLS), "
            "`tls`, or `none`, which is in the clear, and without a password only."
        ),
    ] = MailSecurity.STARTTLS
    smtp_user: Annotated[str, Field(description="User that logs in there; empty: nobody.")] = ""
    smtp_password: Annotated[
        str, Field(repr=False, description="Password of that user; never shown or logged.")
    ] = ""
    smtp_from: Annotated[str, Field(description="Address that mail is from.")] = ""

    @field_validator("listen")
    @classmethod
    def _only_addresses(cls, text: str) -> str:
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or int(port) > _PORT_MAX:
            message = f"{text} is not like 127.0.0.1:8774"
            raise ValueError(message)
        return text

    @field_validator("public_url")
    @classmethod
    def _only_web_addresses(cls, url: str) -> str:
        if url and not _PUBLIC_URL.fullmatch(url):
            message = f"{url} is not like https://backup.example or http://127.0.0.1:8774"
            raise ValueError(message)
        return url

    @field_validator("store_url")
    @classmethod
    def _only_stores(cls, url: str) -> str:
        if url:
            try:
                parse_store_url(url)
            except InvalidStoreUrl as error:
                raise ValueError(str(error)) from None
        return url

    @field_validator("catalog_url")
    @classmethod
    def _only_postgresql(cls, url: str) -> str:
        if url and not url.startswith("postgresql://"):
            message = "it is not like postgresql://user:password@host/database"
            raise ValueError(message)
        return url

    @field_validator("region_key_file")
    @classmethod
    def _outside_the_store(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        data_dir, store_url = info.data.get("data_dir"), info.data.get("store_url")
        if data_dir is None or store_url is None:
            return path  # that one is refused already
        if path is None and info.data.get("encryption") is not EncryptionMode.ON:
            return path  # nothing asks for the usual file in a store that is a folder
        chosen = (path or data_dir / _REGION_KEY).absolute()
        folder = _folder_of(store_url, data_dir)
        if folder is not None and chosen.is_relative_to(folder):
            message = f"{chosen} lies in the store: who has the store would have the key"
            raise ValueError(message)
        return path

    @field_validator("timezone")
    @classmethod
    def _only_zones(cls, name: str) -> str:
        try:
            zone_of(name)
        except UnknownZone as error:
            raise ValueError(str(error)) from None
        return name

    @field_validator("rate_limit", "store_rate_limit")
    @classmethod
    def _only_rates(cls, text: str) -> str:
        if text:
            try:
                parse_rate(text)
            except InvalidRate as error:
                raise ValueError(str(error)) from error
        return text

    @field_validator("smtp_from")
    @classmethod
    def _only_mail_addresses(cls, text: str) -> str:
        if text and not is_mail_address(text):
            message = f"{text} is no address of mail"
            raise ValueError(message)
        return text

    @field_validator("smtp_password")
    @classmethod
    def _never_in_the_clear(cls, password: str, info: ValidationInfo) -> str:
        if password and info.data.get("smtp_security") is MailSecurity.NONE:
            message = "a password is never sent in the clear: set smtp_security"
            raise ValueError(message)
        return password

    @field_validator("data_dir", "run_dir", "scratch_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line first, then the environment, then the file of that data folder."""
        del dotenv_settings, file_secret_settings
        data_dir: Any = init_settings().get("data_dir") or env_settings().get("data_dir")
        file = TomlConfigSettingsSource(settings_cls, Path(data_dir) / FILE_NAME)
        return init_settings, env_settings, file

    @property
    def store_place(self) -> StorePlace:
        """The place that `store_url` names; repositories of projects lie below it."""
        if not self.store_url:
            return FolderPlace(self.data_dir / "store")
        return parse_store_url(self.store_url)

    @property
    def region_key_path(self) -> Path:
        """The file that `region_key_file` names."""
        return (self.region_key_file or self.data_dir / _REGION_KEY).absolute()


def _folder_of(store_url: str, data_dir: Path) -> Path | None:
    """The store, if it is a folder."""
    if not store_url:
        return data_dir / "store"
    return Path(store_url.removeprefix("file://")) if store_url.startswith("file:") else None


def load_settings(data_dir: Path | None, *, listen: str | None = None) -> Settings:
    """The settings of this data folder (None: of `CSBS_DATA_DIR`, or the usual one).

    What is given here wins over the environment and the file.

    Raises `InvalidSetting` with the name of the first setting that makes no sense, `FolderDenied`
    if its file may not be read.
    """
    chosen = data_dir or Path(os.environ.get(f"{PREFIX}DATA_DIR", "") or _usual_data_dir())  # noqa: TID251  this is config
    try:
        if listen is not None:
            return Settings(data_dir=chosen, listen=listen)
        return Settings(data_dir=chosen)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        raise InvalidSetting(name, first["msg"].removeprefix("Value error, ")) from None
    except PermissionError as error:
        raise folder_error(chosen, error) from error
    except (OSError, ValueError) as error:  # the file: not readable, or no TOML
        raise InvalidSetting(str(chosen / FILE_NAME), str(error)) from error


def _usual_data_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/csbs")
    share = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")  # noqa: TID251  this is config
    return Path(share) / "csbs"
