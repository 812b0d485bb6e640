"""What ends a turn from outside of user code. No `except Exception` can swallow one."""

from __future__ import annotations

from durablecli.model import events as ev


class NonDeterminism(BaseException):
    """The code decides otherwise than the history. A BaseException, so that no `except Exception` swallows it."""

    def __init__(self, record: ev.Record | None, now: ev.Event | None, line: str) -> None:
        where = f" at record {record.n}" if record else ", which ends here"
        super().__init__(
            f"the code decides otherwise than the history{where}\n"
            f"history  {describe(record.event) if record else 'nothing more'}\n"
            f"now      {describe(now) if now else 'nothing more'} ({line})"
        )


class Runaway(BaseException):
    """One turn decided more than anybody can mean."""


class Sealed(BaseException):
    """The machine is being dropped: its function may clean up, but decides and says nothing any more."""


def describe(event: ev.Event) -> str:
    """A decision as the non-determinism error shows it: kind and name."""
    name = getattr(event, "name", None)
    return f"{type(event).__name__} {name}" if name else type(event).__name__
