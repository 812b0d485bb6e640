"""Opens the client of the hub that a command is about: a hub in files, or that of another engine."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:  # only named: a verb imports the client when it has parsed its arguments
    from durablecli.client import Client, HubClient
    from durablecli.config import Config


class HubChoice(NamedTuple):
    """The options `--state-dir` and `--engine` of a command. At most one is given."""

    state_dir: str | None = None
    engine: str | None = None

    def load_settings(self, app: tuple[str, ...] = ()) -> Config:
        """Load the settings, with the engine of the hub that is meant: none if the folder of a hub is given.

        Raises UsageError if both options are given.
        """
        from msgspec.structs import replace

        self._check()
        config = load_settings(self.state_dir, app, self.engine)
        return config if self.state_dir is None else replace(config, engine=None)

    def _check(self) -> None:
        from durablecli.errors import UsageError

        if self.state_dir is not None and self.engine is not None:
            raise UsageError("--state-dir and --engine exclude each other: give only one of them")


def load_settings(state_dir: str | None = None, app: tuple[str, ...] = (), engine: str | None = None) -> Config:
    """Load the settings: flags first, then the environment, durable.yaml, and the files of an Azure app."""
    from durablecli.apps.settings import load_settings

    overrides: dict[str, Any] = {"state_dir": state_dir, "engine": engine}
    if app:
        overrides["app"] = list(app)
    return load_settings(overrides)


def open_client(hub: HubChoice) -> HubClient:
    """Return a client of the hub that the flags, the environment or durable.yaml name."""
    if hub.state_dir and hub.engine is None:
        return _open_folder(hub.state_dir)  # also if durable.yaml is invalid
    return open_configured_client(hub.load_settings())


def open_configured_client(config: Config, *, check_names: bool = True) -> HubClient:
    """Return a client of the hub that the settings name.

    With `check_names` a hub in files refuses the names of functions that its running engine doesn't know.
    """
    if config.engine is not None:
        from durablecli.dts.channel import check_packages

        check_packages()
        from durablecli.dts.engine_client import open_engine_client

        client = open_engine_client(config.engine)
        click.get_current_context().call_on_close(client.close)
        return client
    return _open_folder(config.state_dir, check_names=check_names)


def open_local_client(state_dir: str | None) -> Client:
    """Return a client of a hub in files. Raises UsageError if the settings name another engine."""
    if state_dir:
        return _open_folder(state_dir)
    config = load_settings()
    refuse_engine(config)
    return _open_folder(config.state_dir)


def refuse_engine(config: Config) -> None:
    """Raise UsageError if the settings name another engine, for a command that needs a hub in files."""
    from durablecli.errors import UsageError

    if config.engine is not None:
        command = click.get_current_context().command_path
        raise UsageError(
            f"{command} is only for a hub in files, and the settings name another engine; "
            "--state-dir DIR names the folder of a hub"
        )


def lacks_engine(client: HubClient) -> bool:
    """Whether no engine runs for a hub in files. The workers of another engine aren't known."""
    return not client.is_foreign and not client.engine().alive


def _open_folder(root: str, *, check_names: bool = True) -> Client:
    from durablecli.client import Client

    return Client(root, on_create=_report_created, check_names=check_names)


def _report_created(root: str) -> None:
    from durablecli.cli.output import echo

    with suppress(OSError):  # if stderr can't be written, the verb still runs
        echo(f"created the hub {root}")
