"""The journal: the append-only log of commits, and the only place where one becomes durable."""
