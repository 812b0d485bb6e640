"""The inbox: messages from clients to the engine, one file each."""
