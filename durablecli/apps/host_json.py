"""What the files of an app's folder say: host.json, and local.settings.json beside it.

Both may hold comments, as Azure's tools let them. A setting of host.json can be overridden by the environment, or by
local.settings.json, as `AzureFunctionsJobHost__extensions__durableTask__hubName`. What has no meaning here is named in
one line.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from durablecli.config import Config, load
from durablecli.errors import ConfigError
from durablecli.project import find_project

HUB = "TestHubName"
PORT = 7071
PREFIX = "AzureFunctionsJobHost__"
_STORAGE = "azurestorage"

_CODE = "function_app.py"
_FUNCTION = "function.json"
_comment = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_comma = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])')
_setting = re.compile(r"%([^%\s]+)%")
_is_hub_name = re.compile(r"[A-Za-z][A-Za-z0-9]{2,44}").fullmatch
_is_free_hub_name = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?").fullmatch
_imports_azure = re.compile(
    rb"^[ \t]*(?:from|import)[ \t]+azure\b[^\n]*\b(?:durable_)?functions\b", re.MULTILINE
).search

# Where a setting of host.json goes; what is true of every hub of ours needs no word.
_SETTINGS = {
    "extensions.durabletask.defaultversion": "default_version",
    "extensions.durabletask.versionfailurestrategy": "version_failure",
    "extensions.durabletask.versionmatchstrategy": "version_match",
    "extensions.durabletask.maxconcurrentactivityfunctions": "concurrency.activities",
    "extensions.durabletask.maxconcurrententityfunctions": "concurrency.entities",
}
_UNDERSTOOD = {
    "version",
    "extensions.durabletask.hubname",
    "extensions.durabletask.httpsettings.defaultasyncrequestsleeptimemilliseconds",
    "extensions.http.routeprefix",
}
_WORDS = {
    "version_match": {"none": "none", "strict": "strict", "currentorolder": "current_or_older"},
    "version_failure": {"reject": "block", "fail": "fail"},
}
_SECTIONS = {"extensions", "extensions.durabletask", "extensions.http", "extensions.durabletask.httpsettings"}


@dataclass(frozen=True)
class Host:
    """The settings of an app. `settings` are those of durablecli by key, `values` go into the environment."""

    folder: str
    hub_name: str = HUB
    settings: Mapping[str, Any] = field(default_factory=dict)
    route_prefix: str = "api"
    port: int | None = None
    poll: timedelta | None = None
    origins: tuple[str, ...] = ()
    credentials: bool = False
    values: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @property
    def state_dir(self) -> str:
        """The state directory of the app's hub."""
        return os.path.normpath(os.path.join(self.folder, ".state", self.hub_name))

    @property
    def remark(self) -> str | None:
        """One line about what host.json says and nobody does here."""
        return f"host.json: nothing is done here about {', '.join(self.ignored)}" if self.ignored else None


def is_app(folder: str) -> bool:
    """Whether a folder holds an app of Azure's."""
    return os.path.isfile(os.path.join(folder, "host.json")) or os.path.isfile(os.path.join(folder, _CODE))


def app_folder(config: Config) -> str | None:
    """The folder of the app, if the settings name one of Azure's, or one file of it. Raises ConfigError if they name
    more beside a folder."""
    paths = [os.path.normpath(os.path.join(config.base, target)) for target in config.app]
    found = [path for path in paths if is_app(path)]
    if found and len(paths) > 1:
        raise ConfigError(f"app: {found[0]} is an app of Azure's, which is loaded alone: name nothing beside it")
    return found[0] if found else folder_of_file(paths)


def folder_of_file(paths: Sequence[str]) -> str | None:
    """The folder of the only path, if that is a file that imports Azure's packages."""
    if len(paths) != 1 or not paths[0].endswith(".py"):
        return None
    return (os.path.dirname(paths[0]) or os.curdir) if _uses_azure(paths[0]) else None


