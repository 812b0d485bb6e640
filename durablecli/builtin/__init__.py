"""Orchestrations of durablecli itself: durable HTTP calls and timer functions."""
