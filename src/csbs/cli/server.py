"""`csbs server`: the servers of this host, or of a project of the service."""

from __future__ import annotations

from typing import Annotated

import typer

from csbs.cli.given_tags import given_tags
from csbs.cli.notification import rpo_text
from csbs.cli.options import Json, ServerName, body, in_project, in_region
from csbs.cli.output import Output, size, table

commands = typer.Typer(help="Servers: list, show, stop, start, set, tag, assign, untrack.")


@commands.command("list")
def list_servers(context: typer.Context, *, json: Json = False) -> None:
    """List all servers with their state and disks."""
    with in_project(context) as project:
        found = project.servers.list_all()
    Output(json).table(
        found,
        ("NAME", "STATE", "DISKS", "SIZE", "ID"),
        [
            (
                server.name,
                f"{server.state}, half restored" if server.unfinished_restore_of else server.state,
                str(len(server.disks)),
                size(sum(disk.size_bytes for disk in server.disks)),
                server.id,
            )
            for server in found.servers
        ],
    )


@commands.command("show")
def show_server(context: typer.Context, server: ServerName, *, json: Json = False) -> None:
    """Show one server: disks, tracking points, how it is frozen, an interrupted restore."""
    with in_project(context) as project:
        found = project.servers.show(server)
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
    restoring = found.unfinished_restore_of
    text = "\n".join(
        (
            f"{found.name}  {found.state}  {found.id}",
            table(("DISK", "SIZE", "FORMAT", "TRACKABLE", "SOURCE"), rows),
            "tracking points: " + (", ".join(found.tracking_points) or "none"),
            f"its file systems are frozen {_whether(found.freeze_without_watchdog)}",
            rpo_text(found.rpo),
            *(
                [f"a restore was interrupted: `csbs restore {restoring}` ends it"]
                if restoring
                else []
            ),
        )
    )
    Output(json).show(found, text)


@commands.command("start")
def start_server(context: typer.Context, server: ServerName, *, json: Json = False) -> None:
    """Start a server; a backup that holds its disks is cancelled for it."""
    with in_project(context) as project:
        started = project.servers.start(server)
    Output(json).show(started, f"{started.name} is {started.state}")


@commands.command("stop")
def stop_server(context: typer.Context, server: ServerName, *, json: Json = False) -> None:
    """Stop a server: by its guest agent, by ACPI, at last by force."""
    with in_project(context) as project:
        stopped = project.servers.stop(server)
    Output(json).show(stopped, f"{stopped.name} is {stopped.state} ({stopped.stopped_by})")


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
    from csbs.documents.servers import ServerChange  # noqa: PLC0415  see cli.options

    change = body(ServerChange, freeze_without_watchdog=freeze_without_watchdog)
    with in_project(context) as project:
        done = project.servers.change(server, change)
    how = _whether(done.freeze_without_watchdog)
    Output(json).show(done, f"backups of {done.server.name} freeze its file systems {how}")


@commands.command("tag")
def tag_server(
    context: typer.Context,
    server: ServerName,
    tags: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Tags that it gets.")
    ] = None,
    *,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Take the tag with this key away.")
    ] = None,
    json: Json = False,
) -> None:
    """Show a server's tags, give it some, take some away.

    A policy that binds servers by tags takes it, if it belongs to none.
    """
    from csbs.documents.policies import ServerTagsBody  # noqa: PLC0415  see cli.options

    given = given_tags(tags or ())
    wanted = body(ServerTagsBody, tags=given, remove=remove or [])
    with in_project(context) as project:
        if given or remove:
            found = project.policies.tag(server, wanted)
        else:
            found = project.policies.tags(server)
    text = ", ".join(f"{key}={value}" for key, value in found.tags.items())
    policy = f"policy {found.policy.name}" if found.policy else "no policy"
    Output(json).show(found, f"{found.server.name}: {text or 'no tags'}; {policy}")


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
    with in_region(context, "assign_server", f"{server} {project}") as region:
        done = region.projects.assign(server, project)
    Output(json).show(done, f"{done.server.name} belongs to {done.project.name}")


@commands.command("untrack")
def untrack_server(context: typer.Context, server: ServerName, *, json: Json = False) -> None:
    """Remove all checkpoints and bitmaps of csbs from a server.

    Needed before `virsh undefine`, which refuses while checkpoints exist, and before reverting to
    an internal snapshot.  The next backup reads all that is allocated and stores what differs.
    """
    with in_project(context) as project:
        done = project.servers.untrack(server)
    removed = ", ".join(done.removed) or "none"
    Output(json).show(done, f"tracking points removed from {done.server.name}: {removed}")


def _whether(without_watchdog: bool) -> str:  # noqa: FBT001  the value of a setting
    if without_watchdog:
        return "even where no watchdog can be started in it"
    return "only where a watchdog in it makes sure that they thaw"
