"""Children that an activity forks, as multiprocessing does: they must not act as the engine.

A forked child inherits the engine's signal handlers, its descriptors, and the thread that forked it. With the handlers
it would ignore SIGTERM; with the descriptors it would keep a port taken, or a worker waiting; and if it returned from
the activity, its thread would go on to the next one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from durablecli.engine.activity import Outcome
from durablecli.engine.operations import BatchOutcome

_actions: dict[object, Callable[[], object]] = {}


def in_children(action: Callable[[], object]) -> Callable[[], None]:
    """Have `action` done in every child that is forked from now on, until what is returned is called."""
    key = object()
    _actions[key] = action

    def forget() -> None:
        _actions.pop(key, None)

    return forget


@contextmanager
def doing_in_children(action: Callable[[], object]) -> Iterator[None]:
    """The same for as long as the context lasts."""
    forget = in_children(action)
    try:
        yield
    finally:
        forget()


def end_child_of(engine: int, outcome: Outcome | BatchOutcome) -> None:
    """End this process if it is not `engine`: a child that has returned from what it was forked in."""
    if os.getpid() != engine:
        os._exit(1 if isinstance(outcome, Outcome) and outcome.failure is not None else 0)


def _become_child() -> None:
    for action in list(_actions.values()):
        with suppress(Exception):  # the child is the author's: it goes on whatever happens here
            action()
    _actions.clear()


os.register_at_fork(after_in_child=_become_child)
