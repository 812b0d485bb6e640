"""Shared by the servers: addresses, keys, threads, and the bridge from an event loop to the engine."""
