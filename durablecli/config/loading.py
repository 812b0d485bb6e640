"""Reads the settings: a flag overrides the environment, durable.yaml and the default.

Each setting has one key, `concurrency.activities`, and one variable, DURABLE_CONCURRENCY__ACTIVITIES. Values are
checked where they come from, so an error names the file, the variable or the flag. Unknown keys are errors.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from durablecli.config.sections import ByteSize, Config, ConfigSection, MessageSize, SpillSize
from durablecli.errors import ConfigError, UsageError
from durablecli.limits import MIB, PAYLOAD_LIMIT
from durablecli.model.suggestions import did_you_mean
from durablecli.model.time_spans import parse_duration
from durablecli.parsing import parse_size
from durablecli.plurals import format_count
from durablecli.project import CONFIG_FILE, DEFAULT_STATE_DIR, WORKFLOWS_DIR, find_project, make_absolute

ENV_PREFIX = "DURABLE_"
SectionT = TypeVar("SectionT", bound=ConfigSection)
_MAX_MESSAGE_SIZE = 1024 * MIB
_MISSING = re.compile("Object missing required field (.*)")
_UNKNOWN = re.compile("Object contains unknown field (.*)")
_DERIVED_FIELDS = frozenset({"base", "project"})


def load_config(
    path: str | None = None,
    env: Mapping[str, str] = os.environ,
    overrides: Mapping[str, object] | None = None,
    defaults: Mapping[str, object] | None = None,
) -> Config:
    """Read the settings. `overrides` are flags by key (`state_dir`, `concurrency.activities`); None means not given.

    `defaults` are typed values by key, used if nothing else sets them. Without `path`, the file is that of the project
    in the current folder or above it: see `find_project`. Raises ConfigError, in one line.
    """
    folder = find_project() if path is None else os.path.dirname(path)
    project = make_absolute(folder)
    settings = (
        _default_app(project)
        | dict(defaults or {})
        | _from_file(path or os.path.normpath(os.path.join(folder, CONFIG_FILE)), required=path is not None)
        | _from_env(env)
        | _from_flags(overrides or {})
    )
    for key in ("base", "state_dir"):
        settings[key] = make_absolute(os.path.join(project, str(settings.get(key, DEFAULT_STATE_DIR))))
    config = _build_section(Config, "", settings | {"project": project})
    _check_schedules(CONFIG_FILE, config)
    return config


def config_from_mapping(tree: Mapping[str, object]) -> Config:
    """Make the settings of a mapping as in durable.yaml; nothing else is read. Raises ConfigError.

    Relative paths are relative to the current folder.
    """
    here = make_absolute(os.curdir)
    settings = _resolve_paths(dict(_iter_settings("config", Config, "", dict(tree))))
    paths = {"base": here, "state_dir": make_absolute(DEFAULT_STATE_DIR), "project": here}
    config = _build_section(Config, "", paths | settings)
    _check_schedules("config", config)
    return config


def import_folder(config: Config) -> str | None:
    """Return the folder whose packages the app's modules may import; None if it is in the state directory."""
    inside = f"{config.project}{os.sep}".startswith(f"{config.state_dir}{os.sep}")
    return None if inside else config.project


# The sources of settings: each gives typed values by key. `base` comes from the source of `app`.


def _default_app(folder: str) -> dict[str, object]:
    has_workflows = os.path.isdir(os.path.join(folder, WORKFLOWS_DIR))
    return {"app": (WORKFLOWS_DIR,) if has_workflows else (), "base": folder}


