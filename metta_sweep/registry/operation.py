"""What the methods of the registry are made from: each is declared once, in `api.py`, with its route."""

from __future__ import annotations

import functools
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Annotated, Any, ParamSpec, TypeVar, cast

from pydantic import BeforeValidator, Field, WithJsonSchema

from metta_sweep.errors import InvalidRequest, UnknownRun, UnknownSweep
from metta_sweep.registry.names import SWEEP_NAME, check_key, check_sweep_name, sweep_of

P = ParamSpec("P")
T = TypeVar("T")
RunId = Annotated[str, Field(pattern=rf"^{SWEEP_NAME}\.r\.[0-9]{{1,9}}$")]
Fence = Annotated[int, Field(ge=1, le=2**31 - 1)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# JSON has no infinity: null is a lease without end.
LeaseSeconds = Annotated[
    float,
    BeforeValidator(lambda seconds: math.inf if seconds is None else seconds),
    Field(gt=0),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0.0}, {"type": "null"}]}),
]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method, as the service, the client and the store see it.

    Attributes:
        name: of the route, and of the function in `queries.py` or `writes.py` that does it.
        method: of `Registry`.
        verb: GET reads, POST writes.
        path: its `{name}` or `{run_id}` is the method's first argument.
        parameters: by name, without `self`; a `key` is sent as header, those of a write are its body, those of a read
            its query.
        result: type of what it returns.
        cursor: attribute of a list's items that is the `after` of its next page; "" when the answer is one.
        needs_admin: whether a writer's token is not enough.
        note: for the description of the routes.
    """

    name: str
    method: str
    verb: str
    path: str
    parameters: Mapping[str, Parameter]
    result: Any
    cursor: str
    needs_admin: bool
    note: str

    @property
    def subject(self) -> str:
        """The parameter that stands in the path, "" when none does."""
        return next(iter(self.parameters)) if "{" in self.path else ""

    @property
    def key_is_optional(self) -> bool:
        return self.parameters["key"].default is not Parameter.empty

    @property
    def content(self) -> Mapping[str, Parameter]:
        """What is sent beside path and header."""
        return {name: one for name, one in self.parameters.items() if name not in (self.subject, "key")}

    def path_of(self, arguments: dict[str, Any]) -> str:
        """The path, its subject taken out of the arguments. Raises `UnknownRun`, `UnknownSweep` for what none can have.

        It is not sent: some would change the path.
        """
        if not self.subject:
            return self.path
        subject, is_run = arguments.pop(self.subject), "{run_id}" in self.path
        try:
            check_sweep_name(sweep_of(subject) if is_run else subject)
        except InvalidRequest as error:
            raise (UnknownRun if is_run else UnknownSweep)(str(error)) from error
        return self.path.format(run_id=subject, name=subject)

    def key_of(self, arguments: dict[str, Any]) -> str:
        """The key, taken out of the arguments; "" where none is needed. Raises `InvalidRequest`."""
        key = str(arguments.pop("key", ""))
        if key or ("key" in self.parameters and not self.key_is_optional):
            check_key(key)
        return key


class Declared(ABC):
    """A class whose methods are declared with `get` and `post`, and all done by `_perform`."""

    @abstractmethod
    def _perform(self, operation: Operation, arguments: dict[str, Any]) -> Any:
        """Do it, with all its arguments by name."""


def get(path: str, *, cursor: str = "", note: str = "") -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Declare a method that reads."""
    return _declaration("GET", path, "", cursor, False, note)


def post(
    path: str, *, name: str = "", needs_admin: bool = False, note: str = ""
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Declare a method that writes; `name` where the route has another one."""
    return _declaration("POST", path, name, "", needs_admin, note)


def _declaration(
    verb: str, path: str, name: str, cursor: str, needs_admin: bool, note: str
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    def declare(method: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(method, eval_str=True)
        parameters = {one.name: one for one in list(signature.parameters.values())[1:]}
        called = method.__name__
        result = signature.return_annotation
        operation = Operation(name or called, called, verb, path, parameters, result, cursor, needs_admin, note)

        @functools.wraps(method)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            me, *values = bound.arguments.values()
            arguments = dict(zip(parameters, values, strict=True))
            return cast("T", cast("Declared", me)._perform(operation, arguments))

        call.operation = operation  # type: ignore[attr-defined]
        return call

    return declare


def operations(kind: type) -> Iterator[Operation]:
    """All that are declared for this class."""
    for name in dir(kind):
        operation = getattr(getattr(kind, name), "operation", None)
        if isinstance(operation, Operation):
            yield operation
