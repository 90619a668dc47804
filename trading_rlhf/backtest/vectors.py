"""Eight numbers in one register, for compiled loops that must not be left to the compiler's guess.

Loops over arrays come out of the compiler half as wide as the registers, with checks whether the
arrays overlap and a remainder one by one. A value of type ``eight`` is one register (or some, where
they are narrower) whatever surrounds it. ``+ - * /`` work lane by lane. Positions count elements
of arrays in C order, from their start; nothing checks bounds.
"""
# numba asks for the names of arguments of which only the types are used.
# ruff: noqa: ARG001

import operator
from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba import extending
from numba.core import cgutils, types
from numba.extending import models, overload, register_model

__all__ = [
    "FAST", "LANES", "Eight", "above", "any_above", "at_least", "fetch_to_read",
    "columns_of", "if_nan", "load", "rows_of", "size", "spread", "store",
    "stream_rows",
]  # fmt: skip

# Whoever calls gives no typing context, which numba's own annotation asks for.
intrinsic: Callable[[Callable[..., Any]], Callable[..., Any]] = extending.intrinsic

LANES = 8
"""Numbers side by side."""

FAST = {"reassoc", "contract", "nsz", "arcp"}
"""Sums may be taken in any order; NaN and infinity mean what they mean."""

Eight: TypeAlias = Any
"""A register, as annotations call it."""

_DOUBLE, _INT, _LONG, _BYTE = ir.DoubleType(), ir.IntType(32), ir.IntType(64), ir.IntType(8)
_VECTOR, _LONGS = ir.VectorType(_DOUBLE, LANES), ir.VectorType(_LONG, LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)
_FLAGS = tuple(sorted(FAST))


class _Eight(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Eight")


_eight = _Eight()


@register_model(_Eight)
class _EightModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)  # type: ignore[no-untyped-call]


def _add_operator(function: Callable[[Any, Any], Any], instruction: str) -> None:
    @intrinsic
    def apply(typing: Any, a: Any, b: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            return getattr(builder, instruction)(*given, flags=_FLAGS)

        return _eight(_eight, _eight), code

    @overload(function, inline="always")
    def implement(a: Any, b: Any) -> Any:
        def act(a: Any, b: Any) -> Any:
            return apply(a, b)

        return act if a is _eight and b is _eight else None


_add_operator(operator.add, "fadd")
_add_operator(operator.sub, "fsub")
_add_operator(operator.mul, "fmul")
_add_operator(operator.truediv, "fdiv")


def _choice(relation: str) -> Any:
    @intrinsic
    def choose(typing: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            a, b, yes, no = given
            return builder.select(builder.fcmp_ordered(relation, a, b), yes, no)

        return _eight(_eight, _eight, _eight, _eight), code

    return choose


above = _choice(">")
"""``above(a, b, yes, no)``: yes where a > b; no elsewhere, and where either is NaN."""

at_least = _choice(">=")
"""``at_least(a, b, yes, no)``: yes where a >= b; no elsewhere, and where either is NaN."""


@intrinsic
def if_nan(typing: Any, a: Any, yes: Any, no: Any) -> Any:
    """Yes where a is NaN, no elsewhere."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        a, yes, no = given
        return builder.select(builder.fcmp_unordered("uno", a, a), yes, no)

    return _eight(_eight, _eight, _eight), code


@intrinsic
def any_above(typing: Any, a: Any, b: Any) -> Any:
    """Whether a > b in any lane."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        bits = builder.bitcast(builder.fcmp_ordered(">", *given), _BYTE)
        return builder.icmp_unsigned("!=", bits, ir.Constant(_BYTE, 0))

    return types.boolean(_eight, _eight), code


@intrinsic
def size(typing: Any, a: Any) -> Any:
    """Absolute values."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        return builder.call(_function(builder, kind, f"llvm.fabs.v{LANES}f64"), given)

    return _eight(_eight), code


@intrinsic
def spread(typing: Any, x: Any) -> Any:
    """One number in every lane."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _spread(builder, given[0], _VECTOR)

    return _eight(types.float64), code


@intrinsic
def load(typing: Any, array: Any, at: Any) -> Any:
    """Eight numbers of an array, from a position on."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], *given), align=8)

    return _eight(array, types.intp), code


@intrinsic
def store(typing: Any, array: Any, at: Any, value: Any) -> Any:
    """Write eight numbers to an array, from a position on."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array, at, value = given
        builder.store(value, _pointer(context, builder, signature.args[0], array, at), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, _eight), code


@intrinsic
def fetch_to_read(typing: Any, array: Any, at: Any) -> Any:
    """What will be read soon comes nearer; it may lie outside."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        place = _pointer(context, builder, signature.args[0], *given)
        kind = ir.FunctionType(ir.VoidType(), [place.type, _INT, _INT, _INT])
        # To be read (0), as far as the second cache (2), as data (1).
        how = [ir.Constant(_INT, x) for x in (0, 2, 1)]
        builder.call(_function(builder, kind, "llvm.prefetch.p0"), [place, *how])
        return context.get_dummy_value()

    return types.void(array, types.intp), code


@intrinsic
def columns_of(
    typing: Any, source: Any, at: Any, stride: Any, rows: Any, many: Any, tile: Any, to: Any
) -> Any:
    """Turn up to 8 rows into lanes: ``tile[to + 8 * i + j] = source[at + stride * j + i]``.

    At most 8 numbers (float64 or float32) of each row are read, and ``many`` at most; the others
    come as 0. Lanes beyond ``rows`` repeat the last.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        source, at, stride, rows, many, tile, to = given
        mask, last = _first(builder, many), builder.sub(rows, ir.Constant(_LONG, 1))
        arrived = []
        for j in range(LANES):
            lane = ir.Constant(_LONG, j)
            row = builder.select(builder.icmp_signed("<", lane, last), lane, last)
            place = builder.add(at, builder.mul(row, stride))
            arrived.append(_load_masked(context, builder, source_kind, source, place, mask))
        for i, column in enumerate(_transposed(builder, arrived)):
            place = builder.add(to, ir.Constant(_LONG, LANES * i))
            builder.store(column, _pointer(context, builder, tile_kind, tile, place), align=8)
        return context.get_dummy_value()

    source_kind, tile_kind, n = source, tile, types.intp
    return types.void(source, n, n, n, n, tile, n), code


@intrinsic
def rows_of(
    typing: Any, tile: Any, to: Any, goal: Any, at: Any, stride: Any, rows: Any, many: Any
) -> Any:
    """The way back of ``columns_of``: no more than ``rows`` lanes, and ``many`` numbers of each."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        tile, to, goal, at, stride, rows, many = given
        columns = _columns(context, builder, tile_kind, tile, to)
        for j, row in enumerate(_transposed(builder, columns)):
            lane = ir.Constant(_LONG, j)
            used = builder.icmp_signed("<", lane, rows)
            mask = _first(builder, builder.select(used, many, ir.Constant(_LONG, 0)))
            place = builder.add(at, builder.mul(lane, stride))
            pointer = _pointer(context, builder, signature.args[2], goal, place)
            kind = ir.FunctionType(ir.VoidType(), [_VECTOR, pointer.type, _INT, _MASK])
            function = _function(builder, kind, f"llvm.masked.store.v{LANES}f64.p0")
            builder.call(function, [row, pointer, ir.Constant(_INT, 8), mask])
        return context.get_dummy_value()

    tile_kind, n = tile, types.intp
    return types.void(tile, n, goal, n, n, n, n), code


@intrinsic
def stream_rows(typing: Any, tile: Any, to: Any, goal: Any, at: Any, stride: Any) -> Any:
    """``rows_of`` for eight whole rows on lines of the cache, past the caches into memory.

    A line that is written as a whole need not be read before.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        tile, to, goal, at, stride = given
        columns = _columns(context, builder, tile_kind, tile, to)
        past = builder.module.add_metadata([ir.Constant(_INT, 1)])
        for j, row in enumerate(_transposed(builder, columns)):
            place = builder.add(at, builder.mul(ir.Constant(_LONG, j), stride))
            pointer = _pointer(context, builder, signature.args[2], goal, place)
            builder.store(row, pointer, align=8 * LANES).set_metadata("nontemporal", past)
        return context.get_dummy_value()

    tile_kind, n = tile, types.intp
    return types.void(tile, n, goal, n, n), code


def _function(builder: Any, kind: Any, name: str) -> Any:
    return cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]


def _pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), _vector(context, kind).as_pointer())


