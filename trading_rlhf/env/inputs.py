"""What a user may hand to an environment: a mistake is one sentence, said before anything runs."""

import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trading_rlhf.accounting import CostModel
from trading_rlhf.env.dynamics import MarketTensors
from trading_rlhf.env.gate import GateConfig
from trading_rlhf.env.objective import ConstraintConfig, ObjectiveConfig
from trading_rlhf.env.observations import Handle
from trading_rlhf.errors import AccountingError, ConfigError, DataError, TradingRlhfError
from trading_rlhf.market import Bars
from trading_rlhf.types import FloatArray, JsonDict

__all__ = [
    "SETTINGS",
    "Setting",
    "as_features",
    "as_handle",
    "as_numbers",
    "as_seed",
    "as_start",
    "bad_weights",
    "check_market",
    "check_settings",
    "describe",
    "is_number",
    "is_whole",
    "one_of",
    "require",
]

_HIGHEST_WHOLE = 2**31 - 1


def require(
    holds: bool, must: str, got: str, remedy: str, error: type[TradingRlhfError] = ConfigError
) -> None:
    """Raise an error unless a condition holds."""
    if not holds:
        raise error(must, got, remedy)


def describe(value: object) -> str:
    """A value in a few words, however long it is."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a number of {value.bit_length()} bits"
    if value is None or isinstance(value, bool | int | float | complex | str | torch.dtype):
        return reprlib.repr(value)
    if isinstance(value, np.ndarray | Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return f"a value of type {type(value).__name__}"


def is_number(value: object) -> bool:
    """Whether something is a real number; NaN and truth values are none."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return not math.isnan(value)
    except OverflowError:
        return False


def is_whole(value: object, least: int = 0, most: int = _HIGHEST_WHOLE) -> bool:
    """Whether something is a whole number within limits."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and least <= value <= most  # type: ignore[operator]


class Setting(NamedTuple):
    """What an argument must be.

    Attributes:
        holds: whether a value is that.
        must: in words.
        remedy: how to go on.
    """

    holds: Callable[[Any], bool]
    must: str
    remedy: str


def one_of(*choices: str) -> Setting:
    """One of a few words."""
    named = [f'"{choice}"' for choice in choices]
    must = f"{', '.join(named[:-1])} or {named[-1]}"
    return Setting(lambda x: isinstance(x, str) and x in choices, must, "Choose one.")


def _instance(kind: type) -> Setting:
    name = kind.__name__
    remedy = f"Pass {name}(), or leave it out."
    return Setting(lambda x: x is None or isinstance(x, kind), f"of class {name}, or None", remedy)


def _is_device(value: Any) -> bool:
    """Whether torch can compute there."""
    if not isinstance(value, str | torch.device):
        return False
    try:
        # A device without memory, "meta", cannot give back what it was given.
        torch.empty(0, dtype=torch.float64, device=value).cpu()
    except (RuntimeError, AssertionError, TypeError):
        return False
    return True


_SWITCH = Setting(lambda x: isinstance(x, bool | np.bool_), "True or False", "Choose one.")

SETTINGS: Final[Mapping[str, Setting]] = {
    "bars": Setting(
        lambda x: isinstance(x, Bars), "of class Bars", "Load them with load_bars or load_sample."
    ),
    "costs": _instance(CostModel),
    "gate": _instance(GateConfig),
    "objective": _instance(ObjectiveConfig),
    "limits": _instance(ConstraintConfig),
    "market": Setting(
        lambda x: x is None or isinstance(x, MarketTensors),
        "of class MarketTensors, or None",
        "Make it with MarketTensors.for_costs, or leave it out.",
    ),
    "desk": Setting(
        lambda x: x is None or callable(x), "a function or None", "Pass one, or leave it out."
    ),
    "num_envs": Setting(
        lambda x: is_whole(x, 1), "a whole number of at least 1", "Give how many accounts to step."
    ),
    "episode_length": Setting(
        lambda x: x is None or is_whole(x, -_HIGHEST_WHOLE),
        "a whole number of bars, or None",
        "Give it in whole bars.",
    ),
    "first_bar": Setting(
        lambda x: x is None or is_whole(x),
        "a whole number of at least 0, or None",
        "Count bars from 0.",
    ),
    "max_gross": Setting(
        lambda x: is_number(x) and x >= 0,
        "a number of at least 0",
        "Give a fraction of equity.",
    ),
    "capital": Setting(
        lambda x: is_number(x) and 0 < x < math.inf, "positive (USD)", "Choose another."
    ),
    "long_only": _SWITCH,
    "soft_gate": _SWITCH,
    "observation": one_of("full", "handle"),
    "device": Setting(_is_device, "a device that torch can use here", 'Use "cpu".'),
    "dtype": Setting(
        lambda x: x in (torch.float32, torch.float64),
        "torch.float32 or torch.float64",
        "Choose one.",
    ),
}


def check_settings(
    settings: Mapping[str, Setting], error: type[TradingRlhfError] = ConfigError, **given: object
) -> None:
    """Check arguments by name.

    Raises:
        TradingRlhfError: one is not what its setting asks for; of the class ``error``.
    """
    for name, value in given.items():
        must = f"{name} must be {settings[name].must}"
        require(settings[name].holds(value), must, describe(value), settings[name].remedy, error)


def check_market(market: MarketTensors, bars: Bars, device: str | torch.device) -> None:
    """Check that a market is that of the bars and lies on the device.

    Raises:
        DataError: it has another shape or lies elsewhere.
    """
    require(
        market.shape == bars.shape,
        f"a market must have the bars' shape {bars.shape}",
        f"shape {market.shape}",
        "Make the market from these bars.",
        DataError,
    )
    wanted, where = torch.device(device).type, market.overnight.device.type
    require(
        wanted == where,
        f"a market must lie on the device that is asked for ({wanted})",
        where,
        f'Build it with device="{wanted}".',
        DataError,
    )


def as_numbers(
    values: object, what: str, error: type[TradingRlhfError] = AccountingError
) -> Tensor:
    """A tensor of real numbers from whatever holds some; copied only where torch must.

    Args:
        values: tensor, array, data frame or nested lists.
        what: its name in the error.
        error: class of the error.

    Raises:
        TradingRlhfError: something else is among them; of the class ``error``.
    """
    if isinstance(values, Tensor):
        if values.is_complex():
            raise _no_numbers(what, describe(values), error)
        return values if values.layout is torch.strided else values.to_dense()
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError, OverflowError) as problem:
        raise _no_numbers(what, describe(values), error) from problem
    if array.dtype.kind == "O":
        array = _from_objects(array, what, error)
    if array.dtype.kind not in "biuf":
        raise _no_numbers(what, describe(array if array.ndim else values), error)
    if not array.flags.writeable:
        array = array.copy()
    try:
        return torch.from_numpy(array)
    except (TypeError, ValueError):
        # Views that run backwards, and formats of numbers that only NumPy knows.
        single = array.dtype == np.float32
        return torch.from_numpy(array.astype(np.float32 if single else np.float64, order="C"))


def _from_objects(
    array: npt.NDArray[Any], what: str, error: type[TradingRlhfError]
) -> npt.NDArray[Any]:
    """Python's own numbers as float64."""
    for item in array.flat:
        if not isinstance(item, bool | int | float | np.integer | np.floating | np.bool_):
            raise _no_numbers(what, describe(item) + " among them" * (array.ndim > 0), error)
    try:
        return array.astype(np.float64)
    except (OverflowError, TypeError) as problem:
        raise _no_numbers(what, "one that is no real float", error) from problem


