"""Loading apps of every kind: modules, folders, and Azure function apps."""
