"""The settings of a hub and its engine, typed: a flag overrides the environment, durable.yaml and the default.

Each setting has one key, `concurrency.activities`, and one variable, DURABLE_CONCURRENCY__ACTIVITIES. Values are
checked where they come from, so an error names the file, the variable or the flag. Unknown keys are errors.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, NewType, TypeVar, get_args, get_origin

import msgspec

from durablecli.errors import ConfigError, UsageError
from durablecli.limits import MIB, PAYLOAD_LIMIT
from durablecli.model.suggestions import did_you_mean
from durablecli.parsing import parse_duration, parse_size
from durablecli.project import CONFIG_FILE, DEFAULT_STATE_DIR, WORKFLOWS_DIR, find_project, make_absolute

ENV_PREFIX = "DURABLE_"


SectionT = TypeVar("SectionT", bound="ConfigSection")
NonEmptyText = Annotated[str, msgspec.Meta(min_length=1)]
PositiveInt = Annotated[int, msgspec.Meta(ge=1)]


# A number of bytes, written `16MiB`, `512KiB` or plain. Not a class: msgspec can't encode subclasses of int as JSON.
ByteSize = NewType("ByteSize", int)


class ConfigSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group of settings."""


class ConcurrencyConfig(ConfigSection, frozen=True):
    """How much the engine does at the same time."""

    activities: PositiveInt = 20
    """Synchronous activities that run at the same time, each in a thread."""
    entities: PositiveInt = 50
    """Entities whose operations run at the same time."""
    process_workers: PositiveInt = 2
    """Worker processes for activities with `executor="process"`."""
    async_activities: PositiveInt = 1000
    """`async def` activities that run at the same time on the event loop."""
    live_instances: PositiveInt = 10_000
    """Instances whose generator stays in memory between turns. The least recently used one is evicted, and replayed
    when it is needed again. While activities of half as many instances are queued or running, new starts wait on disk;
    those of a batch wait sooner."""


class CheckpointConfig(ConfigSection, frozen=True):
    """When a checkpoint is made: it syncs the histories and deletes the journal segments that they cover."""

    bytes: ByteSize = ByteSize(16 * MIB)
    """The size of the journal that starts a checkpoint."""
    every: timedelta = timedelta(seconds=10)
    """The age of the oldest commit that starts a checkpoint."""


class LimitsConfig(ConfigSection, frozen=True):
    """Sizes that are rejected, or warned about."""

    payload: ByteSize = ByteSize(PAYLOAD_LIMIT)
    """The largest input, result, event or state, as JSON."""
    history_warning: PositiveInt = 10_000
    """The number of records in one history after which the engine logs a warning."""
    sub_orchestration_depth: PositiveInt = 1_000
    """How deep sub-orchestrations may nest. A deeper one fails when it starts."""


class HttpKeysConfig(ConfigSection, frozen=True):
    """The keys of the HTTP server."""

    function: NonEmptyText | None = None
    """Gives access to the HTTP functions of the app."""
    system: NonEmptyText | None = None
    """Gives access to the HTTP functions of the app and to the management API."""
    master: NonEmptyText | None = None
    """Gives access to everything, including functions with the authorization level `admin`."""


class HttpConfig(ConfigSection, frozen=True):
    """The HTTP server. It is off unless `listen` is set. Any address but loopback requires a key."""

    listen: NonEmptyText | PositiveInt | None = None
    """Where the server listens: `7071` or `127.0.0.1:7071`. Without it there is no server."""
    allowed_hosts: tuple[NonEmptyText, ...] = ()
    """Accepted `Host` headers besides those of the address that the server listens on."""
    allowed_origins: tuple[NonEmptyText, ...] = ()
    """Origins whose pages may call the HTTP functions of the app from a browser: `http://localhost:3000`, or `*`."""
    allow_credentials: bool = False
    """Whether browsers may send cookies and `Authorization` from the allowed origins."""
    route_prefix: str = "api"
    """The first part of the path of the app's HTTP functions."""
    body_limit: ByteSize = ByteSize(16 * MIB)
    """The largest request body."""
    header_timeout: timedelta = timedelta(seconds=10)
    """How long a client may take to send the headers."""
    body_timeout: timedelta = timedelta(seconds=30)
    """How long a client may take to send the body."""
    keep_alive: timedelta = timedelta(seconds=60)
    """How long an idle connection stays open."""
    keys: HttpKeysConfig = HttpKeysConfig()


