"""A command group that imports the module of a verb when the verb is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from durablecli.model.suggestions import find_closest

_SYNONYMS = {"ls": "list", "ps": "list", "show": "status"}
"""Names that other tools have for a verb, where no verb has that name."""
_HUB_OPTIONS = frozenset({"--state-dir", "--engine", "-o", "--output"})
"""Options of verbs that may also stand before the verb; each takes a value."""


class LazyGroup(click.Group):
    """A group of verbs, each given with one line of help; the modules of the verbs are in `package`."""

    def __init__(self, *arguments: Any, verbs: Mapping[str, str], package: str, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.verbs = verbs
        self.package = package

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._normalize(args))

    def _normalize(self, args: list[str]) -> list[str]:
        """Turn `help VERB` into `VERB --help`, and move options that stand before the verb behind it."""
        moved, rest = _split_leading_options(args)
        first, others = (rest[0], rest[1:]) if rest else ("", [])
        if first in self.verbs or not first:
            return [first, *moved, *others] if first else [*moved]
        if first == "help":
            return [*others, "--help"]
        if first == "version" and any("--version" in each.opts for each in self.params):
            return ["--version"]
        synonym = _SYNONYMS.get(first, first)
        return [synonym if synonym in self.verbs else first, *moved, *others]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.verbs and not name.startswith("-"):
            near = find_closest(name, self.verbs)
            hint = f". Did you mean '{ctx.command_path} {near}'?" if near else ""
            ctx.fail(f"No such command '{name}'{hint}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.verbs:
            return None
        module = import_module(f"{self.package}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        verbs = [CompletionItem(verb, help=text) for verb, text in self.verbs.items() if verb.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*self.verbs.items()])


def _split_leading_options(args: list[str]) -> tuple[list[str], list[str]]:
    """Split the options of verbs that stand at the beginning, with their values, from the rest."""
    at = 0
    while at < len(args) and args[at].partition("=")[0] in _HUB_OPTIONS:
        at += 1 if "=" in args[at] else 2
    return args[:at], args[at:]
