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

from durablecli.config import Config, load_config
from durablecli.errors import ConfigError
from durablecli.project import find_project

DEFAULT_HUB_NAME = "TestHubName"
DEFAULT_PORT = 7071
SETTING_PREFIX = "AzureFunctionsJobHost__"
_AZURE_STORAGE = "azurestorage"

_APP_FILE = "function_app.py"
_FUNCTION_JSON = "function.json"
_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])')
_SETTING_REFERENCE = re.compile(r"%([^%\s]+)%")
_is_azure_storage_hub_name = re.compile(r"[A-Za-z][A-Za-z0-9]{2,44}").fullmatch
_is_other_provider_hub_name = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?").fullmatch
_imports_azure = re.compile(
    rb"^[ \t]*(?:from|import)[ \t]+azure\b[^\n]*\b(?:durable_)?functions\b", re.MULTILINE
).search

# Where a setting of host.json goes; what is true of every hub of ours needs no word.
_SETTING_KEYS = {
    "extensions.durabletask.defaultversion": "default_version",
    "extensions.durabletask.versionfailurestrategy": "version_failure",
    "extensions.durabletask.versionmatchstrategy": "version_match",
    "extensions.durabletask.maxconcurrentactivityfunctions": "concurrency.activities",
    "extensions.durabletask.maxconcurrententityfunctions": "concurrency.entities",
}
_HANDLED_SETTINGS = {
    "version",
    "extensions.durabletask.hubname",
    "extensions.durabletask.httpsettings.defaultasyncrequestsleeptimemilliseconds",
    "extensions.http.routeprefix",
}
_ENUM_VALUES = {
    "version_match": {"none": "none", "strict": "strict", "currentorolder": "current_or_older"},
    "version_failure": {"reject": "block", "fail": "fail"},
}
_SECTIONS = {"extensions", "extensions.durabletask", "extensions.http", "extensions.durabletask.httpsettings"}


@dataclass(frozen=True)
class HostSettings:
    """The settings of an app. `settings` are those of durablecli by key, `values` go into the environment."""

    folder: str
    hub_name: str = DEFAULT_HUB_NAME
    settings: Mapping[str, Any] = field(default_factory=dict)
    route_prefix: str = "api"
    port: int | None = None
    poll_interval: timedelta | None = None
    cors_origins: tuple[str, ...] = ()
    cors_credentials: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    ignored_settings: tuple[str, ...] = ()

    @property
    def state_dir(self) -> str:
        """The state directory of the app's hub."""
        return os.path.normpath(os.path.join(self.folder, ".state", self.hub_name))

    @property
    def warning(self) -> str | None:
        """One line about what host.json says and nobody does here."""
        return (
            f"host.json: nothing is done here about {', '.join(self.ignored_settings)}"
            if self.ignored_settings
            else None
        )


def is_azure_app(folder: str) -> bool:
    """Whether a folder holds an app of Azure's."""
    return os.path.isfile(os.path.join(folder, "host.json")) or os.path.isfile(os.path.join(folder, _APP_FILE))


def find_app_folder(config: Config) -> str | None:
    """The folder of the app, if the settings name one of Azure's, or one file of it. Raises ConfigError if they name
    more beside a folder."""
    paths = [os.path.normpath(os.path.join(config.base, target)) for target in config.app]
    found = [path for path in paths if is_azure_app(path)]
    if found and len(paths) > 1:
        raise ConfigError(f"app: {found[0]} is an app of Azure's, which is loaded alone: name nothing beside it")
    return found[0] if found else find_folder_of_file(paths)


def find_folder_of_file(paths: Sequence[str]) -> str | None:
    """The folder of the only path, if that is a file that imports Azure's packages."""
    if len(paths) != 1 or not paths[0].endswith(".py"):
        return None
    return (os.path.dirname(paths[0]) or os.curdir) if _uses_azure(paths[0]) else None


def is_function_app_file(path: str) -> bool:
    """Whether a file stands for the app in its folder."""
    return os.path.basename(path) == _APP_FILE


