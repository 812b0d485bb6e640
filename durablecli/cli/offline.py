"""The mailbox of verbs that take effect at once, also where no daemon runs: they need no user code."""

from __future__ import annotations

from collections.abc import Sequence

from durablecli.cli.options import settings
from durablecli.client import Client, MessageItem, Receipt


class Mending:
    """Posts to the engine that runs, or, if none does, opens the hub and does what is asked in this process."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        from durablecli.daemon import act

        return act(self._state_dir, kind, items)


def mending_client(state_dir: str | None) -> Client:
    """A client whose terminate, suspend, resume and purge don't wait for a daemon."""
    root = state_dir or settings().state_dir
    return Client(root, Mending(root))
