"""Plans of random policies over random backups, against the rules written down once more."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from csbs.domain.backup import BackupState, FailedOperation
from csbs.domain.ids import BackupId, ServerId
from csbs.domain.policy import Retention
from csbs.domain.retention import ExpiryRules, StoredBackup, plan_expiry
from csbs.domain.zones import zone_names, zone_of

NOW = datetime(2028, 3, 1, 12, tzinfo=UTC)
SERVERS = ("a", "b", "c")
PERIODS = {"day": "%Y-%m-%d", "week": "%G-%V", "month": "%Y-%m", "year": "%Y"}


def numbers(most: int) -> st.SearchStrategy[int | None]:
    return st.sampled_from([None, None, 0, 1, 2, 3]) | st.integers(0, most)


@st.composite
def retentions(draw: st.DrawFn) -> Retention:
    in_days = draw(st.booleans())
    return Retention(
        permanent=draw(st.sampled_from([False, False, False, True])),
        max_backups=draw(numbers(30)),
        max_age_days=draw(numbers(1000)) if in_days else None,
        max_age_months=None if in_days else draw(numbers(30)),
        day_backups=draw(numbers(20)),
        week_backups=draw(numbers(20)),
        month_backups=draw(numbers(20)),
        year_backups=draw(numbers(4)),
        timezone=draw(st.sampled_from(sorted(zone_names()))),
    )


@st.composite
def stored(draw: st.DrawFn) -> list[StoredBackup]:
    made = []
    for number in range(draw(st.integers(0, 60))):
        # Close together, or far apart.
        hours = draw(st.sampled_from([4, 30, 3 * 366])) * draw(st.integers(-2, 24))
        made.append(
            StoredBackup(
                server_id=ServerId(draw(st.sampled_from((*SERVERS, "a", "a", "a")))),
                created_at=NOW - timedelta(hours=hours),
                id=BackupId(f"{number:03}"),
                state=draw(st.sampled_from([BackupState.AVAILABLE] * 5 + list(BackupState))),
                auto_trigger=draw(st.sampled_from([True, True, True, False])),
                failed=draw(st.sampled_from([None, *FailedOperation])),
                held=draw(st.sampled_from(["", "", "", "", "an image"])),
            )
        )
    return sorted(made, key=lambda each: (each.server_id, each.created_at, each.id))


def to_keep(rules: ExpiryRules, of_server: list[StoredBackup]) -> set[str]:
    """The rules as the issue has them, for the backups of one server, newest first."""
    said = rules.retention
    server_id = of_server[0].server_id
    if not rules.enabled or server_id not in rules.bound:
        return {each.id for each in of_server}
    idle = [each for each in of_server if each.auto_trigger and not each.held]
    idle = [each for each in idle if each.created_at <= NOW]
    counted = [each for each in idle if each.state == "available"]
    wrong = [each for each in idle if each.state == "error"]
    keep = {each.id for each in of_server} - {each.id for each in counted + wrong}
    keep |= {each.id for each in counted[:1]}
    limits = [said.max_backups, said.max_age_days, said.max_age_months]
    periods = [said.day_backups, said.week_backups, said.month_backups, said.year_backups]
    ever = said.permanent or (limits == [None] * 3 and not any(periods))
    by_rules = {each.id for each in counted} if ever else set()
    by_rules |= {each.id for each in counted[: said.max_backups or 0]}
    by_rules |= {each.id for each in counted if _is_young(said, each)}
    for number, form in zip(periods, PERIODS.values(), strict=True):
        newest: dict[str, BackupId] = {}
        for each in counted:
            local = each.created_at.astimezone(zone_of(said.timezone))
            newest.setdefault(local.strftime(form), each.id)
        by_rules |= {newest[name] for name in list(newest)[: number or 0]}
    failed = [each for each in wrong if each.failed != "delete"]
    month_ago = _months_ago(1, said.timezone)
    keep |= {each.id for each in failed[:10] if each.created_at > month_ago}
    for each in wrong:
        newer = [other for other in counted if other.created_at > each.created_at]
        young = ever or len(newer) < (said.max_backups or 0) or _is_young(said, each)
        if each.failed == "delete" and young:
            keep.add(each.id)
    return keep | by_rules


def _is_young(said: Retention, backup: StoredBackup) -> bool:
    if said.max_age_days is not None:
        return NOW - backup.created_at < timedelta(days=said.max_age_days)
    if said.max_age_months is not None:
        return backup.created_at > _months_ago(said.max_age_months, said.timezone)
    return False


def _months_ago(months: int, timezone: str) -> datetime:
    """`NOW` is a first of March at noon, and in every zone a first or a second."""
    local = NOW.astimezone(zone_of(timezone))
    while months:
        first = local.replace(day=1)
        earlier = first - timedelta(days=1)
        local = earlier.replace(day=local.day)
        months -= 1
    return local.astimezone(UTC)


expiry_rules = st.builds(
    ExpiryRules,
    retention=retentions(),
    enabled=st.sampled_from([True, True, True, False]),
    bound=st.frozensets(st.sampled_from(SERVERS).map(ServerId), min_size=1),
)


@settings(max_examples=300)
@given(expiry_rules, stored())
def test_a_plan_keeps_what_the_rules_keep_and_nothing_else(
    rules: ExpiryRules, backups: list[StoredBackup]
) -> None:
    zone = zone_of(rules.retention.timezone)
    of_servers: dict[str, list[StoredBackup]] = defaultdict(list)
    for each in reversed(backups):
        of_servers[each.server_id].append(each)
    expected = {name for group in of_servers.values() for name in to_keep(rules, group)}

    plan = plan_expiry(rules, backups, NOW, zone)

    kept = {each.backup.id for each in plan.kept()}
    gone = {each.backup.id for each in plan.expired}
    assert kept == expected
    assert gone == {each.id for each in backups} - expected
    assert len(plan.expired) == len(gone)


@given(retentions(), stored(), st.integers(0, 2000))
def test_what_expires_stays_expired_and_a_second_plan_finds_nothing(
    retention: Retention, backups: list[StoredBackup], hours: int
) -> None:
    """Carrying a plan out takes nothing away that another rule needed."""
    rules = ExpiryRules(
        retention=retention, enabled=True, bound=frozenset(ServerId(each) for each in SERVERS)
    )
    zone = zone_of(retention.timezone)
    gone = {each.backup.id for each in plan_expiry(rules, backups, NOW, zone).expired}
    left = [each for each in backups if each.id not in gone]

    assert plan_expiry(rules, left, NOW, zone).expired == ()
    later = plan_expiry(rules, backups, NOW + timedelta(hours=hours), zone).expired
    assert gone <= {each.backup.id for each in later}