def _uses_azure(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return is_function_app_file(path) or _imports_azure(file.read()) is not None
    except OSError:
        return False


def load_settings(overrides: Mapping[str, object] | None = None) -> Config:
    """All settings: what durablecli is told beats what the files of the app say. Raises ConfigError."""
    defaults: dict[str, object] = {"app": (os.curdir,)} if is_azure_app(find_project()) else {}
    config = load_config(overrides=overrides, defaults=defaults)
    folder = find_app_folder(config)
    if folder is None:
        return config
    host = read_host_settings(folder)
    defaults |= {**host.settings, "http.listen": host.port or DEFAULT_PORT}
    if is_azure_app(folder):  # else the hub is where every verb looks for it that names no app
        defaults["state_dir"] = host.state_dir
    defaults["http.route_prefix"] = host.route_prefix
    if host.cors_origins:
        defaults |= {"http.allowed_origins": host.cors_origins, "http.allow_credentials": host.cors_credentials}
    if host.poll_interval is not None:
        defaults["call_http.poll"] = host.poll_interval
    return load_config(overrides=overrides, defaults=defaults)


def list_function_files(folder: str) -> Iterator[tuple[str, str]]:
    """The functions of the older layout: a name, and the path of its function.json."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = os.path.join(entry.path, _FUNCTION_JSON)
        if entry.is_dir() and os.path.isfile(path):
            yield entry.name, path


def read_host_settings(folder: str, env: Mapping[str, str] = os.environ) -> HostSettings:
    """What the folder's files say. Raises ConfigError."""
    local = _read_json_object(os.path.join(folder, "local.settings.json"))
    values = {str(name): _to_text(value) for name, value in _get_section(local, "values").items() if value is not None}
    known = values | dict(env)
    file = os.path.join(folder, "host.json")
    found = _flatten("", _read_json_object(file), "") | _read_overrides(known)
    settings = {key: _expand(found[path][1], known) for path, key in _SETTING_KEYS.items() if path in found}
    poll = found.get("extensions.durabletask.httpsettings.defaultasyncrequestsleeptimemilliseconds")
    return HostSettings(
        folder,
        _get_hub_name(file, found.get("extensions.durabletask.hubname"), known, _get_storage_provider(found, known)),
        {"version_match": "current_or_older"}
        | {key: _convert_value(file, key, value) for key, value in settings.items()},
        str(found.get("extensions.http.routeprefix", ("", "api"))[1]).strip("/"),
        _get_port(_get_section(local, "host")),
        None if poll is None else timedelta(milliseconds=_parse_number(file, poll[0], poll[1], maximum=86_400_000)),
        _parse_cors_origins(_get_section(local, "host")),
        _is_true(_get_setting(_get_section(local, "host"), "corscredentials")),
        values,
        tuple(
            dict.fromkeys(name for path, (name, _) in found.items() if path not in _HANDLED_SETTINGS | {*_SETTING_KEYS})
        ),
    )


def find_disabling_setting(name: str, definition: Mapping[str, Any], env: Mapping[str, str] = os.environ) -> str | None:
    """What disables a function: a setting `AzureWebJobs.NAME.Disabled`, or `disabled` of its function.json.

    Where periods can't be in a setting, it may have underscores; `disabled` may name a setting, too."""
    known = {key.lower(): value for key, value in env.items()}
    for separator in (".", "_", "__", ":"):
        setting = f"AzureWebJobs{separator}{name}{separator}Disabled"
        if _is_true(known.get(setting.lower())):
            return setting
    declared = definition.get("disabled")
    if _is_true(declared) or (isinstance(declared, str) and _is_true(known.get(declared.strip("%").lower()))):
        return "function.json"
    return None


def _is_true(value: object) -> bool:
    return str(value).strip().lower() in ("true", "1")


def expand_settings(text: str, env: Mapping[str, str] = os.environ) -> str:
    """A text with each `%SETTING%` in it replaced. Raises ConfigError if a setting isn't there."""

    def get_value(found: re.Match[str]) -> str:
        if found[1] not in env:
            raise ConfigError(f"%{found[1]}% has no value: set it in the environment or in local.settings.json")
        return env[found[1]]

    return _SETTING_REFERENCE.sub(get_value, text)


def read_json(path: str) -> Any:
    """The content of a file of JSON with comments. Raises ConfigError."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
        text = _COMMENT.sub(lambda found: found[1] or " ", text)
        return json.loads(_TRAILING_COMMA.sub(lambda found: found[1] or "", text))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: no JSON: {error}") from None


def _read_json_object(path: str) -> dict[str, Any]:
    if not os.path.exists(path):
        return {}
    found = read_json(path)
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected an object, got {type(found).__name__}")
    return found


def _get_section(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object by its name, without case; empty if there is none."""
    found = _get_setting(tree, name)
    return found if isinstance(found, dict) else {}


def _flatten(path: str, tree: Mapping[str, Any], spelled_path: str) -> dict[str, tuple[str, Any]]:
    """By the path in lower case, its spelling and value; what isn't known is left whole."""
    found: dict[str, tuple[str, Any]] = {}
    for key, value in tree.items():
        here, spelling = f"{path}{key.lower()}", f"{spelled_path}{key}"
        if here in _SECTIONS and isinstance(value, dict):
            found |= _flatten(f"{here}.", value, f"{spelling}.")
        elif value is not None:
            found[here] = spelling, value
    return found


def _read_overrides(env: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    found = {}
    for name, value in env.items():
        if name.lower().startswith(SETTING_PREFIX.lower()):
            spelling = name[len(SETTING_PREFIX) :].replace("__", ".").replace(":", ".")
            found[spelling.lower()] = spelling, value
    return found


def _expand(value: Any, env: Mapping[str, str]) -> Any:
    return expand_settings(value, env) if isinstance(value, str) else value


def _get_storage_provider(found: Mapping[str, tuple[str, Any]], env: Mapping[str, str]) -> str:
    """The storage provider that an app has in Azure, in lower case: its hubs are named by the rules of that."""
    section = found.get("extensions.durabletask.storageprovider", ("", {}))[1]
    inside = next((value for key, value in section.items() if key.lower() == "type"), None) if section else None
    _, named = found.get("extensions.durabletask.storageprovider.type", ("", inside))
    return str(_expand(named or _AZURE_STORAGE, env)).lower()


def _get_hub_name(file: str, found: tuple[str, Any] | None, env: Mapping[str, str], provider: str) -> str:
    if found is None:
        return DEFAULT_HUB_NAME
    name = _expand(found[1], env)
    fits, rule = (
        (_is_azure_storage_hub_name, "3 to 45 letters and digits, a letter first")
        if provider == _AZURE_STORAGE
        else (
            _is_other_provider_hub_name,
            "1 to 64 letters, digits, hyphens and underscores, a letter or a digit at both ends",
        )
    )
    if not isinstance(name, str) or not fits(name):
        raise ConfigError(f"{file}: {found[0]}: {name!r} is no name of a hub: {rule}")
    return name


def _convert_value(file: str, name: str, value: Any) -> Any:
    if name == "default_version":
        return None if value == "" else _to_text(value)
    if name not in _ENUM_VALUES:
        return _parse_number(file, name, value)
    word = _ENUM_VALUES[name].get(str(value).lower())
    if word is None:
        raise ConfigError(f"{file}: {name}: {value!r} is not one of {', '.join(_ENUM_VALUES[name])}")
    return word


def _parse_number(file: str, name: str, value: Any, maximum: int = 100_000) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if isinstance(value, bool) or not 1 <= number <= maximum:
        raise ConfigError(f"{file}: {name}: expected a number from 1 to {maximum}, got {value!r}")
    return number


def _get_setting(section: Mapping[str, Any], name: str) -> Any:
    """A setting by its name, without case; None if there is none."""
    return next((value for key, value in section.items() if key.lower() == name), None)


def _parse_cors_origins(host: Mapping[str, Any]) -> tuple[str, ...]:
    """The origins of `CORS`: a text, with commas between them."""
    given = _get_setting(host, "cors")
    return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else ()


def _get_port(host: Mapping[str, Any]) -> int | None:
    port = _get_setting(host, "localhttpport")
    return port if isinstance(port, int) and 0 < port < 65536 else None


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
