"""An activity's view of its own call: which one it is, and whether it is to stop."""

from __future__ import annotations

import logging
from collections.abc import Callable


class Cancellation:
    """Whether a call is to stop; set once, from any thread.

    `dropped`: nobody waits for its outcome any more, and it need not begin. `seen`: its function has read that it is
    to stop. `wake` ends what it awaits, where that is known.
    """

    __slots__ = ("abandoned", "interrupt", "observed", "requested")

    def __init__(self) -> None:
        self.requested = False
        self.abandoned = False
        self.observed = False
        self.interrupt: Callable[[], object] | None = None

    def request(self) -> None:
        """Let the function see that it is to stop, as the engine stops. Its outcome counts, unless it has seen that."""
        self.requested = True

    def abandon(self) -> None:
        """Stop it: its outcome counts no more."""
        self.requested = self.abandoned = True
        if self.interrupt is not None:
            self.interrupt()

    def check(self) -> bool:
        """Whether the function is to stop; it knows from now on."""
        self.observed = self.observed or self.requested
        return self.requested

    @property
    def result_counts(self) -> bool:
        """Whether an outcome would be recorded. One that has seen it may have stopped half-way."""
        return not (self.abandoned or self.observed)


class ActivityContext:
    """What an activity may ask about its own call, as its second parameter.

    `attempt` counts the tries of a retry policy from 1; `redelivered` says that an earlier engine may have begun this
    very attempt. `idempotency_key` is the same for all attempts and redeliveries of one call: give it to whatever must
    not happen twice.

    `cancelled` turns true when the orchestration has ended, was terminated or has continued as new, and when the engine
    begins to stop. An activity that has read it as true may return or raise what it likes: that is not recorded, and if
    the orchestration still needs the activity, the next engine runs it again.
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
        self.logger = logging.getLogger(f"durablecli.activity.{name}")

    @property
    def cancelled(self) -> bool:
        return self._cancellation.check()