def _from_file(name: str, *, required: bool) -> dict[str, object]:
    try:
        with open(name, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        if not required:
            return {}
        raise ConfigError(f"{name}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from None
    tree = _parse_yaml(name, data)
    return dict(_iter_settings(name, Config, "", {} if tree is None else tree))


def _parse_yaml(name: str, data: bytes) -> object:
    import yaml  # takes 20 ms, and is needed for a file only

    try:
        return yaml.safe_load(data)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{name}: {line}{error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: not YAML: {' '.join(str(error).split())}") from None


def _iter_settings(source: str, section: type[ConfigSection], path: str, tree: object) -> Iterator[tuple[str, object]]:
    """Yield the settings of a YAML tree. Raises ConfigError, with the path, for an unknown key."""
    if not isinstance(tree, dict):
        raise ConfigError(f"{source}: ${path}: expected a mapping, got {type(tree).__name__}")
    fields = _fields(section)
    for written, value in tree.items():
        key = "on" if written is True else written  # YAML 1.1 reads the word `on` as true
        inner_path = f"{path}.{key}"
        if key not in fields:
            raise ConfigError(f"{source}: ${inner_path}: unknown key{did_you_mean(str(key), fields)}")
        kind = fields[key]
        if _is_section(kind):
            yield from _iter_settings(source, kind, inner_path, {} if value is None else value)
        elif (item_kind := _item_section(kind)) is not None:
            yield inner_path[1:], _convert_items(source, item_kind, inner_path, value)
        else:
            yield inner_path[1:], _convert_value(f"{source}: ${inner_path}", kind, value, strict=True)


def _from_env(env: Mapping[str, str]) -> dict[str, object]:
    kinds = {_env_name(key): (key, kind) for key, kind in _iter_keys(Config, "")}
    sections = tuple(f"{ENV_PREFIX}{name.upper()}__" for name, kind in _fields(Config).items() if _is_section(kind))
    settings: dict[str, object] = {}
    for name, text in env.items():
        if name in kinds and text:
            key, kind = kinds[name]
            if get_origin(kind) is dict:
                raise ConfigError(f"{name}: {key} is a mapping: set it in {CONFIG_FILE}")
            value = [part for part in text.split(",") if part] if get_origin(kind) is tuple else text
            settings[key] = _convert_value(name, kind, value, strict=False)
        elif name not in kinds and name.startswith(sections):
            # Other unknown variables, such as DURABLE_TASK_…, may belong to other programs.
            raise ConfigError(f"{name}: unknown setting{did_you_mean(name, kinds)}")
    return _resolve_paths(settings)


def _from_flags(overrides: Mapping[str, object]) -> dict[str, object]:
    kinds = dict(_iter_keys(Config, ""))
    given = {key: value for key, value in overrides.items() if value is not None}
    return _resolve_paths(
        {
            key: _convert_value(f"--{key.replace('_', '-')}", kinds[key], value, strict=False)
            for key, value in given.items()
        }
    )


def _resolve_paths(settings: dict[str, object]) -> dict[str, object]:
    """Resolve `app` and `state_dir` of a variable or a flag, which are relative to the current folder."""
    if "state_dir" in settings:
        settings["state_dir"] = make_absolute(str(settings["state_dir"]))
    return settings | {"base": make_absolute(os.curdir)} if "app" in settings else settings


def _check_schedules(source: str, config: Config) -> None:
    if not config.schedules:
        return
    from durablecli.scheduling.checks import check_schedule  # needed where there are some only

    for name, one in config.schedules.items():
        try:
            check_schedule(name, one.schedule, one.timezone, one.overlap, one.input)
        except ValueError as error:
            raise ConfigError(f"{source}: $.schedules.{name}: {error}") from None


# Keys, types and values.


def _fields(section: type[ConfigSection]) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(section) if field.name not in _DERIVED_FIELDS}


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, ConfigSection)


def _item_section(kind: object) -> type[ConfigSection] | None:
    """The section that a list consists of; None if it is a list of plain values, or none."""
    item = get_args(kind)[0] if get_origin(kind) is tuple else None
    return item if isinstance(item, type) and issubclass(item, ConfigSection) else None


def _convert_items(source: str, kind: type[ConfigSection], path: str, value: object) -> tuple[ConfigSection, ...]:
    """Convert a list of mappings."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ConfigError(f"{source}: ${path}: expected a list of mappings, got {type(value).__name__}")
    items: list[ConfigSection] = []
    for index, tree in enumerate(value):
        item_path = f"{path}[{index}]"
        settings = dict(_iter_settings(source, kind, item_path, tree))
        try:
            items.append(_build_section(kind, f"{item_path[1:]}.", settings))
        except ValueError as error:
            raise ConfigError(f"{source}: ${item_path}: {error}") from None
    return tuple(items)


def _iter_keys(section: type[ConfigSection], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, kind in _fields(section).items():
        if _is_section(kind):
            yield from _iter_keys(kind, f"{prefix}{name}.")
        elif _item_section(kind) is None:  # a list of mappings can be written in the file only
            yield prefix + name, kind


def _env_name(key: str) -> str:
    return ENV_PREFIX + key.upper().replace(".", "__")


def _convert_value(where: str, kind: Any, value: object, *, strict: bool) -> object:
    try:
        if kind == timedelta | None and value is None:
            return None
        if kind in (timedelta, timedelta | None):
            return _convert_duration(value)
        if kind is ByteSize:
            return ByteSize(_convert_size(value, PAYLOAD_LIMIT))  # a record is one line, and has to fit into one write
        if kind is SpillSize:
            return SpillSize(_convert_size(value, PAYLOAD_LIMIT, lowest=0))
        if kind is MessageSize:
            return MessageSize(_convert_size(value, _MAX_MESSAGE_SIZE))
        if get_origin(kind) is dict and isinstance(value, dict):
            item_kind = get_args(kind)[1]
            return {
                key: _convert_value(f"{where}.{key}", item_kind, item, strict=strict) for key, item in value.items()
            }
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        if get_origin(kind) is Literal:
            raise ConfigError(f"{where}: {value!r} is not one of {', '.join(get_args(kind))}") from None
        raise ConfigError(_explain_mismatch(where, kind, value, str(error).replace("`", ""))) from None
    except UsageError as error:
        raise ConfigError(f"{where}: {error}") from None


def _explain_mismatch(where: str, kind: Any, value: object, reason: str) -> str:
    """Put a mismatch in the words of YAML, with the whole path of the value that is wrong."""
    reason, _, inner = reason.partition(" - at $")
    path = f"{where}{inner}"
    if missing := _MISSING.match(reason):
        return f"{path}: missing key '{missing[1]}'"
    if unknown := _UNKNOWN.match(reason):
        known = [field.name for field in msgspec.structs.fields(kind)] if not inner and _is_struct(kind) else []
        return f"{path}.{unknown[1]}: unknown key{did_you_mean(unknown[1], known)}"
    if reason.startswith("Expected array") and isinstance(value, str) and not inner:
        return f"{path}: expected a list, such as [{value}], got str"
    for word, meant in (("array", "list"), ("object", "mapping")):
        reason = reason.replace(f"Expected {word}", f"expected a {meant}").replace(f"got {word}", f"got {meant}")
    return f"{path}: {_lower_first(reason)}"


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _convert_duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"expected a duration as 10s or 1h30m, got {type(value).__name__}")
    return parse_duration(str(value))


def _convert_size(value: object, limit: int, lowest: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise UsageError(f"expected a size as 16MiB, got {type(value).__name__}")
    size = parse_size(str(value))
    if not lowest <= size <= limit:
        raise UsageError(f"{value} is out of range; use {format_count(lowest, 'byte')} to {limit // MIB}MiB")
    return size


def _build_section(section: type[SectionT], prefix: str, settings: Mapping[str, object]) -> SectionT:
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(section):
        key = prefix + field.name
        if _is_section(field.type):
            given[field.name] = _build_section(field.type, key + ".", settings)
        elif key in settings:
            given[field.name] = settings[key]
    return section(**given)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
