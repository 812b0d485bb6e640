"""The dashboard: web pages that show a hub and act on it, at `/` and below `/ui/`."""