def is_whole(path: str) -> bool:
    """Whether a file stands for the app in its folder."""
    return os.path.basename(path) == _CODE


def _uses_azure(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return is_whole(path) or _imports_azure(file.read()) is not None
    except OSError:
        return False


def settings(overrides: Mapping[str, object] | None = None) -> Config:
    """All settings: what durablecli is told beats what the files of the app say. Raises ConfigError."""
    defaults: dict[str, object] = {"app": (os.curdir,)} if is_app(find_project()) else {}
    config = load(overrides=overrides, defaults=defaults)
    folder = app_folder(config)
    if folder is None:
        return config
    host = read(folder)
    defaults |= {**host.settings, "http.listen": host.port or PORT}
    if is_app(folder):  # else the hub is where every verb looks for it that names no app
        defaults["state_dir"] = host.state_dir
    defaults["http.route_prefix"] = host.route_prefix
    if host.origins:
        defaults |= {"http.allowed_origins": host.origins, "http.allow_credentials": host.credentials}
    if host.poll is not None:
        defaults["call_http.poll"] = host.poll
    return load(overrides=overrides, defaults=defaults)


def function_files(folder: str) -> Iterator[tuple[str, str]]:
    """The functions of the older layout: a name, and the path of its function.json."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = os.path.join(entry.path, _FUNCTION)
        if entry.is_dir() and os.path.isfile(path):
            yield entry.name, path


def read(folder: str, env: Mapping[str, str] = os.environ) -> Host:
    """What the folder's files say. Raises ConfigError."""
    local = _read_json(os.path.join(folder, "local.settings.json"))
    values = {str(name): _text(value) for name, value in _mapping(local, "values").items() if value is not None}
    known = values | dict(env)
    file = os.path.join(folder, "host.json")
    found = _flat("", _read_json(file), "") | _overrides(known)
    settings = {key: _resolved(found[path][1], known) for path, key in _SETTINGS.items() if path in found}
    poll = found.get("extensions.durabletask.httpsettings.defaultasyncrequestsleeptimemilliseconds")
    return Host(
        folder,
        _hub_name(file, found.get("extensions.durabletask.hubname"), known, _provider(found, known)),
        {"version_match": "current_or_older"} | {key: _value(file, key, value) for key, value in settings.items()},
        str(found.get("extensions.http.routeprefix", ("", "api"))[1]).strip("/"),
        _port(_mapping(local, "host")),
        None if poll is None else timedelta(milliseconds=_number(file, poll[0], poll[1], most=86_400_000)),
        _origins(_mapping(local, "host")),
        _is_true(_setting_of(_mapping(local, "host"), "corscredentials")),
        values,
        tuple(dict.fromkeys(name for path, (name, _) in found.items() if path not in _UNDERSTOOD | {*_SETTINGS})),
    )


def disabled_by(name: str, definition: Mapping[str, Any], env: Mapping[str, str] = os.environ) -> str | None:
    """What disables a function: a setting `AzureWebJobs.NAME.Disabled`, or `disabled` of its function.json.

    Where periods can't be in a setting, it may have underscores; `disabled` may name a setting, too."""
    known = {key.lower(): value for key, value in env.items()}
    for separator in (".", "_", "__", ":"):
        setting = f"AzureWebJobs{separator}{name}{separator}Disabled"
        if _is_true(known.get(setting.lower())):
            return setting
    told = definition.get("disabled")
    if _is_true(told) or (isinstance(told, str) and _is_true(known.get(told.strip("%").lower()))):
        return "function.json"
    return None


def _is_true(value: object) -> bool:
    return str(value).strip().lower() in ("true", "1")


def resolve(text: str, env: Mapping[str, str] = os.environ) -> str:
    """A text with each `%SETTING%` in it replaced. Raises ConfigError if a setting isn't there."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in env:
            raise ConfigError(f"%{found[1]}% has no value: set it in the environment or in local.settings.json")
        return env[found[1]]

    return _setting.sub(value, text)


def read_json(path: str) -> Any:
    """The content of a file of JSON with comments. Raises ConfigError."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
        text = _comment.sub(lambda found: found[1] or " ", text)
        return json.loads(_comma.sub(lambda found: found[1] or "", text))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: no JSON: {error}") from None


def _read_json(path: str) -> dict[str, Any]:
    if not os.path.exists(path):
        return {}
    found = read_json(path)
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected an object, got {type(found).__name__}")
    return found


def _mapping(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object by its name, without case; empty if there is none."""
    found = _setting_of(tree, name)
    return found if isinstance(found, dict) else {}


def _flat(path: str, tree: Mapping[str, Any], shown: str) -> dict[str, tuple[str, Any]]:
    """By the path in lower case, its spelling and value; what isn't known is left whole."""
    found: dict[str, tuple[str, Any]] = {}
    for key, value in tree.items():
        here, spelling = f"{path}{key.lower()}", f"{shown}{key}"
        if here in _SECTIONS and isinstance(value, dict):
            found |= _flat(f"{here}.", value, f"{spelling}.")
        elif value is not None:
            found[here] = spelling, value
    return found


def _overrides(env: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    found = {}
    for name, value in env.items():
        if name.lower().startswith(PREFIX.lower()):
            spelling = name[len(PREFIX) :].replace("__", ".").replace(":", ".")
            found[spelling.lower()] = spelling, value
    return found


def _resolved(value: Any, env: Mapping[str, str]) -> Any:
    return resolve(value, env) if isinstance(value, str) else value


def _provider(found: Mapping[str, tuple[str, Any]], env: Mapping[str, str]) -> str:
    """The storage provider that an app has in Azure, in lower case: its hubs are named by the rules of that."""
    section = found.get("extensions.durabletask.storageprovider", ("", {}))[1]
    inside = next((value for key, value in section.items() if key.lower() == "type"), None) if section else None
    _, named = found.get("extensions.durabletask.storageprovider.type", ("", inside))
    return str(_resolved(named or _STORAGE, env)).lower()


def _hub_name(file: str, found: tuple[str, Any] | None, env: Mapping[str, str], provider: str) -> str:
    if found is None:
        return HUB
    name = _resolved(found[1], env)
    fits, rule = (
        (_is_hub_name, "3 to 45 letters and digits, a letter first")
        if provider == _STORAGE
        else (_is_free_hub_name, "1 to 64 letters, digits, hyphens and underscores, a letter or a digit at both ends")
    )
    if not isinstance(name, str) or not fits(name):
        raise ConfigError(f"{file}: {found[0]}: {name!r} is no name of a hub: {rule}")
    return name


def _value(file: str, name: str, value: Any) -> Any:
    if name == "default_version":
        return None if value == "" else _text(value)
    if name not in _WORDS:
        return _number(file, name, value)
    word = _WORDS[name].get(str(value).lower())
    if word is None:
        raise ConfigError(f"{file}: {name}: {value!r} is not one of {', '.join(_WORDS[name])}")
    return word


def _number(file: str, name: str, value: Any, most: int = 100_000) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if isinstance(value, bool) or not 1 <= number <= most:
        raise ConfigError(f"{file}: {name}: expected a number from 1 to {most}, got {value!r}")
    return number


def _setting_of(section: Mapping[str, Any], name: str) -> Any:
    """A setting by its name, without case; None if there is none."""
    return next((value for key, value in section.items() if key.lower() == name), None)


def _origins(host: Mapping[str, Any]) -> tuple[str, ...]:
    """The origins of `CORS`: a text, with commas between them."""
    given = _setting_of(host, "cors")
    return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else ()


def _port(host: Mapping[str, Any]) -> int | None:
    port = _setting_of(host, "localhttpport")
    return port if isinstance(port, int) and 0 < port < 65536 else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
