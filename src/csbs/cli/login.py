"""`csbs login`, `logout` and `profile`: which service commands work on, and as whom."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from csbs.cli.options import Json, where
from csbs.cli.output import Output, table

if TYPE_CHECKING:
    from csbs.client.profiles import Profile

commands = typer.Typer(help="Logins to services: list, use, show.")

ProfileName = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="What the login is called; else `default`."),
]


def login(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="As https://backup.example:8774.")],
    *,
    user: Annotated[str, typer.Option(metavar="NAME", help="Who logs in.")] = "admin",
    project: Annotated[
        str | None,
        typer.Option(
            metavar="PROJECT",
            help="Which project commands are about; else the only one, or that of the region.",
        ),
    ] = None,
    profile: ProfileName = None,
    access_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Log in by this access key, and its secret."),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificates (PEM) to trust instead of the system's."),
    ] = None,
    insecure_http: Annotated[
        bool,
        typer.Option("--insecure-http", help="Allow http to other hosts: all can read it."),
    ] = False,
    json: Json = False,
) -> None:
    """Log in to a service; from then on commands work there, and not on this machine.

    Asks for the password, or takes CSBS_PASSWORD or standard input; with an access key for its
    secret, or CSBS_SECRET_KEY. Kept are a token or the key, never a password.
    """
    from csbs.client.connection import Address  # noqa: PLC0415  see cli.options
    from csbs.client.login import Login, log_in  # noqa: PLC0415  see cli.options
    from csbs.client.profiles import DEFAULT, Profiles  # noqa: PLC0415  see cli.options

    chosen = where(context)
    name = profile or chosen.profile or DEFAULT
    profiles = Profiles.load()
    profiles.require_name(name)
    address = Address(
        url=url.rstrip("/"),
        ca_file=str(ca_file.absolute()) if ca_file else "",
        insecure_http=insecure_http,
    ).checked()
    if access_key:
        secret = _secret("SECRET_KEY", f"Secret of access key {access_key}")
        who = Login(access_key=access_key, secret_key=secret)
    else:
        who = Login(user=user, password=_secret("PASSWORD", f"Password of {user} at {url}"))
    made = log_in(name, address, who, project or chosen.project)
    profiles.with_login(made).save()
    place = f"project {made.project}" if made.project else "no project"
    Output(json).show(_document(made), f"logged in to {made.url} as {made.user}, {place}")


def logout(context: typer.Context, *, profile: ProfileName = None, json: Json = False) -> None:
    """Forget a login, and end its token; commands work on this machine then."""
    from csbs.client.login import log_out  # noqa: PLC0415  see cli.options
    from csbs.client.profiles import DEFAULT, Profiles  # noqa: PLC0415  see cli.options
    from csbs.domain.errors import CsbsError  # noqa: PLC0415  see cli.options

    profiles = Profiles.load()
    found = profiles.find(profile or where(context).profile or profiles.current or DEFAULT)
    profiles.without(found.name).save()
    text = f"logged out of {found.url}"
    try:
        log_out(found)
    except CsbsError as error:  # forgotten is what was asked for
        text += f"; its token could not be ended ({error}) and ends at {found.token_expires_at}"
    Output(json).show({"name": found.name, "url": found.url}, text)


@commands.command("list")
def list_profiles(*, json: Json = False) -> None:
    """List logins; the one in use has a star."""
    from csbs.client.profiles import LOCAL, Profiles  # noqa: PLC0415  see cli.options

    profiles = Profiles.load()
    rows = [("" if profiles.current else "*", LOCAL, "this machine", "", "")]
    rows += [
        (
            "*" if name == profiles.current else "",
            name,
            found.url,
            found.user,
            found.project or "-",
        )
        for name, found in sorted(profiles.by_name.items())
    ]
    document = {
        "current": profiles.current or LOCAL,
        "profiles": [_document(found) for _name, found in sorted(profiles.by_name.items())],
    }
    Output(json).table(document, ("", "NAME", "SERVICE", "USER", "PROJECT"), rows)


@commands.command("use")
def use_profile(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A login, or `local` for this machine.")
    ],
    *,
    json: Json = False,
) -> None:
    """Choose where commands work."""
    from csbs.client.profiles import LOCAL, Profiles  # noqa: PLC0415  see cli.options

    profiles = Profiles.load().using(name)
    profiles.save()
    place = profiles.find(name).url if name != LOCAL else "this machine"
    Output(json).show({"current": name}, f"commands work on {place}")


@commands.command("show")
def show_profile(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A login; else the one in use.")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Show a login, without its secrets."""
    from csbs.client.profiles import LOCAL, chosen_profile  # noqa: PLC0415  see cli.options

    found = chosen_profile(name or where(context).profile)
    if found is None:
        Output(json).show({"name": LOCAL}, "commands work on this machine")
        return
    rows = [
        ("service", found.url),
        ("region", found.region),
        ("user", found.user),
        ("project", found.project or "none"),
        ("login", _how(found)),
    ]
    if found.ca_file:
        rows.append(("trusts", found.ca_file))
    Output(json).show(_document(found), table(("PROFILE", found.name), rows))


def _how(profile: Profile) -> str:
    if profile.access_key:
        return f"access key {profile.access_key}"
    return f"token until {profile.token_expires_at}"


def _document(profile: Profile) -> dict[str, object]:
    return {
        "name": profile.name,
        "url": profile.url,
        "region": profile.region,
        "user": profile.user,
        "project": {"id": profile.project_id, "name": profile.project}
        if profile.project_id
        else None,
        "access_key": profile.access_key or None,
        "token_expires_at": profile.token_expires_at or None,
        "ca_file": profile.ca_file or None,
        "insecure_http": profile.insecure_http,
    }


def _secret(variable: str, question: str) -> str:
    """From the environment, else from a person, else from standard input."""
    from csbs.client.profiles import told  # noqa: PLC0415  see cli.options

    secret = told(variable)
    if secret is not None:
        return secret
    if sys.stdin.isatty():
        return str(typer.prompt(question, hide_input=True, err=True))
    return sys.stdin.readline().rstrip("\n")
