"""The settings of a hub and its engine."""

from __future__ import annotations

from durablecli.config.loading import config_from_mapping, import_folder, load_config
from durablecli.config.sections import (
    ByteSize,
    CallHttpConfig,
    CheckpointConfig,
    ConcurrencyConfig,
    Config,
    ConfigSection,
    GrpcConfig,
    HookConfig,
    HooksConfig,
    HttpConfig,
    HttpKeysConfig,
    LimitsConfig,
    LogConfig,
    PayloadsConfig,
    RetentionConfig,
    TelemetryConfig,
)

__all__ = [
    "ByteSize",
    "CallHttpConfig",
    "CheckpointConfig",
    "ConcurrencyConfig",
    "Config",
    "ConfigSection",
    "GrpcConfig",
    "HookConfig",
    "HooksConfig",
    "HttpConfig",
    "HttpKeysConfig",
    "LimitsConfig",
    "LogConfig",
    "PayloadsConfig",
    "RetentionConfig",
    "TelemetryConfig",
    "config_from_mapping",
    "import_folder",
    "load_config",
]
