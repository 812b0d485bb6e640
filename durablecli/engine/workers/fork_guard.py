"""Children that an activity forks, as multiprocessing does: they must not act as the engine.

A forked child inherits the engine's signal handlers, its descriptors, and the thread that forked it. With the handlers
it would ignore SIGTERM; with the descriptors it would keep a port taken, or a worker waiting; and if it returned from
the activity, its thread would go on to the next one.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from durablecli.engine.workers.activity import Outcome
from durablecli.engine.workers.entity_batch import BatchOutcome

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


_HANDLED = frozenset({signal.SIGINT, signal.SIGTERM})
_thread = threading.local()


def _before() -> None:
    """Hold back signals until the child has its own handlers: one that came sooner would meet the engine's."""
    if _actions:
        _thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)


def _restore_mask() -> None:
    mask = getattr(_thread, "mask", None)
    if mask is not None:
        _thread.mask = None
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _become_child() -> None:
    for action in list(_actions.values()):
        with suppress(Exception):  # the child is the author's: it goes on whatever happens here
            action()
    _actions.clear()
    _restore_mask()


os.register_at_fork(before=_before, after_in_parent=_restore_mask, after_in_child=_become_child)
