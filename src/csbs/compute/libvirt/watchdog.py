"""A watchdog inside the guest that thaws by itself when nobody else does.

While file systems are frozen the agent starts no program, so it must run before.  It runs in a
unit of its own: a child of the agent would die with it.

    start   it waits; dirty data are written out, so that the freeze itself is short
    arm     its time begins: it thaws `budget_s` after this at the earliest
    finish  it ends, and tells how long a writer had to wait
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from csbs.compute.libvirt.agent import GuestAgent
from csbs.domain.clock import NewId
from csbs.domain.errors import GuestAgentFailed

_START_TIMEOUT_S = 10.0
_CALL_TIMEOUT_S = 5.0
#: A guest that takes longer to hear `arm` might thaw too early: armed again, or not frozen.
_ARM_MARGIN_S = 1.5
_ARM_TRIES = 3
#: So long it looks for a freeze that comes late.
_LIFE_S = 60

_START = """
command -v fsfreeze > /dev/null || {{ echo 'the guest lacks the program fsfreeze' >&2; exit 1; }}
rm -rf /run/csbs-thaw-* && mkdir -m 700 {dir} && cat > {dir}/watchdog << 'CSBS_END'
{script}
CSBS_END
if [ -d /run/systemd/system ]; then
    systemd-run --quiet --collect --unit={unit} /bin/sh {dir}/watchdog {arguments}
else
    setsid /bin/sh {dir}/watchdog {arguments} < /dev/null > /dev/null 2>&1 &
fi
tries=100
until [ -e {dir}/ready ]; do
    tries=$((tries - 1)); [ $tries -gt 0 ] || {{ echo 'the watchdog does not start' >&2; exit 1; }}
    sleep 0.05
done
sync
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchdog:
    """A watchdog that runs in a guest."""

    agent: GuestAgent
    folder: str

    @staticmethod
    def start(agent: GuestAgent, *, budget_s: float, new_id: NewId) -> Watchdog:
        """Starts it; ones that a dead csbs left end.  Raises `GuestAgentFailed`."""
        unit = f"csbs-thaw-{new_id()[:8]}"
        folder = f"/run/{unit}"
        armed_cs = round((budget_s + _ARM_MARGIN_S) * 100)
        agent.run(
            _START.format(
                dir=folder,
                unit=unit,
                script=files(__package__).joinpath("watchdog.sh").read_text(encoding="utf-8"),
                arguments=f"{folder} {armed_cs} {_LIFE_S * 100}",
            ),
            timeout_s=_START_TIMEOUT_S,
        )
        return Watchdog(agent=agent, folder=folder)

    def arm(self) -> None:
        """Begins its time.  Raises `GuestAgentFailed` if the guest is too slow to hear it."""
        for _ in range(_ARM_TRIES):
            began = self.agent.monotonic()
            self.agent.run(f": > {self.folder}/arm", timeout_s=_CALL_TIMEOUT_S)
            if self.agent.monotonic() - began < _ARM_MARGIN_S:
                return
        raise GuestAgentFailed(
            self.agent.server_id,
            f"the guest agent takes longer than {_ARM_MARGIN_S:g} s to start a program",
        )

    def finish(self) -> int | None:
        """Ends it; how long a writer waited at most, in ms, or None where that is not known.

        Raises `GuestAgentFailed`; then it ends by itself.
        """
        script = f"cat {self.folder}/longest 2> /dev/null; rm -rf {self.folder}"
        found = self.agent.run(script, timeout_s=_CALL_TIMEOUT_S).strip()
        return int(found) * 10 if found.isdecimal() else None
