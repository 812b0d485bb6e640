"""Warns about remote work that waits because no connected worker runs it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from durablecli.engine.remote_queues import OfferedWork
from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.escape import escape
from durablecli.plurals import format_count

_CHECK_INTERVAL = 1.0
_WARN_AFTER = 5.0
"""Seconds for which work waits before a warning: a worker that is being restarted comes again."""
_REPEAT_INTERVAL = 300.0
_MAX_NAMED = 5
_KINDS = ("orchestrator", "activity", "entity")

_Function = tuple[int, str, str | None]


class WorkerWarnings:
    """Looks once a second for functions that no connected worker runs."""

    def __init__(self, echo: Callable[[str], None], clock: Callable[[], float] = monotonic) -> None:
        self._echo = echo
        self._clock = clock
        self._checked_at = clock()
        self._since: dict[_Function, float] = {}
        self._warned_at: dict[_Function, float] = {}

    def check(self, pool: RemoteWorkPool) -> None:
        """Print one line about the functions that something has waited for, each again only after some minutes."""
        now = self._clock()
        if now - self._checked_at < _CHECK_INTERVAL:
            return
        self._checked_at = now
        functions = [_identify(item) for item in pool.list_unserved()]
        self._since = {each: self._since.get(each, now) for each in functions}
        self._warned_at = {each: at for each, at in self._warned_at.items() if now - at < _REPEAT_INTERVAL}
        due = [
            each for each, since in self._since.items() if now - since >= _WARN_AFTER and each not in self._warned_at
        ]
        if not due:
            return
        self._warned_at |= dict.fromkeys(due, now)
        more = f" and {len(due) - _MAX_NAMED:,} more" if len(due) > _MAX_NAMED else ""
        workers = len(pool.list_workers())
        connected = format_count(workers, "worker") if workers else "no worker"
        named = ", ".join(map(_describe, due[:_MAX_NAMED]))
        self._echo(f"waiting for a worker that runs {named}{more} ({connected} connected)")


def _identify(item: OfferedWork) -> _Function:
    return item.kind, item.name, item.version


def _describe(function: _Function) -> str:
    kind, name, version = function
    return f"{_KINDS[kind]} '{escape(name)}'" + (f", version {escape(version)}" if version else "")
