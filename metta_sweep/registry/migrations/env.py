"""Alembic's entry: runs the scripts on the connection that `migrate.prepare` hands in."""

from __future__ import annotations

from alembic import context

from metta_sweep.registry.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
