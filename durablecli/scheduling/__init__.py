"""Schedules: expressions, time zones, due times, and the state of a schedule."""
