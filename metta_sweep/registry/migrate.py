"""Makes or upgrades the schema of a database, once, whoever opens it first."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from metta_sweep.registry.database import keep_private, schema_lock
from metta_sweep.registry.schema import SCHEMA_VERSION
from metta_sweep.registry.trouble import schema_of


def prepare(engine: Engine) -> None:
    """Bring the database to this program's schema. Raises `RegistryError` for another's, a newer, or a cut off one."""
    if not _is_new(engine) and schema_version(engine) == SCHEMA_VERSION:
        keep_private(engine)
        return
    with schema_lock(engine):
        if schema_version(engine) != SCHEMA_VERSION:
            _upgrade(engine)
    keep_private(engine)


def _is_new(engine: Engine) -> bool:
    """Whether there is no file yet, or an empty one: to connect would make it."""
    if engine.dialect.name != "sqlite":
        return False
    path = Path(engine.url.database or "")
    return not path.exists() or (path.is_file() and path.stat().st_size == 0)


def schema_version(engine: Engine) -> str:
    """Version of the schema in the database, "" when it is empty. Raises `RegistryError` for one that is not ours."""
    with engine.connect() as connection:
        return schema_of(connection, engine.url)


def _upgrade(engine: Engine) -> None:
    from alembic import command  # only who changes a schema pays for the import
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    # One transaction for all steps: both databases roll back half a migration.
    with engine.connect().execution_options(is_write=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
