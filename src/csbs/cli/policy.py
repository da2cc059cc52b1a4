"""`csbs policy`: servers that are backed up by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from csbs.cli.given_tags import given_tags
from csbs.cli.options import Json, Yes, body, in_project
from csbs.cli.output import Output, short, table
from csbs.cli.policy_preview import preview_policy
from csbs.cli.policy_text import (
    backups_text,
    due_texts,
    keeps_text,
    note_text,
    span_text,
    when_text,
)

if TYPE_CHECKING:
    from csbs.documents.policies import PolicyDetails, PolicyDocument, ScheduleDocument

commands = typer.Typer(
    help="Policies, which back servers up by themselves: create, list, show, set, delete, run, "
    "preview, bind, unbind."
)

_ALL_SERVERS = "all"
#: As `csbs.domain.policy.RETENTION_MAX`.
_KEPT_MAX = 99_999

PolicyName = Annotated[
    str,
    typer.Argument(metavar="POLICY", help="Id, unique prefix of 8 or more of it, or name."),
]
ServerNames = Annotated[
    list[str],
    typer.Argument(metavar="SERVER", help="Ids, unique prefixes of 8 or more, or names."),
]
At = Annotated[
    str | None, typer.Option(metavar="TIMES", help="Times of the day, such as 02:30,14:30.")
]
DaysOption = Annotated[
    str | None, typer.Option("--days", metavar="DAYS", help="Only on these: mon,tue,wed,thu ...")
]
Every = Annotated[
    str | None, typer.Option(metavar="DAYS", help="Every so many days, such as 3d; 1d: each day.")
]
Timezone = Annotated[
    str | None,
    typer.Option(
        metavar="ZONE",
        help="Zone of the times, such as Europe/Berlin or UTC+08:00; else the region's.",
    ),
]
Enabled = Annotated[
    bool | None,
    typer.Option("--on/--off", help="Whether it runs by itself; `csbs policy run` always does."),
]
Description = Annotated[str | None, typer.Option(help="What it is for.")]
Keep = Annotated[
    int | None,
    typer.Option(min=-1, max=_KEPT_MAX, help="Keep the newest so many; -1: no such rule."),
]
KeepDays = Annotated[
    int | None,
    typer.Option(min=-1, max=_KEPT_MAX, help="Keep those of so many days; -1: no such rule."),
]
KeepMonths = Annotated[
    int | None,
    typer.Option(min=-1, max=_KEPT_MAX, help="Likewise of so many months, instead of days."),
]
KeepDaily = Annotated[
    int | None,
    typer.Option(min=-1, max=_KEPT_MAX, help="Keep the newest of each of so many days; -1: none."),
]
KeepWeekly = Annotated[int | None, typer.Option(min=-1, max=_KEPT_MAX, help="Likewise of weeks.")]
KeepMonthly = Annotated[int | None, typer.Option(min=-1, max=_KEPT_MAX, help="Likewise of months.")]
KeepYearly = Annotated[int | None, typer.Option(min=-1, max=_KEPT_MAX, help="Likewise of years.")]
KeepForever = Annotated[
    bool | None,
    typer.Option(
        "--keep-forever/--no-keep-forever", help="Keep all, whatever the other rules say."
    ),
]
AutoBind = Annotated[
    list[str] | None,
    typer.Option(
        "--auto-bind",
        metavar="KEY=VALUE",
        help="Bind servers with this tag by itself; several: with all of these. `all`: all "
        "servers.",
    ),
]


@commands.command("create")
def create_policy(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, _ and -.")],
    servers: Annotated[
        list[str] | None, typer.Argument(metavar="SERVER", help="Servers that it binds.")
    ] = None,
    *,
    at: At = None,
    days: DaysOption = None,
    every: Every = None,
    timezone: Timezone = None,
    enabled: Enabled = None,
    description: Description = None,
    keep: Keep = None,
    keep_days: KeepDays = None,
    keep_months: KeepMonths = None,
    keep_daily: KeepDaily = None,
    keep_weekly: KeepWeekly = None,
    keep_monthly: KeepMonthly = None,
    keep_yearly: KeepYearly = None,
    keep_forever: KeepForever = None,
    auto_bind: AutoBind = None,
    json: Json = False,
) -> None:
    """Make a policy and bind servers to it; a server belongs to one policy at most.

    It runs at the times of --at, each day unless --days or --every say otherwise. Without --at it
    runs only when `csbs policy run` asks. A backup stays if any --keep rule keeps it; without any
    all are kept.
    """
    from csbs.documents.policies import NewPolicyBody  # noqa: PLC0415  see cli.options

    kept = {
        "permanent": keep_forever,
        "max_backups": keep,
        "max_age_days": keep_days,
        "max_age_months": keep_months,
        "day_backups": keep_daily,
        "week_backups": keep_weekly,
        "month_backups": keep_monthly,
        "year_backups": keep_yearly,
    }
    new = body(
        NewPolicyBody,
        name=name,
        servers=servers or [],
        description=description,
        enabled=enabled,
        timezone=timezone,
        auto_bind=_rule(auto_bind),
        **_times(at, days, every),
        **_kept(kept),
    )
    with in_project(context) as project:
        policy = project.policies.create(new)
    Output(json).show(policy, _details(policy))


@commands.command("list")
def list_policies(context: typer.Context, *, json: Json = False) -> None:
    """List policies, oldest first."""
    with in_project(context) as project:
        found = project.policies.list_all()
    Output(json).table(
        found,
        ("NAME", "RUNS", "NEXT", "SERVERS", "KEEPS", "ID"),
        [
            (
                each.name,
                when_text(each.schedule),
                _next_text(each.schedule),
                str(len(each.servers)),
                keeps_text(each.schedule.retention) if each.schedule else "all",
                short(each.id),
            )
            for each in found.policies
        ],
    )


@commands.command("show")
def show_policy(context: typer.Context, policy: PolicyName, *, json: Json = False) -> None:
    """Show a policy: servers, the next times at which it runs, what it promises, its last runs."""
    with in_project(context) as project:
        found = project.policies.show(policy)
    Output(json).show(found, _details(found))


@commands.command("set")
def set_policy(
    context: typer.Context,
    policy: PolicyName,
    *,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    at: At = None,
    days: DaysOption = None,
    every: Every = None,
    timezone: Timezone = None,
    enabled: Enabled = None,
    description: Description = None,
    keep: Keep = None,
    keep_days: KeepDays = None,
    keep_months: KeepMonths = None,
    keep_daily: KeepDaily = None,
    keep_weekly: KeepWeekly = None,
    keep_monthly: KeepMonthly = None,
    keep_yearly: KeepYearly = None,
    keep_forever: KeepForever = None,
    auto_bind: AutoBind = None,
    no_auto_bind: Annotated[
        bool, typer.Option("--no-auto-bind", help="Bind no server by itself any more.")
    ] = False,
    json: Json = False,
) -> None:
    """Change a policy; what is not given stays, and changes take effect at once.

    --days and --every go with --at: together they say when it runs.
    """
    from csbs.documents.policies import PolicyChangeBody  # noqa: PLC0415  see cli.options

    kept = {
        "permanent": keep_forever,
        "max_backups": keep,
        "max_age_days": keep_days,
        "max_age_months": keep_months,
        "day_backups": keep_daily,
        "week_backups": keep_weekly,
        "month_backups": keep_monthly,
        "year_backups": keep_yearly,
    }
    change = body(
        PolicyChangeBody,
        name=name,
        description=description,
        enabled=enabled,
        timezone=timezone,
        auto_bind=_rule(auto_bind),
        stop_auto_bind=no_auto_bind,
        **_times(at, days, every),
        **_kept(kept),
    )
    if change == PolicyChangeBody():
        raise typer.BadParameter("say what shall be another, such as --at 02:00 or --off")
    with in_project(context) as project:
        changed = project.policies.change(policy, change)
    Output(json).show(changed, _details(changed))


@commands.command("delete")
def delete_policy(
    context: typer.Context, policy: PolicyName, *, yes: Yes = False, json: Json = False
) -> None:
    """Delete a policy; its servers are free, its backups stay and do not expire any more."""
    output = Output(json)
    with in_project(context) as project:
        found = project.policies.show(policy)
        output.confirm(
            f"Delete policy {found.name} of {len(found.servers)} servers?", "the deletion", yes=yes
        )
        gone = project.policies.delete(found.id)
    output.show(gone, f"policy {gone.name} is deleted; its backups stay")


@commands.command("run")
def run_policy(
    context: typer.Context,
    policy: PolicyName,
    servers: Annotated[
        list[str] | None, typer.Argument(metavar="SERVER", help="Only these of its servers.")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Back up the servers of a policy now, whether it is on or off.

    On this machine the command makes the backups, one after the other; a service begins them, and
    `csbs task list` shows how far they are. They count as manual ones, and do not expire.
    """
    from csbs.cli.progress import watched  # noqa: PLC0415  see cli.options
    from csbs.documents.policies import PolicyRunBody  # noqa: PLC0415  see cli.options

    output = Output(json)
    wanted = body(PolicyRunBody, servers=servers or None)
    with in_project(context) as project, watched(output) as watcher:
        begun = project.policies.run(policy, wanted, watcher)
    output.table(
        begun,
        ("SERVER", "BACKUP", "STATUS", "WHY"),
        [
            (each.server.name, each.name, each.status, each.fail_reason or "-")
            for each in begun.backups
        ],
    )


