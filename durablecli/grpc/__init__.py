"""Serves a hub to the SDKs of Durable Task: `run-daemon --grpc`."""
