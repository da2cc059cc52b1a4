"""Events in words: one sentence each, in English and Chinese."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from csbs.domain.events import Event, EventKind
from csbs.domain.notification import Language

#: A mail has so many sentences at most, and says how many events it leaves out.
SENTENCES_MAX = 100
_MESSAGE_SIZE_MAX = 300

_Facts = Mapping[str, Any]
_Text = Callable[[str, _Facts], str]

_TASKS_ZH = {"backup": "备份", "restore": "恢复", "deletion": "删除备份"}


def _task(server: str, facts: _Facts) -> str:
    return f"The {facts['task_kind']} of server {server} failed: {_short(facts['message'])}"


def _task_zh(server: str, facts: _Facts) -> str:
    kind = _TASKS_ZH.get(facts["task_kind"], facts["task_kind"])
    return f"服务器 {server} 的{kind}任务失败:{_short(facts['message'])}"


def _broken(server: str, facts: _Facts) -> str:
    newest = _newest(facts)
    has = f"The newest backup of server {server} is of {newest}"
    return (
        f"{has if newest else f'Server {server} has no backup'}: policy {facts['policy_name']} "
        f"promises one that is at most {_hours(facts)} hours old"
    )


def _broken_zh(server: str, facts: _Facts) -> str:
    newest = _newest(facts)
    has = f"最近一次可恢复的备份时间为 {newest}" if newest else "尚无可恢复的备份"
    return f"服务器 {server} {has},超过策略 {facts['policy_name']} 承诺的 {_hours(facts)} 小时(RPO)"


def _mended(server: str, facts: _Facts) -> str:
    if facts["why"] == "no_promise":
        return f"No policy promises backups of server {server} any more; the last was broken"
    return f"Server {server} has a backup again that is as new as {facts['policy_name']} promises"


def _mended_zh(server: str, facts: _Facts) -> str:
    if facts["why"] == "no_promise":
        return f"服务器 {server} 已不受任何启用的策略保护,此前的 RPO 告警结束"
    return f"服务器 {server} 的备份已恢复到策略 {facts['policy_name']} 承诺的 RPO 之内"


def _untracked(server: str, facts: _Facts) -> str:
    return (
        f"The changes of server {server} were not known for two backups in a row, which read more "
        f"than what changed ({_disks(facts)})"
    )


def _untracked_zh(server: str, facts: _Facts) -> str:
    return f"服务器 {server} 连续两次备份未能使用变更跟踪,读取了全部数据({_disks(facts)})"


def _audit(server: str, facts: _Facts) -> str:
    return (
        f"Change tracking of server {server} missed a write; all was read and compared "
        f"({_targets(facts)})"
    )


def _audit_zh(server: str, facts: _Facts) -> str:
    return f"服务器 {server} 的变更跟踪遗漏了写入,已改为全盘比对({_targets(facts)})"


def _collection(_server: str, facts: _Facts) -> str:
    return f"Space of deleted backups has not been freed for {facts['days']} days"


def _collection_zh(_server: str, facts: _Facts) -> str:
    return f"已删除备份的空间回收 {facts['days']} 天未完成"


def _trial(_server: str, _facts: _Facts) -> str:
    return "This is a test: events of this project are sent here"


def _trial_zh(_server: str, _facts: _Facts) -> str:
    return "这是一条测试消息:本项目的事件将发送到这里"


_TEXTS: dict[EventKind, tuple[_Text, _Text]] = {
    EventKind.TASK_FAILED: (_task, _task_zh),
    EventKind.RPO_BROKEN: (_broken, _broken_zh),
    EventKind.RPO_MENDED: (_mended, _mended_zh),
    EventKind.RUN_UNTRACKED: (_untracked, _untracked_zh),
    EventKind.AUDIT_MISMATCH: (_audit, _audit_zh),
    EventKind.COLLECTION_LATE: (_collection, _collection_zh),
    EventKind.TEST: (_trial, _trial_zh),
}


def sentence(event: Event, language: Language) -> str:
    """What happened, in one line."""
    english, chinese = _TEXTS[event.kind]
    name = "" if event.server is None else event.server.name
    told = (chinese if language is Language.CHINESE else english)(name, event.facts)
    return " ".join(told.split())


def mail_of(events: Sequence[Event], project: str, language: Language) -> tuple[str, str]:
    """Subject and text of a mail with these events, oldest first."""
    assert events, "an empty mail tells nothing"
    first = sentence(events[0], language)
    more = len(events) - 1
    lines = [f"{each.at:%Y-%m-%d %H:%M} UTC  {sentence(each, language)}" for each in events]
    left_out = len(lines) - SENTENCES_MAX
    if language is Language.CHINESE:
        subject = f"[csbs] {first}" + (f"(另有 {more} 条)" if more else "")
        tail = [f"另有 {left_out} 条未列出。"] if left_out > 0 else []
        end = f"项目 {project}。查看全部事件:csbs event list"
    else:
        subject = f"[csbs] {first}" + (f" (and {more} more)" if more else "")
        tail = [f"{left_out} more are not listed."] if left_out > 0 else []
        end = f"Project {project}. All events: csbs event list"
    return subject, "\n".join([*lines[:SENTENCES_MAX], *tail, "", "-- ", end, ""])


def _short(message: str) -> str:
    return message if len(message) <= _MESSAGE_SIZE_MAX else message[:_MESSAGE_SIZE_MAX] + "..."


def _newest(facts: _Facts) -> str:
    """When it was, as the time of the event stands in a mail; empty: there is none."""
    newest = facts["newest_backup_at"]
    return f"{datetime.fromisoformat(newest):%Y-%m-%d %H:%M} UTC" if newest else ""


def _hours(facts: _Facts) -> str:
    return f"{facts['promise_s'] / 3600:.1f}".removesuffix(".0")


def _disks(facts: _Facts) -> str:
    return "; ".join(f"{each['target']}: {each['reason']}" for each in facts["disks"])


def _targets(facts: _Facts) -> str:
    return ", ".join(each["target"] for each in facts["disks"])
