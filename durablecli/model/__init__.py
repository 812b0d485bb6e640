"""The words: frozen values and what they look like on disk. No clock, no random source, no files, no threads."""
