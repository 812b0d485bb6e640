"""The settings of durablecli and, below them in precedence, those in the files of an Azure function app."""

from __future__ import annotations

import os
from collections.abc import Mapping

from durablecli.apps.azure_folder import find_folder, is_azure_app
from durablecli.apps.host_json import DEFAULT_PORT, read_host_settings
from durablecli.config import Config, load_config
from durablecli.project import find_project


def load_settings(overrides: Mapping[str, object] | None = None) -> Config:
    """Load all settings. Raises ConfigError."""
    defaults: dict[str, object] = {"app": (os.curdir,)} if is_azure_app(find_project()) else {}
    config = load_config(overrides=overrides, defaults=defaults)
    folder = find_folder([os.path.normpath(os.path.join(config.base, target)) for target in config.app])
    if folder is None:
        return config
    host = read_host_settings(folder)
    defaults |= {**host.settings, "http.listen": host.port or DEFAULT_PORT, "http.route_prefix": host.route_prefix}
    if is_azure_app(folder):  # else the hub is the one that commands use without an app
        defaults["state_dir"] = host.state_dir
    if host.cors_origins:
        defaults |= {"http.allowed_origins": host.cors_origins, "http.allow_credentials": host.cors_credentials}
    if host.poll_interval is not None:
        defaults["call_http.poll"] = host.poll_interval
    return load_config(overrides=overrides, defaults=defaults)
