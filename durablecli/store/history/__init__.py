"""The histories: one file per instance and entity, written after the journal."""