commands.command("preview")(preview_policy)


@commands.command("bind")
def bind_servers(
    context: typer.Context, policy: PolicyName, servers: ServerNames, *, json: Json = False
) -> None:
    """Bind servers to a policy: they are backed up by it from now on."""
    from csbs.documents.policies import ServersBody  # noqa: PLC0415  see cli.options

    with in_project(context) as project:
        found = project.policies.bind(policy, body(ServersBody, servers=servers))
    Output(json).show(found, _details(found))


@commands.command("unbind")
def unbind_servers(
    context: typer.Context, policy: PolicyName, servers: ServerNames, *, json: Json = False
) -> None:
    """Let servers go: what waits of them is ended; their backups stay and do not expire any more.

    A rule of tags does not bind them again, unless they are tagged anew.
    """
    from csbs.documents.policies import ServersBody  # noqa: PLC0415  see cli.options

    with in_project(context) as project:
        found = project.policies.unbind(policy, body(ServersBody, servers=servers))
    Output(json).show(found, _details(found))


def _times(at: str | None, days: str | None, every: str | None) -> dict[str, Any]:
    every_days = None
    if every is not None:
        digits = every.strip().lower().removesuffix("d")
        if not digits.isdecimal():
            raise typer.BadParameter("--every is a number of days, such as 3d")
        every_days = int(digits)
    if at is None and (days is not None or every_days is not None):
        raise typer.BadParameter("--days and --every go with --at")
    return {
        "at": None if at is None else at.split(","),
        "days": None if days is None else days.split(","),
        "every_days": every_days,
    }


