"""The input of `run` and `start`: the option `--param`, its fields in the help of an orchestrator, and its check."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from durablecli.cli.clients import HubChoice, open_configured_client
from durablecli.cli.input_values import INPUT_HELP, read_value
from durablecli.cli.output import echo
from durablecli.errors import DurableError, InvalidInput, UsageError

if TYPE_CHECKING:  # only named: a verb imports what it needs when it has parsed its arguments
    from msgspec import Raw

    from durablecli.config import Config
    from durablecli.inputs.input_check import InputRules


class FieldParam(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """`FIELD=VALUE`; the shell completes the fields of the orchestrator that is named before it."""

    name = "field"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        from durablecli.inputs.field_texts import split_pair

        if isinstance(value, tuple):
            return value
        try:
            return split_pair(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from durablecli.inputs.input_fields import list_fields

        rules = _find_for_completion(ctx)
        if rules is None:
            return []
        name, equals, text = incomplete.partition("=")
        fields = list_fields(rules.schema)
        if equals:
            values = [each for one in fields if one.path == name for each in _list_values(one.schema)]
            return [CompletionItem(f"{name}={each}") for each in values if each.startswith(text)]
        return [
            CompletionItem(f"{each.path}=", help=" ".join(filter(None, (each.type, each.description))))
            for each in fields
            if each.path.startswith(incomplete)
        ]


def _list_values(schema: dict[str, Any]) -> list[str]:
    if schema.get("type") == "boolean":
        return ["true", "false"]
    return [each if isinstance(each, str) else str(each) for each in schema.get("enum", ())]


def _find_for_completion(ctx: click.Context) -> InputRules | None:
    """Return the rules that the last engine has published, else those of the modules; None if there are none."""
    given = read_arguments(ctx, complete=False)
    if not isinstance(name := given.get("name"), str):
        return None
    try:
        config = HubChoice(given.get("state_dir"), given.get("engine")).load_settings(tuple(given.get("app") or ()))
        return find_rules(config, name)
    except (DurableError, OSError, SystemExit):
        return None  # completion must not print errors


class GivenInput(NamedTuple):
    """The options `--input` and `--param`."""

    text: str | None = None
    params: tuple[tuple[str, str], ...] = ()

    @property
    def is_given(self) -> bool:
        """Whether there is either."""
        return self.text is not None or bool(self.params)


def input_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--input` and `--param`; the function receives them as one `given`."""

    @wraps(function)
    def command(text: str | None, params: tuple[tuple[str, str], ...], **options: Any) -> Any:
        return function(given=GivenInput(text, params), **options)

    decorate = click.option(
        "-p",
        "--param",
        "params",
        type=FieldParam(),
        multiple=True,
        metavar="FIELD=VALUE",
        help="A field of the input, such as -p city=Wien or -p address.city=Wien; repeatable. It replaces that of "
        "--input.",
    )
    return click.option("--input", "text", metavar="JSON|@FILE|-", help=f"Input: {INPUT_HELP}.")(decorate(command))


def make_input(name: str, given: GivenInput, rules: InputRules | None, *, checks: bool = True) -> Raw | None:
    """Return the input that the options give, checked by the rules of the orchestrator; None if there is none.

    Raises InvalidInput.
    """
    from durablecli.inputs.field_texts import build_input
    from durablecli.inputs.input_fields import find_ignored_field
    from durablecli.model.payloads import decode

    value = None if given.text is None else read_value(given.text)
    if given.params:
        value = build_input(name, {} if rules is None else rules.schema, given.params, value)
        return value if rules is None or not checks else rules.complete(value)
    if rules is None or not checks:
        return value
    if value is None:
        return rules.complete(None)
    rules.check(value)
    if line := find_ignored_field(name, rules.schema, decode(value)):
        echo(line)
    return value


def check_batch(path: str, inputs: dict[int, Raw], rules: InputRules | None) -> None:
    """Raise InvalidInput, with the number of the line, for the first input that the orchestrator can't take."""
    if rules is None:
        return
    for number, value in inputs.items():
        try:
            rules.check(value)
        except InvalidInput as error:
            raise UsageError(f"{path}, line {number}: {error}") from None


