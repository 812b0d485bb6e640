"""The mailbox of verbs that take effect at once, also where no daemon runs: they need no user code."""

from __future__ import annotations

from collections.abc import Sequence

from durablecli.cli.options import load_settings
from durablecli.client import Client, MessageItem, Receipt


class OfflineMailbox:
    """Posts to the engine that runs, or, if none does, opens the hub and does what is asked in this process."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        from durablecli.daemon.offline_engine import execute_offline

        return execute_offline(self._state_dir, kind, items)


def open_offline_client(state_dir: str | None) -> Client:
    """A client whose terminate, suspend, resume and purge don't wait for a daemon."""
    root = state_dir or load_settings().state_dir
    return Client(root, OfflineMailbox(root))