class LogConfig(ConfigSection, frozen=True):
    """The log of the engine."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is logged."""


class CallHttpConfig(ConfigSection, frozen=True):
    """The requests of `context.call_http`."""

    poll: timedelta = timedelta(seconds=30)
    """The interval between polls after a 202 response without `Retry-After`."""
    timeout: timedelta = timedelta(seconds=100)
    """How long one HTTP request may take."""


class Config(ConfigSection, frozen=True):
    """All settings. `app` is relative to `base`; modules of the app may import packages in the folder `project`.

    `load_config` makes `base`, `state_dir` and `project` absolute, so they stay valid if code changes the folder."""

    app: tuple[NonEmptyText, ...] = ()
    """Folders, files and dotted modules with functions. Default: `workflows`, if there is such a folder."""
    state_dir: NonEmptyText = DEFAULT_STATE_DIR
    """The folder of the hub."""
    default_version: str | None = None
    """The version of instances that are started without one."""
    version_match: Literal["none", "strict", "current_or_older"] = "none"
    """The instances that the engine works on: all (`none`), those of exactly `default_version` (`strict`), or those of
    this version and lower ones (`current_or_older`)."""
    version_failure: Literal["block", "fail"] = "block"
    """An instance whose version does not match waits for matching code (`block`) or fails (`fail`)."""
    on_nondeterminism: Literal["block", "fail"] = "block"
    """An instance whose code does not match its history waits for matching code (`block`) or fails (`fail`)."""
    replay_always: bool = False
    """Whether each turn replays the history from its beginning. For tests: it finds non-determinism early."""
    drain: timedelta = timedelta(seconds=10)
    """How long running activities may continue when the engine stops."""
    concurrency: ConcurrencyConfig = ConcurrencyConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    limits: LimitsConfig = LimitsConfig()
    call_http: CallHttpConfig = CallHttpConfig()
    http: HttpConfig = HttpConfig()
    log: LogConfig = LogConfig()
    base: str = "."
    project: str = "."


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
    return _build_section(Config, "", settings | {"project": project})


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
    for key, value in tree.items():
        inner_path = f"{path}.{key}"
        if key not in fields:
            raise ConfigError(f"{source}: ${inner_path}: unknown key{did_you_mean(str(key), fields)}")
        kind = fields[key]
        if _is_section(kind):
            yield from _iter_settings(source, kind, inner_path, {} if value is None else value)
        else:
            yield inner_path[1:], _convert_value(f"{source}: ${inner_path}", kind, value, strict=True)


def _from_env(env: Mapping[str, str]) -> dict[str, object]:
    kinds = {_env_name(key): (key, kind) for key, kind in _iter_keys(Config, "")}
    sections = tuple(f"{ENV_PREFIX}{name.upper()}__" for name, kind in _fields(Config).items() if _is_section(kind))
    settings: dict[str, object] = {}
    for name, text in env.items():
        if name in kinds and text:
            key, kind = kinds[name]
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


# Keys, types and values.


def _fields(section: type[ConfigSection]) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(section) if field.name not in _DERIVED_FIELDS}


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, ConfigSection)


def _iter_keys(section: type[ConfigSection], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, kind in _fields(section).items():
        if _is_section(kind):
            yield from _iter_keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, kind


def _env_name(key: str) -> str:
    return ENV_PREFIX + key.upper().replace(".", "__")


def _convert_value(where: str, kind: Any, value: object, *, strict: bool) -> object:
    try:
        if kind is timedelta:
            return _convert_duration(value)
        if kind is ByteSize:
            return _convert_size(value)
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        if get_origin(kind) is Literal:
            raise ConfigError(f"{where}: {value!r} is not one of {', '.join(get_args(kind))}") from None
        raise ConfigError(f"{where}: {_lower_first(str(error).replace('`', ''))}") from None
    except UsageError as error:
        raise ConfigError(f"{where}: {error}") from None


def _convert_duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"expected a duration as 10s or 1h30m, got {type(value).__name__}")
    return parse_duration(str(value))


def _convert_size(value: object) -> ByteSize:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise UsageError(f"expected a size as 16MiB, got {type(value).__name__}")
    size = parse_size(str(value))
    if not 1 <= size <= PAYLOAD_LIMIT:
        # A record is one line of the journal, and a line has to fit into one write.
        raise UsageError(f"{value} is out of range; use 1 byte to 16MiB")
    return ByteSize(size)


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
