"""The mailbox of the verbs that take effect at once even if no daemon runs, because they need no user code."""

from __future__ import annotations

from collections.abc import Sequence

from durablecli.cli.clients import HubChoice, load_settings, open_client, refuse_engine
from durablecli.client import Client, HubClient, MessageItem, Receipt


class OfflineMailbox:
    """Posts to the running engine; if none runs, opens the hub and executes the message in this process."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        from durablecli.daemon.offline_engine import execute_offline

        return execute_offline(self._state_dir, kind, items)


def open_offline_client(hub: HubChoice) -> HubClient:
    """Return a client whose terminate, suspend, resume and purge need no daemon if the hub is in files."""
    if hub.state_dir and hub.engine is None:
        return _open_folder(hub.state_dir)
    config = hub.load_settings()
    return _open_folder(config.state_dir) if config.engine is None else open_client(hub)


def open_local_offline_client(state_dir: str | None) -> Client:
    """Return a client of a hub in files, whose delete needs no daemon. Raises UsageError as `open_local_client`."""
    if state_dir:
        return _open_folder(state_dir)
    config = load_settings()
    refuse_engine(config)
    return _open_folder(config.state_dir)


def _open_folder(root: str) -> Client:
    return Client(root, OfflineMailbox(root))
