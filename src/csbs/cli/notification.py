"""`csbs notification`, `csbs event`, `csbs rpo`: what happened, who is told, how new is what."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from csbs.cli.options import Json, Yes, body, in_project
from csbs.cli.output import Output, cut, moment
from csbs.cli.policy_text import span_text
from csbs.domain.events import RECORDED_KINDS, EventKind

if TYPE_CHECKING:
    from csbs.documents.events import NotificationDocument, RpoDocument

notifications = typer.Typer(help="Where events are sent: create, list, show, test, delete.")
events = typer.Typer(help="What happened: list.")

NotificationName = Annotated[
    str, typer.Argument(metavar="NOTIFICATION", help="Id or name of a notification.")
]
Kinds = Annotated[
    list[EventKind] | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="Only events of this kind (may be repeated): " + ", ".join(RECORDED_KINDS) + ".",
    ),
]


class MailLanguage(StrEnum):
    """Of mails."""

    ENGLISH = "en"
    CHINESE = "zh"


@notifications.command("create")
def create_notification(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    *,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Send events to this address.")
    ] = None,
    mail: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Send mail to this address (may be repeated)."),
    ] = None,
    kind: Kinds = None,
    language: Annotated[MailLanguage, typer.Option(help="Of mails.")] = MailLanguage.ENGLISH,
    json: Json = False,
) -> None:
    """Have events sent by webhook or mail; the secret that signs webhooks is shown once."""
    from csbs.documents.events import (  # noqa: PLC0415  see cli.options
        NewMail,
        NewNotification,
        NewWebhook,
    )

    if (webhook is None) == (not mail):
        raise typer.BadParameter("give either --webhook or --mail")
    common = {"name": name, "kinds": kind or []}
    new: NewNotification = (
        body(NewMail, channel="mail", recipients=mail, language=language.value, **common)
        if mail
        else body(NewWebhook, channel="webhook", url=webhook, **common)
    )
    with in_project(context) as project:
        made = project.notifications.create(new)
    text = f"created notification {made.name}  {made.id}"
    if made.secret is not None:
        text += f"\nsecret  {made.secret}  (shown only now)"
    Output(json).show(made, text)


@notifications.command("list")
def list_notifications(context: typer.Context, *, json: Json = False) -> None:
    """List where events are sent, and how it goes."""
    with in_project(context) as project:
        found = project.notifications.list_all()
    Output(json).table(
        found,
        ("NAME", "TO", "KINDS", "STATE", "ID"),
        [
            (each.name, cut(_to(each), 50), _kinds(each), _state(each), each.id)
            for each in found.notifications
        ],
    )


@notifications.command("show")
def show_notification(
    context: typer.Context, notification: NotificationName, *, json: Json = False
) -> None:
    """Show one notification: where it leads, what waits, why it fails."""
    with in_project(context) as project:
        found = project.notifications.show(notification)
    many = found.deliveries
    text = "\n".join(
        (
            f"{found.name}  {_state(found)}  {found.id}",
            f"{found.channel} to {_to(found)}",
            f"events: {_kinds(found)}",
            (
                f"{many.waiting} wait, {many.delivered} were delivered, {many.given_up} given up, "
                f"{many.dropped} dropped"
            ),
            *([f"last delivered {moment(found.last_delivered_at)}"] * bool(many.delivered)),
            *([f"last error: {found.last_error}"] * bool(found.last_error)),
        )
    )
    Output(json).show(found, text)


@notifications.command("test")
def try_notification(
    context: typer.Context, notification: NotificationName, *, json: Json = False
) -> None:
    """Send a trial event now, and tell whether it was received; exits with 7 if not."""
    from csbs.cli.exit_codes import EXIT_CODES  # noqa: PLC0415  see cli.options

    with in_project(context) as project:
        tested = project.notifications.test(notification)
    told = "received" if tested.received else f"not received: {tested.why}"
    Output(json).show(tested, told)
    if not tested.received:
        raise typer.Exit(EXIT_CODES["unavailable"])


@notifications.command("delete")
def delete_notification(
    context: typer.Context, notification: NotificationName, *, yes: Yes = False, json: Json = False
) -> None:
    """Send nothing there any more, also not what waits."""
    output = Output(json)
    output.confirm(
        f"Delete notification {notification}?",
        f"the deletion of notification {notification}",
        yes=yes,
    )
    with in_project(context) as project:
        gone = project.notifications.delete(notification)
    output.show(gone, f"deleted notification {gone.name}")


@events.command("list")
def list_events(
    context: typer.Context,
    *,
    kind: Kinds = None,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many, of the newest.")] = 50,
    json: Json = False,
) -> None:
    """List the newest events, oldest first."""
    with in_project(context) as project:
        found = project.notifications.events(last, kind or [])
    Output(json).table(
        found,
        ("WHEN", "KIND", "WHAT"),
        [(moment(each.at), each.kind.value, each.message) for each in found.events],
    )


def show_rpo(context: typer.Context, *, json: Json = False) -> None:
    """Show how new the backups of each server are (RPO), and how long restores take (RTO)."""
    with in_project(context) as project:
        found = project.notifications.rpo()
    Output(json).table(
        found,
        ("SERVER", "NEWEST BACKUP", "AGE", "PROMISED", "STATE", "POLICY", "LAST RESTORE"),
        [_row(each) for each in found.servers],
    )


def rpo_text(rpo: RpoDocument) -> str:
    """One line for a person."""
    _, newest, age, promised, state, policy, restore = _row(rpo)
    told = f"newest backup: {newest}" + (f", {age} old" if rpo.age_s is not None else "")
    if rpo.policy is not None:
        told += f"; policy {policy} promises {promised} at most: {state}"
    return told + (f"; its last restore took {restore}" if rpo.last_restore_s is not None else "")


def _row(rpo: RpoDocument) -> tuple[str, str, str, str, str, str, str]:
    return (
        rpo.server.name,
        "never" if rpo.newest_backup_at is None else moment(rpo.newest_backup_at),
        _long(rpo.age_s),
        "-" if rpo.promise_s is None else span_text(rpo.promise_s),
        _promise_state(rpo),
        "-" if rpo.policy is None else rpo.policy.name,
        _long(rpo.last_restore_s),
    )


def _promise_state(rpo: RpoDocument) -> str:
    if rpo.promise_s is None:
        return "-"
    if rpo.broken:
        return "BROKEN"
    # A server that was bound today is not late: see `csbs.domain.rpo`.
    return "no backup yet" if rpo.newest_backup_at is None else "kept"


def _long(seconds: int | None) -> str:
    """As people say it: ``40 s``, ``25 min``, ``25 h``, ``9 d``; rounded down."""
    if seconds is None:
        return "-"
    for unit, size_s, below in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 72)):
        if seconds < size_s * below:
            return f"{seconds // size_s} {unit}"
    return f"{seconds // 86_400} d"


def _to(found: NotificationDocument) -> str:
    return found.url or ", ".join(found.recipients)


def _kinds(found: NotificationDocument) -> str:
    return ", ".join(found.kinds) or "all"


def _state(found: NotificationDocument) -> str:
    if found.failures:
        return f"failing, {found.deliveries.waiting} wait"
    return f"{found.deliveries.waiting} wait" if found.deliveries.waiting else "fine"
