"""The memory: the only room that touches the disk."""
