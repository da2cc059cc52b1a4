"""The use cases of a service, as commands ask for them (`cli.ports`)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from csbs.cli import ports
from csbs.client.errors import ProjectNeeded
from csbs.client.events import RemoteNotifications
from csbs.client.login import connected, find_project
from csbs.client.policies import RemotePolicies
from csbs.client.profiles import Profile, told
from csbs.client.project import (
    ProjectCalls,
    RemoteBackups,
    RemoteQuotas,
    RemoteRepository,
    RemoteRestores,
    RemoteServers,
    RemoteTasks,
)
from csbs.client.region import RemoteKeys, RemoteProjects, RemoteTrail, RemoteUsers


@contextmanager
def remote_project(profile: Profile, project: str | None) -> Iterator[ports.Project]:
    """The use cases of a project there.  Raises `ProjectNeeded`, `ProjectUnknown`."""
    with connected(profile, ask_password) as connection:
        project_id = profile.project_id
        if project is not None and project not in {profile.project, project_id}:
            project_id = find_project(connection, project).id
        if not project_id:
            raise ProjectNeeded(profile.url)
        calls = ProjectCalls(connection=connection, project_id=project_id)
        yield ports.Project(
            servers=RemoteServers(calls),
            backups=RemoteBackups(calls),
            restores=RemoteRestores(calls),
            tasks=RemoteTasks(calls),
            repository=RemoteRepository(calls),
            quotas=RemoteQuotas(calls),
            policies=RemotePolicies(calls),
            notifications=RemoteNotifications(calls),
        )


@contextmanager
def remote_region(profile: Profile) -> Iterator[ports.Region]:
    """Those of the region there."""
    with connected(profile, ask_password) as connection:
        yield ports.Region(
            users=RemoteUsers(connection),
            projects=RemoteProjects(connection),
            keys=RemoteKeys(connection),
            trail=RemoteTrail(connection),
        )


def ask_password(user: str, url: str) -> str | None:
    """The password, from the environment or a person; None: there is nobody to ask."""
    password = told("PASSWORD")
    if password is not None:
        return password
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return str(typer.prompt(f"Password of {user} at {url}", hide_input=True, err=True))
