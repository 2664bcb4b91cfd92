"""Runs, suggestions, observations and leases: in SQLite, on PostgreSQL, or behind a service; see README.md."""
