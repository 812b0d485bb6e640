"""Build step: fills the pages on the command line and the configuration from the code that they describe."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from datetime import timedelta
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
import msgspec

from durablecli.cli import durable
from durablecli.config import sections as settings
from durablecli.config.loading import ENV_PREFIX
from durablecli.limits import MIB

COMMANDS = "<!-- generated: commands -->"
SETTINGS = "<!-- generated: settings -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the markers of a page."""
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, "\n".join(command_reference()))
    if SETTINGS in markdown:
        markdown = markdown.replace(SETTINGS, "\n".join(setting_reference()))
    return markdown


# Commands


def command_reference() -> Iterator[str]:
    """Yield the Markdown lines for every command, subcommands included."""
    yield from _commands(durable, click.Context(durable, info_name="durable"), level=2)


def _commands(group: click.Group, context: click.Context, level: int) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        inner = click.Context(command, info_name=name, parent=context)
        yield from _command(command, inner, level)
        if isinstance(command, click.Group):
            yield from _commands(command, inner, level + 1)


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from (f"{'#' * level} {context.command_path}", "", "```text", usage, "```", "")
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield from (" ".join(paragraph.removeprefix("\b").split()), "")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and "--help" not in record[0]:
            yield from (f"`{record[0]}`", f":   {' '.join(record[1].split())}", "")
    if command.epilog:
        yield from (" ".join(command.epilog.split()), "")


# Settings


def setting_reference() -> Iterator[str]:
    """Yield the Markdown lines for every setting, section by section."""
    for prefix, shape in _sections(settings.Config, ""):
        if prefix:
            yield from (f"### {prefix}", "", inspect.cleandoc(shape.__doc__ or ""), "")
        texts = _field_docstrings(shape)
        for field in msgspec.structs.fields(shape):
            if not _is_section(field.type) and field.name not in ("base", "project"):
                key = f"{prefix}.{field.name}" if prefix else field.name
                yield from _setting(key, field, texts[field.name])


def _sections(shape: type[msgspec.Struct], prefix: str) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    yield prefix, shape
    seen = set()
    for field in msgspec.structs.fields(shape):
        key = f"{prefix}.{field.name}" if prefix else field.name
        if _is_section(field.type):
            yield from _sections(field.type, key)
        elif _is_list_of_sections(field.type) and get_args(field.type)[0] not in seen:
            seen.add(get_args(field.type)[0])  # the same shape in several lists is described once
            yield f"{key}[]", get_args(field.type)[0]


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, settings.ConfigSection)


def _is_list_of_sections(kind: object) -> bool:
    return get_origin(kind) is tuple and _is_section(get_args(kind)[0])


def _setting(key: str, field: msgspec.structs.FieldInfo, text: str) -> Iterator[str]:
    variable = ENV_PREFIX + key.upper().replace(".", "__")
    is_mapping = get_origin(field.type) is dict
    in_file_only = is_mapping or "[]" in key or _is_list_of_sections(field.type)
    kind = "mapping" if is_mapping else _kind(field.type)
    if in_file_only:
        kind = kind.removesuffix(" (a variable separates its items with commas)")
    facts = f"{kind}, default {_default(field)}{'' if in_file_only else f'; `{variable}`'}"
    yield from (f"`{key}`", f":   {' '.join(text.split())}<br>", f"    <small>{facts}</small>", "")


def _field_docstrings(shape: type) -> dict[str, str]:
    """Return the docstring below each field of a class."""
    (definition,) = ast.parse(inspect.getsource(shape)).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            assert isinstance(text.value, ast.Constant)
            texts[field.target.id] = inspect.cleandoc(str(text.value.value))
    return texts


def _kind(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return _kind(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(dict.fromkeys(_kind(each) for each in get_args(kind) if each is not NoneType))
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f"`{word}`" for word in get_args(kind))
    if get_origin(kind) is dict:
        return "mapping"
    if _is_list_of_sections(kind):
        return "list of mappings"
    if get_origin(kind) is tuple:
        return "list (a variable separates its items with commas)"
    words = {str: "text", int: "number", bool: "`true` or `false`", timedelta: "duration"}
    words |= dict.fromkeys((settings.ByteSize, settings.MessageSize), "size")
    return words[kind]


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    match value:
        case None:
            return "none"
        case msgspec.NODEFAULT:
            return "empty"
        case True | False:
            return f"`{str(value).lower()}`"
        case () | {}:
            return "empty"
        case timedelta():
            return f"`{value.total_seconds():g}s`"
        case int() if field.type is settings.ByteSize:
            return f"`{value // MIB}MiB`"
        case _:
            return f"`{value}`"
