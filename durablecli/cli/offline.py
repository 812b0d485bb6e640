"""The mailbox of the verbs that take effect at once even if no daemon runs, because they need no user code."""

from __future__ import annotations

from collections.abc import Sequence

from durablecli.cli.options import load_settings
from durablecli.client import Client, MessageItem, Receipt


class OfflineMailbox:
    """Posts to the running engine; if none runs, opens the hub and executes the message in this process."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        from durablecli.daemon.offline_engine import execute_offline

        return execute_offline(self._state_dir, kind, items)


def open_offline_client(state_dir: str | None) -> Client:
    """Return a client whose terminate, suspend, resume, delete and purge need no daemon."""
    root = state_dir or load_settings().state_dir
    return Client(root, OfflineMailbox(root))
