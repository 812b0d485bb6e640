"""Runs an app on another engine that speaks the Durable Task protocol: `--engine dts://…`."""
