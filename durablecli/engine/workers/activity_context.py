"""The context of an activity call: its identity, and whether it should stop."""

from __future__ import annotations

import logging
from collections.abc import Callable


class Cancellation:
    """Whether a call should stop; set once, from any thread.

    `abandoned` says that its result doesn't count any more, and that it need not start. `observed` says that its
    function has read that it should stop. `interrupt`, if set, ends what it awaits.
    """

    requested = False
    abandoned = False
    observed = False
    interrupt: Callable[[], object] | None = None

    def request(self) -> None:
        """Ask the function to stop, because the engine stops. Its result counts unless it has observed that."""
        self.requested = True

    def abandon(self) -> None:
        """Stop the call; its result doesn't count any more."""
        self.requested = self.abandoned = True
        if self.interrupt is not None:
            self.interrupt()

    def check(self) -> bool:
        """Return whether the function should stop, and note that it has observed that."""
        self.observed = self.observed or self.requested
        return self.requested

    @property
    def result_counts(self) -> bool:
        """Whether a result would be recorded. A call that has observed the request may have stopped half-way."""
        return not (self.abandoned or self.observed)


class ActivityContext:
    """The context of an activity call, passed as the second parameter.

    `attempt` counts the attempts of a retry policy from 1; `redelivered` says that an earlier engine may have started
    this attempt before. `idempotency_key` is the same for all attempts and redeliveries of one call: pass it to any
    service that must not act twice.

    `cancelled` becomes true when the orchestration has ended, was terminated or has continued as new, and when the
    engine starts to stop. Once an activity has read it as true, its result is not recorded; if the orchestration still
    needs it, the next engine runs it again.
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
