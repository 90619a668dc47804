"""Four assets at a time: a vector of four float64 for compiled loops, one register wide.

Compilers turn a loop over assets into such code only when they can prove that its arrays do not
overlap, at a cost that exceeds the work on twenty assets. Here it is written down instead:
``+ - *`` work on vectors, and comparisons go through ``unless_nan``.
"""
# Numba asks for the names of arguments of which only the types are used.
# ruff: noqa: ARG001

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, overload, register_jitable, register_model

__all__ = ["WIDTH", "fetch", "load", "load_first", "padded", "size", "spread", "store", "sum_rows",
           "unless_nan"]  # fmt: skip

# Whoever calls gives no typing context, which numba's own annotation asks for.
intrinsic: Callable[[Callable[..., Any]], Callable[..., Any]] = extending.intrinsic

WIDTH = 4
"""Numbers in a vector: with AVX2 a register, elsewhere two; wider ones were no faster."""

_DOUBLE, _INTEGER = ir.DoubleType(), ir.IntType(64)
_VECTOR = ir.VectorType(_DOUBLE, WIDTH)
_NOTHING = ir.Constant(_VECTOR, ir.Undefined)


class VectorType(types.Type):
    """Numba's name for a vector."""

    def __init__(self) -> None:
        super().__init__(name=f"Vector{WIDTH}")


vector = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    """A vector is a register of the machine."""

    def __init__(self, manager: Any, kind: VectorType) -> None:
        super().__init__(manager, kind, _VECTOR)  # type: ignore[no-untyped-call]


@register_jitable
def padded(n: int) -> int:
    """The next multiple of a vector's width."""
    return (n + WIDTH - 1) // WIDTH * WIDTH


def _arithmetic(sign: Callable[[Any, Any], Any], instruction: str) -> None:
    @intrinsic
    def act(context: Any, a: Any, b: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments)

        return vector(vector, vector), build

    @overload(sign)
    def on_vectors(a: Any, b: Any) -> Any:
        # Numba wants the same annotations within as without.
        def acted(a: Any, b: Any) -> Any:
            return act(a, b)

        return acted if a is vector and b is vector else None


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")


@intrinsic
def size(context: Any, a: Any) -> Any:
    """Absolute values."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        absolute = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), f"llvm.fabs.v{WIDTH}f64"
        )
        return builder.call(absolute, arguments)

    return vector(vector), build


@intrinsic
def unless_nan(context: Any, a: Any, b: Any) -> Any:
    """The first vector, and the second where the first is NaN."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, second = arguments
        return builder.select(builder.fcmp_unordered("uno", first, first), second, first)

    return vector(vector, vector), build


@intrinsic
def spread(context: Any, number: Any) -> Any:
    """A vector of equal numbers."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        one = builder.insert_element(_NOTHING, arguments[0], _index(0))
        return _mixed(builder, one, _NOTHING, [0] * WIDTH)

    return vector(types.float64), build


@intrinsic
def load(context: Any, array: Any, at: Any) -> Any:
    """Read four numbers (float64 or float32) of an array in C order, counted from its start.

    Whoever calls sees to it that they exist.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.VectorType(context.get_data_type(array.dtype), WIDTH)
        place = builder.bitcast(_place(context, builder, array, arguments), kind.as_pointer())
        read = builder.load(place, align=array.dtype.bitwidth // 8)
        return read if kind == _VECTOR else builder.fpext(read, _VECTOR)

    return vector(array, types.intp), build


@intrinsic
def load_first(context: Any, array: Any, at: Any, many: Any) -> Any:
    """Read the first numbers of what ``load`` reads, at least one; the others are zero."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, many = _place(context, builder, array, arguments), arguments[2]
        read, zero = ir.Constant(_VECTOR, [0.0] * WIDTH), ir.Constant(_DOUBLE, 0.0)
        for k in range(WIDTH):
            there = builder.icmp_signed("<", _whole(k), many)
            number = builder.load(builder.gep(place, [builder.select(there, _whole(k), _whole(0))]))
            if number.type != _DOUBLE:
                number = builder.fpext(number, _DOUBLE)
            read = builder.insert_element(read, builder.select(there, number, zero), _index(k))
        return read

    return vector(array, types.intp, types.intp), build


@intrinsic
def fetch(context: Any, array: Any, at: Any) -> Any:
    """Send for an element that is read soon; it may lie outside of the array."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place, whole = _place(context, builder, array, arguments), ir.IntType(32)
        send = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, ir.FunctionType(ir.VoidType(), [place.type, whole, whole, whole]),
            "llvm.prefetch.p0",
        )  # fmt: skip
        # To be read (0), kept in every cache (3), as data (1).
        builder.call(send, [place, _index(0), _index(3), _index(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), build


@intrinsic
def store(context: Any, array: Any, at: Any, value: Any) -> Any:
    """Write a vector to an array of float64 in C order, counted from its start."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, array, arguments)
        builder.store(arguments[2], _four(builder, place), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), build


@intrinsic
def sum_rows(context: Any, array: Any, at: Any) -> Any:
    """Sums of four vectors that lie one after the other: the vector of their totals."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, array, arguments)
        starts = [builder.gep(place, [_whole(row * WIDTH)]) for row in range(WIDTH)]
        rows = [builder.load(_four(builder, start), align=8) for start in starts]
        step = 1
        while len(rows) > 1:
            # Neighbours within a row are added, and two rows become one.
            first, second = [], []
            for k in range(0, WIDTH, 2 * step):
                first += [*range(k, k + step), *range(WIDTH + k, WIDTH + k + step)]
                second += [*range(k + step, k + 2 * step),
                           *range(WIDTH + k + step, WIDTH + k + 2 * step)]  # fmt: skip
            rows = [
                builder.fadd(_mixed(builder, a, b, first), _mixed(builder, a, b, second))
                for a, b in zip(rows[::2], rows[1::2], strict=True)
            ]
            step *= 2
        return rows[0]

    return vector(array, types.intp), build


def _place(context: Any, builder: Any, array: Any, arguments: Any) -> Any:
    """Address of an element, counted from the start of the array."""
    data = context.make_array(array)(context, builder, arguments[0]).data
    return builder.gep(data, [arguments[1]])


def _four(builder: Any, place: Any) -> Any:
    """Address of a vector."""
    return builder.bitcast(place, _VECTOR.as_pointer())


def _mixed(builder: Any, a: Any, b: Any, which: list[int]) -> Any:
    """Elements of two vectors by number; the second's follow those of the first."""
    numbers = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), which)
    return builder.shuffle_vector(a, b, numbers)


def _index(k: int) -> Any:
    return ir.Constant(ir.IntType(32), k)


def _whole(k: int) -> Any:
    return ir.Constant(_INTEGER, k)
