"""`csbs server`: the servers of this host."""

from __future__ import annotations

from typing import Annotated

import typer

from csbs.cli.options import Json, ServerName, changing, opened
from csbs.cli.output import Output, size, table

commands = typer.Typer(help="Servers of this host: list, show, stop, start, set, assign, untrack.")


@commands.command("list")
def list_servers(context: typer.Context, *, json: Json = False) -> None:
    """List all servers with their state and disks."""
    from csbs.cli.documents import server_document  # noqa: PLC0415  see cli.options

    with opened(context) as app:
        found = app.servers.list_all()
        half_restored = app.servers.half_restored()
    Output(json).table(
        {"servers": [server_document(server, half_restored) for server in found]},
        ("NAME", "STATE", "DISKS", "SIZE", "ID"),
        [
            (
                server.name,
                f"{server.state}, half restored" if server.id in half_restored else server.state,
                str(len(server.disks)),
                size(sum(disk.size_bytes for disk in server.disks)),
                server.id,
            )
            for server in found
        ],
    )


@commands.command("show")
def show_server(context: typer.Context, server: ServerName, *, json: Json = False) -> None:
    """Show one server: disks, tracking points, how it is frozen, an interrupted restore."""
    from csbs.cli.documents import server_document  # noqa: PLC0415  see cli.options

    with opened(context) as app:
        found = app.servers.find(server)
        tracking = app.servers.tracking(found)
        half_restored = app.servers.half_restored()
        without_watchdog = app.servers.freezes_without_watchdog(found)
    rows = [
        (
            disk.target,
            "missing" if disk.missing else size(disk.size_bytes),
            disk.format,
            "yes" if disk.trackable else "no",
            disk.source or "-",
        )
        for disk in found.disks
    ]
    restoring = half_restored.get(found.id)
    text = "\n".join(
        (
            f"{found.name}  {found.state}  {found.id}",
            table(("DISK", "SIZE", "FORMAT", "TRACKABLE", "SOURCE"), rows),
            "tracking points: " + (", ".join(tracking.checkpoints) or "none"),
            f"its file systems are frozen {_whether(without_watchdog)}",
            *(
                [f"a restore was interrupted: `csbs restore {restoring}` ends it"]
                if restoring
                else []
            ),
        )
    )
    document = server_document(found, half_restored, tracking)
    Output(json).show(document | {"freeze_without_watchdog": without_watchdog}, text)


@commands.command("start")
def start_server(context: typer.Context, server: ServerName, *, json: Json = False) -> None:
    """Start a server; a backup that holds its disks is cancelled for it."""
    from csbs.cli.documents import server_document  # noqa: PLC0415  see cli.options

    with opened(context) as app:
        started = app.servers.start(server)
    Output(json).show(server_document(started, {}), f"{started.name} is {started.state}")


@commands.command("stop")
def stop_server(context: typer.Context, server: ServerName, *, json: Json = False) -> None:
    """Stop a server: by its guest agent, by ACPI, at last by force."""
    from csbs.cli.documents import server_document  # noqa: PLC0415  see cli.options

    with opened(context) as app:
        stopped, how = app.servers.stop(server)
    Output(json).show(
        server_document(stopped, {}) | {"stopped_by": how},
        f"{stopped.name} is {stopped.state} ({how})",
    )


@commands.command("set")
def set_server(
    context: typer.Context,
    server: ServerName,
    *,
    freeze_without_watchdog: Annotated[
        bool,
        typer.Option(
            help="Freeze its file systems although its guest agent refuses to start a watchdog: "
            "if agent and csbs fail at once, the guest stays frozen.",
        ),
    ],
    json: Json = False,
) -> None:
    """Set how a server is backed up."""
    with opened(context) as app:
        found = app.servers.set_freeze_without_watchdog(server, on=freeze_without_watchdog)
    Output(json).show(
        {
            "server": {"id": found.id, "name": found.name},
            "freeze_without_watchdog": freeze_without_watchdog,
        },
        f"backups of {found.name} freeze its file systems {_whether(freeze_without_watchdog)}",
    )


@commands.command("assign")
def assign_server(
    context: typer.Context,
    server: ServerName,
    project: Annotated[
        str, typer.Argument(metavar="PROJECT", help="Id or name of the project it shall belong to.")
    ],
    *,
    json: Json = False,
) -> None:
    """Assign a server to a project; refused while it has backups in another one.

    A server that nobody assigned belongs to the project that is called like the region.
    """
    with changing(context, "assign_server", f"{server} {project}") as region:
        found, target = region.assignments.assign(server, project)
    Output(json).show(
        {
            "server": {"id": found.id, "name": found.name},
            "project": {"id": target.id, "name": target.name},
        },
        f"{found.name} belongs to {target.name}",
    )


@commands.command("untrack")
def untrack_server(context: typer.Context, server: ServerName, *, json: Json = False) -> None:
    """Remove all checkpoints and bitmaps of csbs from a server.

    Needed before `virsh undefine`, which refuses while checkpoints exist, and before reverting to
    an internal snapshot.  The next backup reads all that is allocated and stores what differs.
    """
    with opened(context) as app:
        found, removed = app.servers.untrack(server)
    Output(json).show(
        {"server": {"id": found.id, "name": found.name}, "removed": removed},
        f"tracking points removed from {found.name}: {', '.join(removed) or 'none'}",
    )


def _whether(without_watchdog: bool) -> str:  # noqa: FBT001  the value of a setting
    if without_watchdog:
        return "even where no watchdog can be started in it"
    return "only where a watchdog in it makes sure that they thaw"
