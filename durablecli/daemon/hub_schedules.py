"""The schedules of a daemon: taken from the loaded app, and passed on to the hub."""

from __future__ import annotations

from durablecli.apps.declared_schedules import collect_schedules
from durablecli.apps.modules import LoadedApp
from durablecli.builtin.schedule_entity import DeclaredSchedules
from durablecli.config import Config
from durablecli.store.disk import LocalDisk
from durablecli.store.hub import Hub
from durablecli.store.inbox.inbox import Inbox


class HubSchedules:
    """Keeps the schedules of a hub in line with the app.

    Make it before the engine opens, so that a due time that is long past meets what the app declares now, and call
    `update_hub` after that. Once code was loaded again, call `declare` and `update_hub`.
    """

    def __init__(self, hub: Hub, config: Config, loaded: LoadedApp) -> None:
        self.declared = DeclaredSchedules()
        self._hub = hub
        self._config = config
        self.declare(loaded)

    def declare(self, loaded: LoadedApp) -> None:
        """Take the schedules of the app."""
        self._declarations = collect_schedules(loaded.registry, self._config)
        self._is_complete = all(module.error is None for module in loaded.modules)
        self.declared.set(self._declarations.specs, is_complete=self._is_complete)

    def update_hub(self) -> None:
        """Send the hub what has changed, through the inbox."""
        from durablecli.builtin import schedule_starts  # few apps need it

        if not self._declarations.schedules and not schedule_starts.may_have_schedules(self._hub):
            return
        from durablecli.client import Client  # slow to import

        inbox = Inbox(LocalDisk(), self._hub.root)
        schedule_starts.ensure_schedules(
            self._declarations, Client(self._hub.root), inbox, is_complete=self._is_complete
        )
