"""The settings of an Azure function app: host.json, and local.settings.json beside it.

Both may contain comments, as in Azure. The environment or local.settings.json can override a setting of host.json, as
`AzureFunctionsJobHost__extensions__durableTask__hubName`. Settings that have no effect here are listed in a warning.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from durablecli.errors import ConfigError

DEFAULT_HUB_NAME = "TestHubName"
DEFAULT_PORT = 7071
SETTING_PREFIX = "AzureFunctionsJobHost__"
_AZURE_STORAGE = "azurestorage"

_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])')
_SETTING_REFERENCE = re.compile(r"%([^%\s]+)%")
_is_azure_storage_hub_name = re.compile(r"[A-Za-z][A-Za-z0-9]{2,44}").fullmatch
_is_other_provider_hub_name = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?").fullmatch

# The settings of host.json, in lower case, and durablecli's settings for them.
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
    """The settings of an app. `settings` are durablecli's by key; `environment` is set while the app is loaded."""

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
        """One line about the settings that have no effect here; None if there are none."""
        return (
            f"host.json: ignored, as it has no effect here: {', '.join(self.ignored_settings)}"
            if self.ignored_settings
            else None
        )


def read_host_settings(folder: str, env: Mapping[str, str] = os.environ) -> HostSettings:
    """Read the files of a folder. Raises ConfigError."""
    local = _read_json_object(os.path.join(folder, "local.settings.json"))
    values = {str(name): _to_text(value) for name, value in _get_section(local, "values").items() if value is not None}
    local_host = _get_section(local, "host")
    env = values | dict(env)
    file = os.path.join(folder, "host.json")
    by_path = _flatten("", _read_json_object(file), "") | _read_overrides(env)
    settings = {key: _expand(by_path[path][1], env) for path, key in _SETTING_KEYS.items() if path in by_path}
    poll = by_path.get("extensions.durabletask.httpsettings.defaultasyncrequestsleeptimemilliseconds")
    ignored = (name for path, (name, _) in by_path.items() if path not in _HANDLED_SETTINGS | {*_SETTING_KEYS})
    provider = _get_storage_provider(by_path, env)
    return HostSettings(
        folder,
        hub_name=_get_hub_name(file, by_path.get("extensions.durabletask.hubname"), env, provider),
        settings={"version_match": "current_or_older"}
        | {key: _convert_value(file, key, value) for key, value in settings.items()},
        route_prefix=str(by_path.get("extensions.http.routeprefix", ("", "api"))[1]).strip("/"),
        port=_get_port(local_host),
        poll_interval=None if poll is None else timedelta(milliseconds=_parse_number(file, *poll, maximum=86_400_000)),
        cors_origins=_parse_cors_origins(local_host),
        cors_credentials=_is_true(_get_setting(local_host, "corscredentials")),
        environment=values,
        ignored_settings=tuple(dict.fromkeys(ignored)),
    )


def find_disabling_setting(name: str, definition: Mapping[str, Any], env: Mapping[str, str] = os.environ) -> str | None:
    """The setting that disables a function: `AzureWebJobs.NAME.Disabled`, or `disabled` in its function.json.

    The former may have underscores instead of periods, and the latter may name another setting.
    """
    values = {key.lower(): value for key, value in env.items()}
    for separator in (".", "_", "__", ":"):
        setting = f"AzureWebJobs{separator}{name}{separator}Disabled"
        if _is_true(values.get(setting.lower())):
            return setting
    declared = definition.get("disabled")
    if _is_true(declared) or (isinstance(declared, str) and _is_true(values.get(declared.strip("%").lower()))):
        return "function.json"
    return None


def _is_true(value: object) -> bool:
    return str(value).strip().lower() in ("true", "1")


def expand_settings(text: str, env: Mapping[str, str] = os.environ) -> str:
    """Replace each `%SETTING%` in a text by its value. Raises ConfigError if a setting is missing."""

    def get_value(reference: re.Match[str]) -> str:
        name = reference[1]
        if name not in env:
            raise ConfigError(f"%{name}% has no value; set it in the environment or in local.settings.json")
        return env[name]

    return _SETTING_REFERENCE.sub(get_value, text)


def read_json(path: str) -> Any:
    """Read a file of JSON with comments. Raises ConfigError."""
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
        raise ConfigError(f"{path}: invalid JSON: {error}") from None


def _read_json_object(path: str) -> dict[str, Any]:
    if not os.path.exists(path):
        return {}
    found = read_json(path)
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected an object, got {type(found).__name__}")
    return found


def _get_section(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A nested object by its name in any case; empty if there is none."""
    found = _get_setting(tree, name)
    return found if isinstance(found, dict) else {}


def _flatten(path: str, tree: Mapping[str, Any], spelled_path: str) -> dict[str, tuple[str, Any]]:
    """Map the path of each setting in lower case to its spelling and value. Unknown objects stay whole."""
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
    """The storage provider that an app has in Azure, in lower case. The names of its hubs follow its rules."""
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
        raise ConfigError(f"{file}: {found[0]}: invalid hub name {name!r}; use {rule}")
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
    """A setting by its name in any case; None if there is none."""
    return next((value for key, value in section.items() if key.lower() == name), None)


def _parse_cors_origins(host: Mapping[str, Any]) -> tuple[str, ...]:
    """Parse the origins in `CORS`, which are separated by commas."""
    given = _get_setting(host, "cors")
    return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else ()


def _get_port(host: Mapping[str, Any]) -> int | None:
    port = _get_setting(host, "localhttpport")
    return port if isinstance(port, int) and 0 < port < 65536 else None


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