def find_rules(config: Config, name: str, *, prefers_code: bool = False) -> InputRules | None:
    """Return what is known of the input of an orchestrator; None if it declares none. Raises NotFound.

    A running engine has published it; else, or with `prefers_code`, the modules are loaded.
    """
    client = open_configured_client(config)
    published = None if client.is_foreign or prefers_code else client.published()
    if published is not None and client.engine().alive and published.has_orchestrator(name):
        return published.input_rules(name)
    from durablecli.cli.app_loading import load_app
    from durablecli.client import unknown_orchestrator_error

    registry = load_app(config).registry
    function = registry.find_orchestrator(name)
    if function is None:
        raise unknown_orchestrator_error(name, (each.name for each in registry.functions_of_kind("orchestrator")))
    return function.input_rules


class StartingCommand(click.Command):
    """A command that starts an orchestration: with its name, the help shows the fields of its input."""

    prefers_code = False

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        given = read_arguments(ctx)
        if isinstance(name := given.get("name"), str):
            self._write_input(name, given, formatter)

    def _write_input(self, name: str, given: dict[str, Any], formatter: click.HelpFormatter) -> None:
        try:
            config = HubChoice(given.get("state_dir"), given.get("engine")).load_settings(tuple(given.get("app") or ()))
            rules = find_rules(config, name, prefers_code=self.prefers_code)
        except (DurableError, OSError) as error:
            write_section(formatter, f"Input of {name}", f"Not known: {error}.")
            return
        write_input(formatter, name, rules)


class RunningCommand(StartingCommand):
    """A command that loads the code of the orchestration itself."""

    prefers_code = True


_ARGUMENTS = "durablecli.arguments"


def read_arguments(ctx: click.Context, *, complete: bool = True) -> dict[str, Any]:
    """Return the arguments of a command, also those after `--help`; none if they can't be parsed.

    Unless they are `complete`, the last one may be an option that lacks its value.
    """
    given = list(ctx.meta.get(_ARGUMENTS, ()))
    if not complete and given and given[-1].startswith("-"):
        given.pop()
    with suppress(click.UsageError):
        options, _, _ = ctx.command.make_parser(ctx).parse_args(given)
        return dict(options)
    return {}


def write_input(formatter: click.HelpFormatter, name: str, rules: InputRules | None) -> None:
    """Write the section of the help that describes the input of an orchestrator."""
    from durablecli.inputs.input_fields import describe_constrained, find_object, list_fields

    if rules is None:
        write_section(formatter, f"Input of {name}", "Any JSON value: the orchestrator declares no type.")
        return
    fields, place = list_fields(rules.schema), find_object(rules.schema, rules.schema)
    kind = describe_constrained(rules.schema, rules.schema)
    text = str(place.get("description", ""))
    if not fields:
        write_section(formatter, f"Input of {name}", ": ".join(filter(None, (kind, text))))
        return
    with formatter.section(f"Input of {rules.name}"):
        if text:
            _write_paragraph(formatter, text)
        notes = [
            "required" if each.is_required else f"Default: {each.default}." if each.default else "" for each in fields
        ]
        formatter.write_dl(
            [
                (f"{each.path}  {each.type}", "  ".join(filter(None, (each.description, _bracket(note)))) or " ")
                for each, note in zip(fields, notes, strict=True)
            ]
        )


def _bracket(note: str) -> str:
    return f"[{note}]" if note == "required" else note


def write_section(formatter: click.HelpFormatter, title: str, text: str) -> None:
    """Write a section of the help that is one text."""
    with formatter.section(title):
        _write_paragraph(formatter, text)


def _write_paragraph(formatter: click.HelpFormatter, text: str) -> None:
    indent = " " * formatter.current_indent
    formatter.write(f"{click.wrap_text(text, formatter.width, indent, indent)}\n")
