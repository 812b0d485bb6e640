"""The journal: the append-only log of commits, and the only place where a commit becomes durable."""
