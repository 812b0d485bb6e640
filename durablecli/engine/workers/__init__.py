"""Executors of user code: threads, an event loop and worker processes, and the dispatcher that feeds them."""
