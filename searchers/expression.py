"""Constraints and conditions as text: a small, safe language over dotted parameter names.

Comparisons, `and`, `or`, `not`, `in`, arithmetic, numbers and choices; no calls, no attributes of objects, no indexing. The
text is parsed with `ast` and evaluated over whole columns, so that thousands of candidates cost microseconds.
"""

from __future__ import annotations

import ast
import difflib
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchers.errors import SpaceError

Columns = Mapping[str, NDArray[Any]]
MAX_LENGTH = 1000
CONSTANTS = {"true": True, "false": False, "True": True, "False": False}
BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed condition.

    Attributes:
        text: as the user wrote it.
        names: the parameters that it mentions, sorted.
    """

    text: str
    names: tuple[str, ...]
    _tree: ast.expr = field(compare=False, repr=False)
    _slots: Mapping[str, str] = field(compare=False, repr=False)

    def __call__(self, columns: Columns) -> NDArray[np.bool_]:
        """Whether it holds, per row. Division by zero and comparisons with nan are false.

        Args:
            columns: natural values by parameter name, each of shape (n,).

        Returns:
            (n,) truth values.
        """
        with np.errstate(all="ignore"):
            value = _evaluate(self._tree, {slot: columns[name] for slot, name in self._slots.items()})
        length = len(next(iter(columns.values()))) if columns else 1
        return np.broadcast_to(np.asarray(value).astype(bool), (length,))


def parse(text: object, names: Sequence[str], words: Sequence[str] = ()) -> Expression:
    """Parse a condition.

    Args:
        text: the expression.
        names: dotted names of all parameters.
        words: choices of categorical parameters, which may stand without quotes (`trainer.optimizer.type == adam`).

    Raises:
        SpaceError: not an expression of this language, or a name that nobody knows.
    """
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_LENGTH:
        raise SpaceError(f"{str(text)[:60]!r}: need an expression of 1 to {MAX_LENGTH} characters such as 'a.b <= c.d'")
    slots: dict[str, str] = {}
    replaced = _replace_names(text, names, slots)
    try:
        tree = ast.parse(replaced.strip(), mode="eval").body
        _check(tree, text, slots, names, words)
    except (SyntaxError, ValueError, RecursionError) as error:
        if isinstance(error, SpaceError):
            raise
        raise SpaceError(f"{text!r}: not an expression ({error.__class__.__name__}); write for example 'a.b <= c.d'") from error
    return Expression(text, tuple(sorted(slots.values())), _bind_words(tree, words), slots)


def _replace_names(text: str, names: Sequence[str], slots: dict[str, str]) -> str:
    """Put identifiers in place of parameter names, which need not be legal Python (`ppo.lambda`, `a-b`)."""
    if not names:
        return text
    longest_first = sorted(names, key=len, reverse=True)
    pattern = re.compile(r"""("[^"]*"|'[^']*')|(?<![\w.])(""" + "|".join(map(re.escape, longest_first)) + r")(?![\w.])")

    def slot(match: re.Match[str]) -> str:
        if match.group(1):
            return match.group(1)
        key = f"_p{list(names).index(match.group(2))}"
        slots[key] = match.group(2)
        return key

    return pattern.sub(slot, text)


def _check(node: ast.expr, text: str, slots: Mapping[str, str], names: Sequence[str], words: Sequence[str]) -> None:
    """Refuse everything outside the language."""
    if isinstance(node, ast.Name | ast.Attribute):
        dotted = ast.unparse(node)
        if dotted not in slots and dotted not in words and dotted not in CONSTANTS:
            near = difflib.get_close_matches(dotted, [*names, *words], n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]}?" if near else "; give it under parameters, as {value: ...} if it is fixed"
            raise SpaceError(f"{text!r}: unknown name {dotted!r}{hint}")
        return
    if not _is_allowed(node):
        raise SpaceError(f"{text!r}: {ast.unparse(node)!r} is not allowed; use comparisons, and/or/not, arithmetic, numbers and names")
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            _check(child, text, slots, names, words)


def _is_allowed(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float | str)
    if isinstance(node, ast.BinOp):
        return type(node.op) in BINARY
    if isinstance(node, ast.Compare):
        return all(type(op) in COMPARE or isinstance(op, ast.In | ast.NotIn) for op in node.ops)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not | ast.USub | ast.UAdd)
    return isinstance(node, ast.BoolOp | ast.List | ast.Tuple)


def _bind_words(tree: ast.expr, words: Sequence[str]) -> ast.expr:
    """Turn bare choices into strings, and numbers into floats, whose powers overflow to infinity and not into hours."""

    class Bind(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            if node.id in CONSTANTS:
                return ast.Constant(CONSTANTS[node.id])
            return ast.Constant(node.id) if node.id in words else node

        def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
            return ast.Constant(ast.unparse(node))

    bound = Bind().visit(tree)
    assert isinstance(bound, ast.expr)
    return bound


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return np.float64(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
        case ast.Name(id=slot):
            return values[slot]
        case ast.UnaryOp(op=op, operand=operand):
            inner = _evaluate(operand, values)
            return np.logical_not(inner) if isinstance(op, ast.Not) else (-inner if isinstance(op, ast.USub) else inner)
        case ast.BinOp(left=left, op=op, right=right):
            return BINARY[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.BoolOp(op=op, values=parts):
            combine = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return combine.reduce([np.broadcast_arrays(_evaluate(part, values), _any_column(values))[0].astype(bool) for part in parts])
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            return _compare(_evaluate(left, values), ops, comparators, values)
    raise AssertionError(f"unchecked node {ast.dump(node)}")


def _any_column(values: Mapping[str, Any]) -> Any:
    return next(iter(values.values()), np.zeros(1))


def _compare(left: Any, ops: Sequence[ast.cmpop], comparators: Sequence[ast.expr], values: Mapping[str, Any]) -> Any:
    result: Any = True
    for op, comparator in zip(ops, comparators, strict=True):
        if isinstance(op, ast.In | ast.NotIn):
            members = comparator.elts if isinstance(comparator, ast.List | ast.Tuple) else [comparator]
            found: Any = False
            for member in members:
                found = np.logical_or(found, operator.eq(left, _evaluate(member, values)))
            right, holds = left, np.logical_not(found) if isinstance(op, ast.NotIn) else found
        else:
            right = _evaluate(comparator, values)
            holds = COMPARE[type(op)](left, right)
        result = np.logical_and(result, holds)
        left = right
    return result
