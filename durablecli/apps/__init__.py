"""Apps: loading of every kind, from modules and folders to function apps of Azure."""