def _vector(context: Any, kind: Any) -> Any:
    return ir.VectorType(context.get_data_type(kind.dtype), LANES)


def _load_masked(context: Any, builder: Any, kind: Any, array: Any, at: Any, mask: Any) -> Any:
    pointer = _pointer(context, builder, kind, array, at)
    vector, width = _vector(context, kind), kind.dtype.bitwidth
    function = _function(
        builder, ir.FunctionType(vector, [pointer.type, _INT, _MASK, vector]),
        f"llvm.masked.load.v{LANES}f{width}.p0",
    )  # fmt: skip
    nothing, aligned = ir.Constant(vector, [0.0] * LANES), ir.Constant(_INT, width // 8)
    numbers = builder.call(function, [pointer, aligned, mask, nothing])
    return numbers if vector == _VECTOR else builder.fpext(numbers, _VECTOR)


def _columns(context: Any, builder: Any, kind: Any, tile: Any, to: Any) -> list[Any]:
    places = [builder.add(to, ir.Constant(_LONG, i)) for i in range(0, LANES * LANES, LANES)]
    return [
        builder.load(_pointer(context, builder, kind, tile, place), align=8) for place in places
    ]


def _spread(builder: Any, x: Any, kind: Any) -> Any:
    unset, order = ir.Constant(kind, ir.Undefined), ir.VectorType(_INT, LANES)
    one = builder.insert_element(unset, x, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, unset, ir.Constant(order, [0] * LANES))


def _first(builder: Any, many: Any) -> Any:
    """Mask of the lanes before ``many``."""
    lanes = ir.Constant(_LONGS, list(range(LANES)))
    return builder.icmp_signed("<", lanes, _spread(builder, many, _LONGS))


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Exchange halves of pairs of rows, for pairs 1, 2 and 4 rows apart."""
    order = ir.VectorType(_INT, LANES)
    for step in (1, 2, 4):
        low = [i for i in range(LANES) if not i & step]
        firsts = [i if not i & step else LANES + i - step for i in range(LANES)]
        seconds = [i + step for i in firsts]
        turned = list(rows)
        for i in low:
            pair = rows[i], rows[i + step]
            turned[i] = builder.shuffle_vector(*pair, ir.Constant(order, firsts))
            turned[i + step] = builder.shuffle_vector(*pair, ir.Constant(order, seconds))
        rows = turned
    return rows
