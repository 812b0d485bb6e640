"""The context of an activity call: its identity, and whether it should stop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from durablecli.model.reported_heartbeat import ReportedHeartbeat, make_heartbeat
from durablecli.model.reported_progress import ReportedProgress, make_progress

ENGINE_STOPS = "the engine stops"
"""The reason why a call is asked to stop when its engine does."""


class Timer(Protocol):
    """The time-outs of a call: see `deadlines.py`."""

    heartbeat_timeout: float | None

    def begin(self, call: Any) -> None: ...
    def suspend(self) -> bool: ...
    def settle(self) -> bool: ...
    def beat(self) -> None: ...


class Cancellation:
    """What a running call shares with the engine: whether it should stop, set once and from any thread.

    `abandoned` says that its result doesn't count any more, and that it need not start; `timed_out` that its result is
    its time-out. `reason` says why it should stop. `observed` says that its function has read that it should.
    `interrupt`, if set, ends what it awaits. `timer` watches its time-outs, if it has any. `progress` and `heartbeat`
    are what the function has reported last; `on_report`, if set, is called after each report.
    """

    requested = False
    abandoned = False
    timed_out = False
    observed = False
    reason: str | None = None
    interrupt: Callable[[], object] | None = None
    timer: Timer | None = None
    progress: ReportedProgress | None = None
    heartbeat: ReportedHeartbeat | None = None
    on_report: Callable[[], object] | None = None

    def request(self, reason: str = ENGINE_STOPS) -> None:
        """Ask the function to stop. Its result counts unless it has observed that."""
        self.reason = self.reason or reason
        self.requested = True

    def abandon(self, reason: str = "cancelled") -> None:
        """Stop the call; its result doesn't count any more."""
        if not self.abandoned:
            self.abandoned = True
            self._stop(reason)

    def expire(self, reason: str) -> None:
        """Stop the call: it has timed out."""
        self.timed_out = True
        self._stop(self.reason or reason if self.abandoned else reason)

    def _stop(self, reason: str) -> None:
        self.reason = reason
        self.requested = True
        if self.interrupt is not None:
            self.interrupt()

    def settle(self) -> bool:
        """Note that the function has ended. False if the call has timed out before: then its result is to be
        dropped."""
        return self.timer is None or self.timer.settle()

    def check(self) -> bool:
        """Return whether the function should stop, and note that it has observed that."""
        self.observed = self.observed or self.requested
        return self.requested

    def report_progress(self, progress: ReportedProgress) -> None:
        """Take what the function reports."""
        self.progress = progress
        if self.on_report is not None:
            self.on_report()

    def report_heartbeat(self, heartbeat: ReportedHeartbeat) -> None:
        """Take a sign of life of the function."""
        self.heartbeat = heartbeat
        if self.timer is not None:
            self.timer.beat()
        if self.on_report is not None:
            self.on_report()

    @property
    def result_counts(self) -> bool:
        """Whether a result would be recorded. A call that has observed the request may have stopped half-way."""
        return not self.abandoned and (self.timed_out or not self.observed)


class ActivityContext:
    """The context of an activity call, passed as the second parameter.

    `attempt` counts the attempts of a retry policy from 1; `redelivered` says that an earlier engine may have started
    this attempt before. `idempotency_key` is the same for all attempts and redeliveries of one call: pass it to any
    service that must not act twice.

    `cancelled` becomes true when the orchestration has ended, was terminated or has continued as new, when it cancels
    the call, when the call has timed out, and when the engine starts to stop; `cancel_reason` says which. Once an
    activity has read it as true, its result is not recorded; if the orchestration still needs it, the next engine runs
    it again.
    """

    def __init__(
        self,
        instance_id: str,
        task_id: int,
        name: str,
        attempt: int,
        redelivered: bool,
        idempotency_key: str,
        cancellation: Cancellation,
    ) -> None:
        self.instance_id = instance_id
        self.task_id = task_id
        self.name = name
        self.attempt = attempt
        self.redelivered = redelivered
        self.idempotency_key = idempotency_key
        self._cancellation = cancellation

    @property
    def logger(self) -> logging.Logger:
        return logging.getLogger(f"durablecli.activity.{self.name}")

    @property
    def cancelled(self) -> bool:
        return self._cancellation.check()

    @property
    def cancel_reason(self) -> str | None:
        """Why the activity should stop, such as `timed out: ran longer than 30 s` or `terminated: out of stock`.

        None while it should not. Reading it counts as reading `cancelled`.
        """
        return self._cancellation.reason if self._cancellation.check() else None

    def heartbeat(self, details: Any = None) -> None:
        """Give a sign of life, for the `heartbeat_timeout` of the activity; the status shows it, with the details.

        `details` are any JSON value of at most 2 KiB. It is never recorded, and costs little: call it as often as is
        convenient, from any thread.
        """
        self._cancellation.report_heartbeat(make_heartbeat(details, datetime.now(UTC)))

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Report how much is done, of `total` if that is known. The status shows it within seconds, while it runs.

        It is never recorded, and costs little: call it as often as is convenient, from any thread.
        """
        self._cancellation.report_progress(make_progress(done, total, message, datetime.now(UTC)))
