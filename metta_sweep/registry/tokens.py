"""Bearer tokens of the service: shown once, hashed at rest, revocable, with a role."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from metta_sweep.errors import AccessDenied, RegistryError
from metta_sweep.registry.codec import decode
from metta_sweep.registry.database import open_engine, parse_url, reading
from metta_sweep.registry.migrate import prepare
from metta_sweep.registry.schema import tokens
from metta_sweep.registry.trouble import translated_errors
from metta_sweep.registry.turns import Turns


class Role(StrEnum):
    """A writer also reads; an admin also writes, and deletes sweeps."""

    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"

    def may(self, needed: Role) -> bool:
        """Whether this role includes the other."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What may be shown of a token; times in epoch seconds."""

    id: str
    name: str
    role: Role
    created_at: float
    revoked_at: float | None


class TokenStore:
    """The tokens of one database, whose schema is prepared."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._reading = engine, reading(engine)
        self._turns = Turns(self._ask)  # each request asks

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        with (
            translated_errors(self._engine.url),
            self._engine.connect().execution_options(is_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def create(self, name: str, role: Role) -> str:
        """A new token, `{id}.{secret}`; only its hash is kept."""
        token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        row = {"id": token_id, "name": name, "role": role, "secret_hash": _hash(secret), "created_at": time.time()}
        with self._writing() as connection:
            connection.execute(insert(tokens), row)
        return f"{token_id}.{secret}"

    def revoke(self, token_id: str) -> TokenRecord:
        """Raises `RegistryError` for an unknown id."""
        with self._writing() as connection:
            first_time = func.coalesce(tokens.c.revoked_at, time.time())
            revoked = update(tokens).where(tokens.c.id == token_id).values(revoked_at=first_time)
            row = connection.execute(revoked.returning(tokens)).mappings().one_or_none()
        if row is None:
            raise RegistryError(f"token {token_id[:40]!r}: no such token; `token list` shows the ids")
        return decode(TokenRecord, dict(row))

    def list(self) -> list[TokenRecord]:
        """All, revoked ones too, oldest first."""
        with translated_errors(self._engine.url), self._reading.connect() as connection:
            rows = connection.execute(select(tokens).order_by(tokens.c.created_at)).mappings()
            return [decode(TokenRecord, dict(row)) for row in rows]

    def is_empty(self) -> bool:
        """Whether there never was a token: revoking the last one does not open the registry."""
        return bool(self._turns.take("any", ""))

    def _ask(self, what: str, ids: Sequence[str]) -> Sequence[Any]:
        """Whether there is none, or for each of these ids the row of its token, if it is not revoked."""
        with translated_errors(self._engine.url), self._reading.connect() as connection:
            if what == "any":
                return [connection.execute(select(tokens.c.id).limit(1)).first() is None] * len(ids)
            found = select(tokens).where(tokens.c.id.in_(ids), tokens.c.revoked_at.is_(None))
            rows = {row["id"]: row for row in connection.execute(found).mappings()}
            return [rows.get(token_id) for token_id in ids]

    def has_active(self) -> bool:
        return any(token.revoked_at is None for token in self.list())

    def check(self, token: str) -> TokenRecord:
        """Raises `AccessDenied` for a wrong or revoked token, without telling which."""
        token_id, _, secret = token.partition(".")
        row = self._turns.take("one", token_id[:16].encode("ascii", "replace").decode())
        # Compared in any case: an unknown id takes as long as a wrong secret.
        is_right = hmac.compare_digest(_hash(secret), row["secret_hash"] if row else _hash(""))
        if row is None or not is_right:
            advice = "`token create NAME` on the registry's database makes one, METTA_SWEEP_TOKEN passes it on"
            raise AccessDenied(f"wrong or revoked token; {advice}")
        return decode(TokenRecord, dict(row))


def create_token(database_url: str, name: str, role: str = Role.WRITER) -> str:
    """Make a token in this database and return it; it cannot be shown again. `role` is reader, writer or admin."""
    if role not in list(Role):
        raise RegistryError(f"role={role!r}: need {', '.join(Role)}")
    return open_tokens(database_url).create(name, Role(role))


def revoke_token(database_url: str, token_id: str) -> TokenRecord:
    """End a token by its id, at once. Raises `RegistryError` for an unknown one."""
    return open_tokens(database_url).revoke(token_id)


def list_tokens(database_url: str) -> list[TokenRecord]:
    return open_tokens(database_url).list()


def open_tokens(database_url: str) -> TokenStore:
    address = parse_url(database_url)
    with translated_errors(address):
        engine = open_engine(address)
        prepare(engine)
    return TokenStore(engine)


def _hash(secret: str) -> str:
    """SHA-256 is enough for 256 random bits; a slow hash is for passwords that people choose."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
