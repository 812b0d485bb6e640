"""The histories: one file per instance and entity, written behind the journal."""
