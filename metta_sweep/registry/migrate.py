"""Makes or upgrades the schema of a database, once, whoever opens it first."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, inspect, text

from metta_sweep.errors import RegistryError
from metta_sweep.registry.database import schema_lock
from metta_sweep.registry.schema import SCHEMA_VERSION


def prepare(engine: Engine) -> None:
    """Bring the database to this program's schema.

    Raises:
        RegistryError: it was written by a newer metta_sweep.
    """
    if schema_version(engine) == SCHEMA_VERSION:
        return
    with schema_lock(engine):
        found = schema_version(engine)
        if found > SCHEMA_VERSION:
            raise RegistryError(f"database {engine.url}: has schema {found}, this metta_sweep knows {SCHEMA_VERSION}; use the newer metta_sweep")
        if found != SCHEMA_VERSION:
            _upgrade(engine)


def schema_version(engine: Engine) -> str:
    """Version of the schema in the database, "" when it is empty."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return ""
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def _upgrade(engine: Engine) -> None:
    from alembic import command  # only who changes a schema pays for the import
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    # One transaction for all steps: both databases roll back half a migration.
    with engine.connect().execution_options(is_write=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
