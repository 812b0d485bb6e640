"""Runs activities and entity operations: in threads, on an event loop, or in worker processes."""
