"""Executes a message that needs no user code: in this process if no engine is running."""

from __future__ import annotations

from collections.abc import Sequence

from durablecli.daemon.assembly import log_warning
from durablecli.engine.engine import Engine
from durablecli.errors import HubLocked
from durablecli.project import make_absolute
from durablecli.store.disk import LocalDisk
from durablecli.store.hub import close_hub, open_hub
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem, Receipt

_STEP_WAIT = 0.1


def execute_offline(state_dir: str, kind: str, items: Sequence[MessageItem]) -> Receipt:
    """Execute a message in this process, or post it if an engine is running."""
    state_dir = make_absolute(state_dir)
    try:
        hub = open_hub(state_dir, timeout=0.0)
    except HubLocked:
        return Inbox(LocalDisk(), state_dir).post(kind, items)
    engine = Engine(hub, None, echo=log_warning)
    try:
        engine.process_inbox()
        submission = engine.submit(kind, items)
        while not submission.done.is_set():
            engine.step(_STEP_WAIT)
        engine.flush()
        hub.spill_writer.remove(hub.spill_writer.take_removable())
    finally:
        try:
            engine.close()
        finally:
            close_hub(hub, clean=False)  # the next engine reads the journal, and so completes turns that were cut off
    return Receipt(submission.message.message, [item.instance for item in items])