def _kept(rules: dict[str, int | bool | None]) -> dict[str, Any]:
    if (rules["max_age_days"] or 0) > 0 and (rules["max_age_months"] or 0) > 0:
        raise typer.BadParameter("give --keep-days or --keep-months, not both")
    said = {name: value for name, value in rules.items() if value is not None}
    return {"retention": said} if said else {}


def _rule(given: list[str] | None) -> dict[str, str] | None:
    if not given:
        return None
    if _ALL_SERVERS not in given:
        return given_tags(given)
    if len(given) > 1:
        raise typer.BadParameter(
            "--auto-bind all takes every server: give it alone, or tags without it"
        )
    return {}


def _details(policy: PolicyDetails) -> str:
    lines = [f"{policy.name}  {policy.id}", *filter(None, [policy.description])]
    lines.append("servers: " + (", ".join(each.name for each in policy.servers) or "none"))
    if policy.auto_bind is not None:
        tags = ", ".join(f"{key}={value}" for key, value in policy.auto_bind.items())
        lines.append(f"binds by itself: {'servers with ' + tags if tags else 'all servers'}")
    lines += _schedule_lines(policy)
    if policy.runs:
        zone = policy.schedule.timezone if policy.schedule else "UTC"
        due = due_texts([run.due_at for run in policy.runs], zone)
        rows = [
            (at, run.state, backups_text(run), note_text(run))
            for at, run in zip(due, policy.runs, strict=True)
        ]
        lines.append(table((f"DUE ({zone})", "RUN", "BACKUPS", "NOTE"), rows))
    return "\n".join(lines)


def _schedule_lines(policy: PolicyDocument) -> list[str]:
    schedule = policy.schedule
    if schedule is None:
        return ["runs only when `csbs policy run` asks"]
    keeps = f"keeps {keeps_text(schedule.retention)}"
    if not schedule.enabled:
        return [
            f"is {when_text(schedule)}: it runs only when `csbs policy run` asks",
            f"{keeps}; while it is off nothing expires",
        ]
    lines = [f"runs {when_text(schedule)}, while `csbs serve` runs", keeps]
    due = due_texts(schedule.next_due, schedule.timezone)
    lines.append(f"next ({schedule.timezone}): {', '.join(due)}")
    if schedule.promise_s is not None:
        age = span_text(schedule.promise_s)
        lines.append(f"promises that the newest backup is at most {age} old (`csbs rpo`)")
    return lines


def _next_text(schedule: ScheduleDocument | None) -> str:
    if schedule is None or schedule.next_run_at is None:
        return "-"
    return due_texts([schedule.next_run_at], schedule.timezone)[0]
