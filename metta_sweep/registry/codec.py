"""Records to JSON and back: what the store keeps in its columns, what the outbox writes and what the service speaks."""

from __future__ import annotations

import functools
import json
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from metta_sweep.errors import InvalidRequest

T = TypeVar("T")


def encode(value: object) -> Any:
    """JSON-ready form of records, collections and numpy scalars; NaN and infinity, which JSON has not, become null.

    Raises `InvalidRequest` when the value holds something else.
    """
    try:
        return to_jsonable_python(value, inf_nan_mode="null", fallback=_plain)
    except (PydanticSerializationError, ValueError) as error:
        raise InvalidRequest(f"not JSON: {error}") from error


def dumps(value: object) -> str:
    """One line of pure ASCII: a NUL or a lone surrogate in a text stays an escape, which every database stores."""
    return json.dumps(encode(value), separators=(",", ":"), allow_nan=False)


def decode(kind: type[T], data: object) -> T:
    """A record of type `kind` (also `list[RunRecord]`, `X | None`) from what `encode` returned.

    Raises `InvalidRequest`, which names each field, when the data is not such a record.
    """
    try:
        record: T = _adapter(kind).validate_python(data)  # type: ignore[arg-type]  # a class has a hash
    except ValidationError as error:
        found = [(".".join(map(str, problem["loc"])) or "value", problem["msg"]) for problem in error.errors()]
        raise InvalidRequest("; ".join(f"{place}: {text}" for place, text in found)) from error
    return record


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _plain(value: Any) -> Any:
    """A numpy scalar or array as plain numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise ValueError(f"{type(value).__name__} has no JSON form")
