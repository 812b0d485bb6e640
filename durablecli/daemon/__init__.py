"""Runs an engine in a process: the foreground daemon, `durable run`, verbs that need no daemon, and embedding."""
