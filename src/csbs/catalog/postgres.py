"""The catalog's database on PostgreSQL: time limits, and transactions one after the other."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, create_engine, event, make_url

#: How long a new connection may take.
_CONNECT_TIMEOUT_S = 10
#: How long a statement may take, a transaction wait for another one's, and one be left idle.
_TIMEOUTS_MS = {
    "statement_timeout": 60_000,
    "lock_timeout": 30_000,
    "idle_in_transaction_session_timeout": 60_000,
}
#: How long a server that has vanished is believed to be there: a cut network says nothing.
_SILENCE_MAX_MS = 30_000
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
_POOL_SIZE = 5
_POOL_MORE = 10
_POOL_TIMEOUT_S = 30

#: Whoever holds it is in a transaction of the catalog; any number that nobody else uses.
_LOCK = 0x63736273

#: Option of a connection whose transactions only read.
ONLY_READS = "csbs_only_reads"


def postgres_engine(url: str) -> Engine:
    """Connects at its first use.  A server that was restarted is connected to anew."""
    options = " ".join(f"-c {name}={value}" for name, value in _TIMEOUTS_MS.items())
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "options": options,
            "tcp_user_timeout": _SILENCE_MAX_MS,
            **_KEEPALIVE,
        },
        pool_pre_ping=True,
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_MORE,
        pool_timeout=_POOL_TIMEOUT_S,
    )
    event.listen(engine, "begin", _one_after_the_other)
    return engine


def _one_after_the_other(connection: Connection) -> None:
    if connection.get_execution_options().get(ONLY_READS, False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return
    # Freed by the end of the transaction, however it ends.
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
