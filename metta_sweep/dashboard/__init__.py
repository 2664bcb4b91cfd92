"""The interactive dashboard: where the money goes and what it bought. Reads the registry, never writes to it."""
