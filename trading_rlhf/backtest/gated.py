"""Backtests in which a reward model reads every trade: all strategies and bars in one loop."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from trading_rlhf.accounting import (
    BARS_PER_YEAR,
    CostModel,
    annual_return,
    annual_volatility,
    max_drawdown,
    per_bar_returns,
    sharpe_ratio,
    sortino_ratio,
    total_return,
)
from trading_rlhf.agent import Policy, Walk, walk
from trading_rlhf.backtest.fused import fuses, market_table
from trading_rlhf.env import GateConfig, MarketTensors
from trading_rlhf.env.dynamics import trade_session
from trading_rlhf.errors import AccountingError
from trading_rlhf.reward import ModelDesk, RewardModel
from trading_rlhf.types import Desk

if TYPE_CHECKING:
    from trading_rlhf.backtest.kernels_gated import GatedPaths, GatedSums
    from trading_rlhf.backtest.kernels_nets import DeskTable, PolicyTable

__all__ = ["GatedBacktest", "GatedBars", "gated_backtest"]

_APPROVED: Final = 0.5
"""The deciding desk executes what it approves of rather than not, as in a walk."""


@dataclass(frozen=True)
class GatedBars:
    """What happened bar by bar, with the axes of ``Walk``.

    Attributes:
        held: ``[K, S, B, N]`` weights at the decision (fraction of equity).
        target: ``[K, S, B, N]`` what was wanted.
        shown: ``[K, S, B, N]`` bool, put to the deciding desk.
        executed: ``[K, S, B, N]`` settled change that was ordered.
        approval: ``[K, S, B, N]`` the deciding desk's probability of what was shown; elsewhere it
            may be NaN.
    """

    held: Tensor
    target: Tensor
    shown: Tensor
    executed: Tensor
    approval: Tensor


@dataclass(frozen=True)
class GatedBacktest:
    """Outcome of S strategies in B episodes of K decisions.

    Attributes:
        equity: ``[S, B, K + 1]`` marked at the close, starts at 1.0.
        turnover: ``[S, B]`` sum of absolute fills (fraction of equity at the fill); an order that
            finds no price is no turnover.
        shown: ``[S, B]`` number of trades that were shown.
        notional: ``[S, B]`` sum of their sizes (fraction of equity).
        bars: what happened bar by bar, where it is kept.
        engine: which implementation ran.
    """

    equity: Tensor
    turnover: Tensor
    shown: Tensor
    notional: Tensor
    bars: GatedBars | None
    engine: str

    def measures(self, bars_per_year: float = BARS_PER_YEAR) -> pd.DataFrame:
        """One row per (strategy, episode), named as in ``measure``; turnover and reviews a bar."""
        equity = self.equity.flatten(0, 1)
        returns, steps = per_bar_returns(equity), equity.shape[-1] - 1
        columns = {
            "total_return": total_return(equity),
            "annual_return": annual_return(equity, bars_per_year),
            "volatility": annual_volatility(returns, bars_per_year),
            "sharpe": sharpe_ratio(returns, bars_per_year),
            "sortino": sortino_ratio(returns, bars_per_year),
            "max_drawdown": max_drawdown(equity),
            "turnover": self.turnover.flatten() / steps,
            "reviews": self.shown.flatten() / steps,
        }
        index = pd.MultiIndex.from_product(
            [range(n) for n in self.shown.shape], names=["strategy", "episode"]
        )
        return pd.DataFrame({k: v.cpu().numpy() for k, v in columns.items()}, index=index)


def gated_backtest(
    market: MarketTensors,
    policy: Policy | Tensor,
    costs: CostModel,
    gate: GateConfig,
    *,
    start: Tensor | None = None,
    length: int | None = None,
    model: ModelDesk | None = None,
    thresholds: Tensor | None = None,
    decider: Desk | None = None,
    max_gross: float = 0.98,
    capital: float = 1e6,
    generator: torch.Generator | None = None,
    keep_bars: bool = False,
) -> GatedBacktest:
    """Run strategies under the desk: what is not shown or refused does not happen.

    As ``walk``, which runs where the compiled loop does not know the rules: under a review delay,
    for deciding desks other than a reward model, for costs in USD or cash, and on other devices
    than the processor. Money is equal to 1e-10 where decisions are. A decision may differ where p
    is as close to its threshold, or a change to the smallest trade, as rounding in the precision of
    nets (float32: about 1e-6); from there on the account goes another, equally valid way.

    Args:
        market: prices.
        policy: S stacked policies; or weights ``[S, T, N]`` wanted at each close (fraction of
            equity), NaN holds.
        costs: the cost model.
        gate: smallest trade, cool-down, review, resize and the default threshold of the filter.
        start: ``[B]`` first decision bars; None is the first bar.
        length: number of decisions K; None is as many as there are.
        model: one reward model, or one per strategy, that filters what is shown.
        thresholds: ``[S]`` thresholds of the filter; None is the gate's.
        decider: the desk that answers above one half; a refused side rests. None approves.
        max_gross: limit of gross exposure for given weights; policies have their own.
        capital: equity at the start (USD), for costs in USD.
        generator: draws when reviews are answered, where that is a matter of chance.
        keep_bars: return what happened bar by bar: 33 bytes for each asset and bar.

    Raises:
        AccountingError: shapes or episodes do not fit the market, or given weights meet rules that
            the compiled loop does not know.
    """
    start = torch.zeros(1, dtype=torch.long) if start is None else start.cpu()
    room = market.shape[0] - 1 - int(start.max())
    length = room if length is None else length
    n_strategies = _count(market, policy, start, length, room)
    bars = torch.full((n_strategies,), gate.threshold) if thresholds is None else thresholds
    for desk in (model, decider):
        _check_models(desk, n_strategies)
    known = gate.immediate and fuses(market, costs)
    if isinstance(policy, Policy):
        known = known and policy.config.plain
    if known and (decider is None or isinstance(decider, ModelDesk)):
        limit = policy.config.max_gross if isinstance(policy, Policy) else max_gross
        return _compiled(
            market, policy, costs, gate, start, length,
            (model, bars), (decider, torch.full_like(bars, _APPROVED)), limit, keep_bars,
        )  # fmt: skip
    if not isinstance(policy, Policy):
        raise AccountingError(
            "given weights under a desk need a review without delay, by a reward model, and costs "
            "without rules in USD or cash, on the processor", "other rules", "Pass a policy.",
        )  # fmt: skip
    walked = walk(
        policy, market, start.to(market.overnight.device), length, costs, gate,
        model=_per_strategy(model, n_strategies), thresholds=bars,
        decider=_per_strategy(decider, n_strategies), capital=capital, generator=generator,
    )  # fmt: skip
    return _of_walk(walked, market, costs, capital, keep_bars)


def _count(
    market: MarketTensors, policy: Policy | Tensor, start: Tensor, length: int, room: int
) -> int:
    """Number of strategies; refuse what does not fit."""
    if length < 1 or length > room or int(start.min()) < 0:
        raise AccountingError(
            f"decisions must lie in bars 0 to {market.shape[0] - 2}",
            f"{length} from bars {start.tolist()}",
            "Choose fewer, or other starts.",
        )
    if isinstance(policy, Policy):
        if market.features.shape[-1] != policy.n_features:
            raise AccountingError(
                f"the policy reads {policy.n_features} features",
                f"{market.features.shape[-1]}",
                "Compute the features that it was trained on.",
            )
        return policy.members
    if policy.ndim != 3 or tuple(policy.shape[1:]) != market.shape:
        raise AccountingError(
            f"weights must have shape [S, T, N] with T, N = {market.shape}",
            str(tuple(policy.shape)),
            "Give one row per bar and one column per asset.",
        )
    return len(policy)


def _check_models(desk: Desk | None, n_strategies: int) -> None:
    if isinstance(desk, ModelDesk) and desk.model.n_models not in (1, n_strategies):
        raise AccountingError(
            f"there must be one reward model, or one for each of {n_strategies} strategies",
            str(desk.model.n_models),
            "Stack as many as there are strategies.",
        )


def _per_strategy(desk: Desk | None, n_strategies: int) -> Desk | None:
    """One model for all strategies as a walk reads it: one per strategy."""
    if isinstance(desk, ModelDesk) and desk.model.n_models < n_strategies:
        return ModelDesk(RewardModel.stack([desk.model] * n_strategies), desk.pessimism)
    return desk


def _of_walk(
    walked: Walk, market: MarketTensors, costs: CostModel, capital: float, keep_bars: bool
) -> GatedBacktest:
    growth = walked.log_growth.permute(1, 2, 0).cumsum(-1).exp()
    equity = torch.cat([torch.ones_like(growth[..., :1]), growth], -1)
    size = (walked.target - walked.held).abs() * walked.shown
    bars = GatedBars(walked.held, walked.target, walked.shown, walked.executed, walked.approval)
    turnover = torch.zeros_like(growth[..., 0])
    for k, t in enumerate(walked.t):
        usd = equity[..., k] * capital
        session = trade_session(
            market, t, walked.held[k], costs, change=walked.executed[k], equity=usd
        )
        turnover += session.filled.abs().sum(-1)
    return GatedBacktest(
        equity, turnover, walked.shown.sum((0, -1)), size.sum((0, -1)),
        bars if keep_bars else None, f"torch walk on {equity.device.type}",
    )  # fmt: skip


def _compiled(
    market: MarketTensors,
    policy: Policy | Tensor,
    costs: CostModel,
    gate: GateConfig,
    start: Tensor,
    length: int,
    model: tuple[Desk | None, Tensor],
    decider: tuple[Desk | None, Tensor],
    max_gross: float,
    keep_bars: bool,
) -> GatedBacktest:
    """Pack everything, run the loop and unpack."""
    # numba takes half a second to load, which every command would pay.
    import numba

    from trading_rlhf.backtest.kernels_gated import GatedRules, gated_loop
    from trading_rlhf.backtest.vectors import LANES

    n_strategies, n_episodes = len(model[1]), len(start)
    kind = _precision(policy, model[0], decider[0])
    wanted = torch.empty((0, 0, 0)) if isinstance(policy, Policy) else policy
    sums, paths = _outcome(n_strategies, n_episodes, length, market.shape[1], keep_bars)
    rules = GatedRules(gate.min_trade, gate.cooldown, gate.resize_steps, max_gross)
    table = market_table(market, costs)
    # Fewer strategies side by side where there would be less blocks than threads.
    shares = max(numba.get_num_threads() // n_episodes, 1)
    gated_loop(
        table, _array(market.features, kind), market.fillable.numpy(),
        start.numpy(), min(-(-n_strategies // shares), LANES), _policy_table(policy, kind),
        _array(wanted, torch.float64), _desk_table(*model, kind), _desk_table(*decider, kind),
        rules, sums, paths,
    )  # fmt: skip
    equity, turnover, shown, notional = (torch.from_numpy(x) for x in sums)
    bars = GatedBars(*(torch.from_numpy(path).permute(2, 0, 1, 3) for path in paths))
    kept = bars if keep_bars else None
    return GatedBacktest(equity, turnover, shown, notional, kept, "numba loop on cpu")


def _outcome(
    n_strategies: int, n_episodes: int, length: int, n_assets: int, keep_bars: bool
) -> "tuple[GatedSums, GatedPaths]":
    """Arrays for the loop to write."""
    from trading_rlhf.backtest.kernels_gated import GatedPaths, GatedSums

    accounts = (n_strategies, n_episodes)
    sums = GatedSums(
        np.ones((*accounts, length + 1)), np.zeros(accounts), np.zeros(accounts, np.int64),
        np.zeros(accounts),
    )  # fmt: skip
    shape = (n_strategies * keep_bars, n_episodes, length, n_assets)
    kinds = (np.float64, np.float64, np.bool_, np.float64, np.float64)
    return sums, GatedPaths(*(np.zeros(shape, kind) for kind in kinds))


def _precision(policy: Policy | Tensor, *desks: Desk | None) -> torch.dtype:
    """Precision of the nets."""
    if isinstance(policy, Policy):
        return policy.head_bias.dtype
    given = [desk.model.line_bias.dtype for desk in desks if isinstance(desk, ModelDesk)]
    return given[0] if given else torch.float32


def _array(tensor: Tensor, kind: torch.dtype) -> Any:
    return tensor.detach().to(kind).contiguous().numpy()


def _policy_table(policy: Policy | Tensor, kind: torch.dtype) -> "PolicyTable":
    from trading_rlhf.backtest.kernels_nets import PolicyTable

    if not isinstance(policy, Policy):
        shapes = ((0, 0, 0), (0, 0), (0, 0), (0, 0, 0), (0, 0), (0, 0, 0), (0, 0), (2,))
        return PolicyTable(*(_array(torch.zeros(shape), kind) for shape in shapes))
    limits = torch.tensor([policy.config.tilt, policy.config.max_gross], dtype=kind)
    weights = (
        policy.feature_weight, policy.feature_bias.squeeze(1), policy.held_weight.squeeze(1),
        policy.hidden_weight, policy.hidden_bias.squeeze(1), policy.head_weight,
        policy.head_bias.squeeze(1), limits,
    )  # fmt: skip
    return PolicyTable(*(_array(weight, kind) for weight in weights))


def _desk_table(desk: Desk | None, thresholds: Tensor, kind: torch.dtype) -> "DeskTable":
    from trading_rlhf.backtest.kernels_nets import DeskTable

    pessimism, which = 0.0, torch.zeros(len(thresholds), dtype=torch.long)
    layers = [torch.zeros((0,) * n) for n in (3, 2, 3, 3, 2)]
    if isinstance(desk, ModelDesk):
        model, pessimism = desk.model, desk.pessimism
        heat = model.temperature.view(-1, 1, 1)
        # Every member reads its own tanh units: blocks on a diagonal.
        own = torch.eye(model.out_weight.shape[1], dtype=model.out_weight.dtype)
        layers = [
            model.hidden_weight.transpose(1, 2).flatten(2),
            model.hidden_bias.flatten(1),
            (model.out_weight.unsqueeze(-1) * own.unsqueeze(1)).flatten(1, 2) / heat,
            model.line_weight.transpose(1, 2) / heat,
            model.line_bias / heat.squeeze(-1),
        ]
        which = torch.arange(len(thresholds)) % model.n_models
    weight, bias, out, line, line_bias = (_array(layer, kind) for layer in layers)
    return DeskTable(
        weight, bias, out, line, line_bias, which.numpy(), _array(thresholds, torch.float32),
        _array(torch.tensor([pessimism]), kind),
    )  # fmt: skip
