"""New projects: the files that `durable init` writes, and their templates."""