def _no_numbers(what: str, got: str, error: type[TradingRlhfError]) -> TradingRlhfError:
    return error(f"{what} must be an array of numbers", got, "Pass a float array.")


def as_features(features: object) -> FloatArray:
    """Features ``[T, N, F]`` as an array.

    Raises:
        DataError: they are no numbers.
    """
    numbers: FloatArray = as_numbers(features, "features", DataError).detach().cpu().numpy()
    return numbers


def bad_weights(shape: tuple[int, ...], got: str) -> AccountingError:
    """What is said about targets that cannot be settled."""
    return AccountingError(
        f"target weights must be finite and of shape {shape}",
        got,
        "Pass one weight per asset; NaN holds a position.",
    )


def as_seed(seed: object) -> int | None:
    """The seed of an environment's generators; of a list its first entry.

    Raises:
        ConfigError: it is no whole number that a generator takes.
    """
    seeds: list[Any] = list(seed) if isinstance(seed, list | tuple) else [seed]
    must = "a seed must be a whole number from 0 to 2**64 - 1, a list of such, or None"
    require(len(seeds) > 0, must, "an empty list", "Choose another.")
    for each in seeds:
        fits = each is None or is_whole(each, 0, 2**64 - 1)
        require(fits, must, describe(each), "Choose another.")
    return None if seeds[0] is None else int(seeds[0])


def as_start(options: JsonDict | None, first: int, last: int) -> int | None:
    """The bar at which ``reset`` is asked to start; None where it is not.

    Args:
        options: of ``reset``.
        first: earliest start.
        last: latest start.

    Raises:
        ConfigError: there are other options.
        DataError: no episode can start at that bar.
    """
    if options is None:
        return None
    remedy = 'Pass {"start": bar}, or nothing.'
    must = "reset knows one option, start"
    require(isinstance(options, Mapping), must, describe(options), remedy)
    for name in options:
        require(name == "start", must, describe(name), remedy)
    if not options:
        return None
    start = options["start"]
    must = f"an episode must start at a bar from {first} to {last}"
    fits = is_whole(start, first, last)
    require(fits, must, describe(start), "Choose a start in that range.", DataError)
    return int(start)


def as_handle(handle: Handle, shape: tuple[int, int], device: torch.device) -> Handle:
    """A handle of B accounts as tensors on a device.

    Bars beyond the market are noticed on the CPU; another device is not waited for.

    Args:
        handle: from ``reset`` or ``step``, also in NumPy arrays.
        shape: (T, N) of the market.
        device: of the market.

    Raises:
        AccountingError: it is no handle of such a market.
    """
    names = ("t", "held", "pending", "wait", "cooldown")
    remedy = 'Pass what reset and step return with observation="handle".'
    must = f"a handle must be a dict of {', '.join(names)}"
    whole = isinstance(handle, Mapping) and all(name in handle for name in names)
    require(whole, must, describe(handle), remedy, AccountingError)
    found = {name: as_numbers(handle[name], f"{name} of a handle").to(device) for name in names}
    t, (n_bars, n_assets) = found["t"], shape
    counts = t.ndim == 1 and not t.is_floating_point() and t.dtype != torch.bool
    must = "t of a handle must be whole bars [B]"
    require(counts, must, describe(t), remedy, AccountingError)
    found["t"] = t = t.long()
    for name in names[1:]:
        must = f"{name} of a handle must have shape [B, N] = {(len(t), n_assets)}"
        fits = tuple(found[name].shape) == (len(t), n_assets)
        require(fits, must, describe(found[name]), remedy, AccountingError)
    if device.type == "cpu" and len(t):
        least, most = int(t.min()), int(t.max())
        must = f"t of a handle must be bars from 0 to {n_bars - 1}"
        within = least >= 0 and most < n_bars
        require(within, must, f"{least} to {most}", remedy, AccountingError)
    return found
