"""A real S3 server of one's own: SeaweedFS on free ports of 127.0.0.1, its data in a folder.

It is ended by the process that was started, never by name; killed, it comes back with the same
ports and data.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csbs.blockio.processes import record_process
from csbs.domain.errors import ToolFailed
from csbs.domain.store_url import S3Place, parse_store_url
from csbs.repository.objectstore.s3 import S3Access, S3Store
from csbs.testing.ports import free_ports

#: It is up in some 4 s; a machine under load takes longer.
_START_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 20.0
_LOOK_INTERVAL_S = 0.1
_ASK_TIMEOUT_S = 10.0
#: A volume is a file of its own, and a bucket uses seven: small ones, so that tests may have many.
_VOLUME_SIZE_MIB = 1024
_LOG_SIZE_SHOWN = 2000

BUCKET = "backups"
#: Of its process, in its folder, for `ProcessRecord.read`.
RECORD = "weed.pid"


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody the server knows."""

    access_key_id: str
    secret_access_key: str

    def access(self, *, timeout_s: float = 30.0) -> S3Access:
        """For a store of ours."""
        return S3Access(
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
            timeout_s=timeout_s,
        )


#: May do everything.
WRITER = Account("writer", "secret-of-writer")
#: May list and get, nothing else.
READER = Account("reader", "secret-of-reader")
#: Known, with another secret.
STRANGER = Account("writer", "guessed")


class SeaweedFS:
    """The server; `start` it, and `stop` it at the end.  Has the bucket `BUCKET`."""

    def __init__(self, folder: Path) -> None:
        """Keeps everything in `folder`, which may have data of an earlier one."""
        self._folder = folder
        self._ports = free_ports(8)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where its S3 listens."""
        return f"http://127.0.0.1:{self._ports[0]}"

    def store(
        self, prefix: str = "", account: Account = WRITER, *, bucket: str = BUCKET
    ) -> S3Store:
        """A store in it."""
        place = parse_store_url(self.url(prefix, bucket=bucket))
        assert isinstance(place, S3Place), "an s3 address"
        return S3Store(place, account.access())

    def url(self, prefix: str = "", *, bucket: str = BUCKET) -> str:
        """A `store_url` in it."""
        path = f"{bucket}/{prefix}" if prefix else bucket
        return f"s3://{path}?endpoint={self.endpoint}"

    def start(self) -> None:
        """Returns when it takes requests.  Raises `ToolFailed`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "data").mkdir(exist_ok=True)
        (self._folder / "s3.json").write_text(json.dumps(_accounts()), encoding="utf-8")
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder
            )
        record_process(self._process.pid, self._folder / RECORD)
        self._wait_until_ready()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It takes connections and answers nothing during the body, as one that hangs."""
        assert self._process is not None, "it runs"
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends it as a power cut would, in the middle of what it does."""
        assert self._process is not None, "it runs"
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(_STOP_TIMEOUT_S)
        self._process = None

    def stop(self) -> None:
        """Ends it, if it runs; not gently, which would take 15 s, and it survives that."""
        if self._process is not None:
            self.kill()

    def client(self, account: Account = WRITER) -> Any:
        """A plain S3 client, for what a store of ours does not do."""
        import boto3  # noqa: PLC0415  slow to import
        from botocore.config import Config  # noqa: PLC0415  likewise

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=account.access_key_id,
            aws_secret_access_key=account.secret_access_key,
            config=Config(
                signature_version="s3v4",
                connect_timeout=_ASK_TIMEOUT_S,
                read_timeout=_ASK_TIMEOUT_S,
                retries={"total_max_attempts": 2},
            ),
        )

    def make_bucket(self, bucket: str = BUCKET) -> None:
        """Makes a bucket, unless it is there."""
        client = self.client()
        try:
            if bucket not in {each["Name"] for each in client.list_buckets()["Buckets"]}:
                client.create_bucket(Bucket=bucket)
        finally:
            client.close()

    def _wait_until_ready(self) -> None:
        pause = threading.Event()
        for _ in range(int(_START_TIMEOUT_S / _LOOK_INTERVAL_S)):
            if self._process is None or self._process.poll() is not None:
                break
            if self._answers() and self._stores():
                return
            pause.wait(_LOOK_INTERVAL_S)
        self.stop()
        text = (self._folder / "log").read_text(encoding="utf-8", errors="replace")
        raise ToolFailed("weed", "starting", text[-_LOG_SIZE_SHOWN:])

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=_ASK_TIMEOUT_S):  # noqa: S310  our own http://127.0.0.1
                return True
        except (urllib.error.URLError, OSError):
            return False

    def _stores(self) -> bool:
        """Its S3 answers before its volumes take bytes."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  slow to import

        client = self.client()
        try:
            self.make_bucket()
            client.put_object(Bucket=BUCKET, Key="_ready", Body=b"ready")
            client.delete_object(Bucket=BUCKET, Key="_ready")
        except (BotoCoreError, ClientError):
            return False
        finally:
            client.close()
        return True

    def _command(self) -> list[str]:
        s3, s3_grpc, filer, filer_grpc, volume, volume_grpc, master, master_grpc = self._ports
        return [
            str(Path(sys.executable).parent / "weed"),
            "server",
            f"-dir={self._folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-master.electionTimeout=1s",
            f"-master.port={master}",
            f"-master.port.grpc={master_grpc}",
            f"-master.volumeSizeLimitMB={_VOLUME_SIZE_MIB}",
            "-volume.max=0",
            f"-volume.port={volume}",
            f"-volume.port.grpc={volume_grpc}",
            "-volume.preStopSeconds=0",
            "-filer",
            f"-filer.port={filer}",
            f"-filer.port.grpc={filer_grpc}",
            f"-filer.localSocket={self._folder / 'filer.sock'}",
            "-s3",
            f"-s3.port={s3}",
            f"-s3.port.grpc={s3_grpc}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.localSocket={self._folder / 's3.sock'}",
            f"-s3.config={self._folder / 's3.json'}",
            "-s3.autoCreateBucket=false",
        ]


@contextmanager
def seaweedfs_running(folder: Path) -> Iterator[SeaweedFS]:
    """A server with an empty bucket for the body; raises `ToolFailed` if it does not come up."""
    server = SeaweedFS(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _accounts() -> dict[str, Any]:
    rights = {WRITER: ["Admin", "Read", "Write", "List"], READER: ["Read", "List"]}
    return {
        "identities": [
            {
                "name": account.access_key_id,
                "credentials": [
                    {
                        "accessKey": account.access_key_id,
                        "secretKey": account.secret_access_key,
                    }
                ],
                "actions": actions,
            }
            for account, actions in rights.items()
        ]
    }
