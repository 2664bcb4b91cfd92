"""Constraints and conditions as text: a small, safe language over dotted parameter names.

Comparisons, `and`, `or`, `not`, `in`, arithmetic, numbers and choices; no calls, no attributes of objects, no indexing.
The text is parsed with `ast` and evaluated over whole columns, so that thousands of candidates cost microseconds.
"""

from __future__ import annotations

import ast
import difflib
import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from searchers.errors import SpaceError

Columns = Mapping[str, NDArray[Any]]
MAX_LENGTH = 1000  # far above what people write; the text may come from a stranger, and parsing costs time
CONSTANTS = {"true": True, "false": False, "True": True, "False": False}  # as YAML and as Python spell them
MAX_DEPTH = 50  # far above what people nest, and far below Python's limit of recursion


def _divided(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The operation, undefined (nan) where the divisor is 0."""
    return lambda left, right: np.where(right == 0, np.nan, operation(left, right))


def _power(left: Any, right: Any) -> Any:
    return np.where((left == 0) & (right < 0), np.nan, operator.pow(left, right))


# Arithmetic that a condition may use
BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divided(operator.truediv),
    ast.FloorDiv: _divided(operator.floordiv),
    ast.Mod: _divided(operator.mod),
    ast.Pow: _power,
}
# Comparisons that a condition may use
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
        words: choices that may stand in it.
        texts: the texts that stand in it, choices or not.
    """

    text: str
    names: tuple[str, ...]
    words: tuple[str, ...] = field(compare=False, repr=False)
    texts: tuple[str, ...] = field(compare=False, repr=False)
    _tree: ast.expr = field(compare=False, repr=False)
    _slots: Mapping[str, str] = field(compare=False, repr=False)

    def __call__(self, columns: Columns) -> NDArray[np.bool_]:
        """Whether it holds, per row.

        What divides by zero, or is no number for another reason, is undefined, and so is its comparison with anything,
        and the negation of that: `a / n > 1`, `a / n != 1` and `not (a / n > 1)` all do not hold where n is 0. `a / n >
        1 or b > 1` does where b > 1.

        Args:
            columns: natural values by parameter name, each of shape (n,).

        Returns:
            (n,) truth values.
        """
        values = {slot: columns[name] for slot, name in self._slots.items()}
        with np.errstate(all="ignore"):
            truth = _truth(self._tree, values)
        length = len(next(iter(columns.values()))) if columns else 1
        return np.broadcast_to(truth == 1.0, (length,))


def parse(text: object, names: Sequence[str], words: Sequence[str] = (), flags: Sequence[str] = ()) -> Expression:
    """Parse a condition.

    Args:
        text: the expression, on one line or several.
        names: dotted names of all parameters.
        words: choices of categorical parameters, which may stand without quotes (`trainer.optimizer.type == adam`).
        flags: the parameters whose values are true and false, which are conditions by themselves.

    Raises:
        SpaceError: not an expression of this language, a name that nobody knows, no condition, or one that depends on
            nothing.
    """
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_LENGTH:
        raise SpaceError(f"{str(text)[:60]!r}: need an expression of 1 to {MAX_LENGTH} characters such as 'a.b <= c.d'")
    slots: dict[str, str] = {}
    replaced = _replace_names(text, names, slots).strip()
    try:
        tree = ast.parse(f"({replaced}\n)" if "\n" in replaced else replaced, mode="eval").body
        _check(tree, text, slots, names, words)
        bound = _bind_words(tree, words)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        if isinstance(error, SpaceError):
            raise
        raise SpaceError(
            f"{text!r}: not an expression ({error.__class__.__name__}); write for example 'a.b <= c.d'"
        ) from error
    _check_truth(bound, text, slots, {slot for slot, name in slots.items() if name in flags})
    if not slots:
        raise SpaceError(f"{text!r}: mentions no parameter, so that it always or never holds; leave it out")
    texts = tuple(
        node.value for node in ast.walk(bound) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return Expression(text, tuple(sorted(slots.values())), tuple(words), texts, bound, slots)


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


def _check(
    node: ast.expr, text: str, slots: Mapping[str, str], names: Sequence[str], words: Sequence[str], depth: int = 0
) -> None:
    """Refuse everything outside the language."""
    if depth > MAX_DEPTH:
        raise SpaceError(f"{text!r}: nested more than {MAX_DEPTH} deep; write several constraints")
    if isinstance(node, ast.Name | ast.Attribute):
        dotted = ast.unparse(node)
        if dotted not in slots and dotted not in words and dotted not in CONSTANTS:
            near = difflib.get_close_matches(dotted, [*names, *words], n=1, cutoff=0.4)
            hint = (
                f"; did you mean {near[0]}?" if near else "; give it under parameters, as {value: ...} if it is fixed"
            )
            raise SpaceError(f"{text!r}: unknown name {dotted!r}{hint}")
        return
    if not _is_allowed(node):
        raise SpaceError(
            f"{text!r}: {ast.unparse(node)!r} is not allowed; use comparisons, and/or/not, arithmetic, numbers and "
            "names"
        )
    for child in _operands(node):
        _check(child, text, slots, names, words, depth + 1)


def _is_allowed(node: ast.expr) -> bool:
    """Lists are not: they stand behind `in` only, see `_operands`."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float | str)
    if isinstance(node, ast.BinOp):
        return type(node.op) in BINARY
    if isinstance(node, ast.Compare):
        return all(type(op) in COMPARE or isinstance(op, ast.In | ast.NotIn) for op in node.ops)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not | ast.USub | ast.UAdd)
    return isinstance(node, ast.BoolOp)


def _operands(node: ast.expr) -> list[ast.expr]:
    """What an expression is made of; of a list behind `in`, its members."""
    if not isinstance(node, ast.Compare):
        return [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    found = [node.left]
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        found += _members(comparator) if isinstance(op, ast.In | ast.NotIn) else [comparator]
    return found


def _members(comparator: ast.expr) -> list[ast.expr]:
    return comparator.elts if isinstance(comparator, ast.List | ast.Tuple) else [comparator]


def _check_truth(node: ast.expr, text: str, slots: Mapping[str, str], flags: Collection[str]) -> None:
    """Refuse numbers and texts where a condition has to stand: `a` for `a != 0`."""
    if isinstance(node, ast.BoolOp):
        for part in node.values:
            _check_truth(part, text, slots, flags)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check_truth(node.operand, text, slots, flags)
    elif not _is_truth(node, flags):
        shown = slots.get(node.id, node.id) if isinstance(node, ast.Name) else _restored(ast.unparse(node), slots)
        raise SpaceError(f"{text!r}: {shown!r} is not a condition; compare it with something, such as '{shown} > 0'")


def _is_truth(node: ast.expr, flags: Collection[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in flags
    return isinstance(node, ast.Compare) or (isinstance(node, ast.Constant) and isinstance(node.value, bool))


def _restored(text: str, slots: Mapping[str, str]) -> str:
    """An expression with the parameters' own names again."""
    return re.sub(r"_p\d+", lambda match: slots.get(match.group(), match.group()), text)


def _bind_words(tree: ast.expr, words: Sequence[str]) -> ast.expr:
    """Turn bare choices into strings, and numbers into floats, whose powers overflow to infinity and not into hours."""

    class Bind(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            if node.id in CONSTANTS:
                return ast.Constant(CONSTANTS[node.id])
            return ast.Constant(node.id) if node.id in words else node

        def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
            return ast.Constant(ast.unparse(node))

        def visit_Constant(self, node: ast.Constant) -> ast.expr:
            value = node.value
            return (
                ast.Constant(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else node
            )

    bound = Bind().visit(tree)
    assert isinstance(bound, ast.expr)
    return bound


def _truth(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """1 where a condition holds, 0 where it does not, nan where it is undefined: Kleene's logic of three values."""
    match node:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return 1.0 - _truth(operand, values)
        case ast.BoolOp(op=op, values=parts):
            return reduce(_and if isinstance(op, ast.And) else _or, [_truth(part, values) for part in parts])
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            return _compare(_evaluate(left, values), ops, comparators, values)
    return np.asarray(_evaluate(node, values), dtype=float)


def _and(left: Any, right: Any) -> Any:
    return np.where((left == 0.0) | (right == 0.0), 0.0, left * right)


def _or(left: Any, right: Any) -> Any:
    return np.where((left == 1.0) | (right == 1.0), 1.0, left + right)


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """Numbers or texts; a truth value that is counted with is 1 or 0."""
    match node:
        case ast.Constant(value=value):
            return value if isinstance(value, str) else np.float64(cast(float, value))
        case ast.Name(id=slot):
            column = values[slot]
            return column.astype(float) if column.dtype == bool else column
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, values)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return +_evaluate(operand, values)
        case ast.BinOp(left=left, op=op, right=right):
            return BINARY[type(op)](_evaluate(left, values), _evaluate(right, values))
    return _truth(node, values)


def _compare(left: Any, ops: Sequence[ast.cmpop], comparators: Sequence[ast.expr], values: Mapping[str, Any]) -> Any:
    """A chain: every link has to hold."""
    result: Any = np.float64(1.0)
    for op, comparator in zip(ops, comparators, strict=True):
        if isinstance(op, ast.In | ast.NotIn):
            found = reduce(
                _or,
                [_link(operator.eq, left, _evaluate(member, values)) for member in _members(comparator)],
                np.float64(0.0),
            )
            right, holds = left, 1.0 - found if isinstance(op, ast.NotIn) else found
        else:
            right = _evaluate(comparator, values)
            holds = _link(COMPARE[type(op)], left, right)
        result = _and(result, holds)
        left = right
    return result


def _link(operation: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """One comparison, undefined where a side is nan."""
    sides = [np.asarray(side) for side in (left, right)]
    if {side.dtype.kind for side in sides} == {"f", "U"}:  # a number and a text: never equal, and in no order
        holds = operation(0.0, str(right) if sides[1].dtype.kind == "U" else str(left))
    else:
        holds = operation(left, right)
    undefined = reduce(np.logical_or, [np.isnan(side) for side in sides if side.dtype.kind == "f"], np.False_)
    return np.where(undefined, np.nan, np.asarray(holds).astype(float))
