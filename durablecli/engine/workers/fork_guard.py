"""Keeps children that an activity forks, as multiprocessing does, from acting as the engine.

A forked child inherits the engine's signal handlers, its descriptors, and the thread that forked it. With the handlers
it would ignore SIGTERM; with the descriptors it would keep a port bound, or a worker waiting; and if it returned from
the activity, its thread would run the next one.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from durablecli.engine.workers.activity import ActivityResult
from durablecli.engine.workers.entity_batch import EntityBatchResult

_child_actions: dict[object, Callable[[], object]] = {}


def register_child_action(action: Callable[[], object]) -> Callable[[], None]:
    """Run `action` in each child that is forked from now on, until the returned function is called."""
    key = object()
    _child_actions[key] = action

    def unregister() -> None:
        _child_actions.pop(key, None)

    return unregister


@contextmanager
def child_action(action: Callable[[], object]) -> Iterator[None]:
    """Run `action` in each child that is forked within the context."""
    unregister = register_child_action(action)
    try:
        yield
    finally:
        unregister()


def exit_if_forked(engine_pid: int, result: ActivityResult | EntityBatchResult) -> None:
    """End this process if it isn't the engine, but a forked child that has returned from the activity."""
    if os.getpid() != engine_pid:
        os._exit(1 if isinstance(result, ActivityResult) and result.failure is not None else 0)


_HANDLED_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})
_thread_state = threading.local()


def _block_signals() -> None:
    """Block signals until the child has its own handlers: an earlier one would call the engine's."""
    if _child_actions:
        _thread_state.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED_SIGNALS)


def _restore_mask() -> None:
    mask = getattr(_thread_state, "mask", None)
    if mask is not None:
        _thread_state.mask = None
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _run_child_actions() -> None:
    for action in list(_child_actions.values()):
        with suppress(Exception):  # the child is the author's, and continues whatever happens here
            action()
    _child_actions.clear()
    _restore_mask()


os.register_at_fork(before=_block_signals, after_in_parent=_restore_mask, after_in_child=_run_child_actions)
