"""The compiled step's border: what it can step, and its arrays from tensors and back."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trading_rlhf.accounting import BPS, DAYS_PER_YEAR, CostModel
from trading_rlhf.env.accounts import MODULUS, MULTIPLIER, Accounts
from trading_rlhf.env.dynamics import MarketTensors
from trading_rlhf.env.orders import Orders
from trading_rlhf.env.transition import Rules, Transition
from trading_rlhf.types import FloatArray

if TYPE_CHECKING:
    from trading_rlhf.env.kernels_cpu import AccountArrays, StepMarket

__all__ = ["fused_transition", "fuses", "step_market"]


def fuses(market: MarketTensors, rules: Rules) -> bool:
    """Whether the compiled step knows the rules: no desk, nothing in USD or cash, no score, CPU."""
    plain = rules.plain and not rules.costs.cash_account and market.dividends is None
    return plain and market.overnight.device.type == "cpu"


def fused_transition(market: "StepMarket", accounts: Accounts, target: Tensor) -> Transition:
    """``transition`` through the compiled law; gradients do not pass.

    Args:
        market: from ``step_market``.
        accounts: state at the close of t.
        target: ``[B, N]`` weights wanted (fraction of equity); NaN holds.
    """
    # numba takes half a second to load, which every command would pay.
    from trading_rlhf.env.kernels_cpu import StepArrays, fused_step

    shape, money = accounts.held.shape, accounts.held.dtype
    rows = (3, shape[0])
    held, executed = torch.empty((2, *shape), dtype=money)
    equity, peak, reward = torch.empty(rows, dtype=money)
    t, start, stream = torch.empty(rows, dtype=torch.int64)
    done, terminated, truncated = torch.empty(rows, dtype=torch.bool)
    # Without a desk nothing rests or waits; one number seen as many cannot be written to.
    cooldown, *nothing = torch.zeros((4, 1, 1), dtype=money).expand(4, *shape)
    moved = Accounts(t, start, held, cooldown, equity, peak, Orders(*nothing), done, stream)
    did = StepArrays(*(x.numpy() for x in (executed, reward, terminated, truncated)))
    fused_step(market, _arrays(accounts), target.contiguous().numpy(), _arrays(moved), did)
    # NumPy's logarithm runs in vector registers, the compiled one would not.
    np.log(did.growth, out=did.growth)
    return Transition(moved, reward, terminated, truncated, executed)


def _arrays(accounts: Accounts) -> "AccountArrays":
    from trading_rlhf.env.kernels_cpu import AccountArrays

    return AccountArrays(*(getattr(accounts, name).numpy() for name in AccountArrays._fields))


def step_market(market: MarketTensors, rules: Rules) -> "StepMarket":
    """Lay a market, its costs and the limits out as the compiled step reads them."""
    from trading_rlhf.env.kernels_cpu import StepMarket

    costs, number = rules.costs, market.overnight.numpy().dtype
    trades = market.fillable.to(market.overnight.dtype)
    if market.delisted is not None:
        trades = torch.where(market.delisted, -1.0, trades)
    years = market.days / DAYS_PER_YEAR
    multiple = torch.ones_like(years) if market.cost_scale is None else market.cost_scale
    terms = (
        costs.margin_bps_per_year * BPS, costs.cash_bps_per_year * BPS,
        costs.delisting_haircut, rules.max_gross,
    )  # fmt: skip
    episodes = (rules.episode_length, rules.first_start, rules.last_start, MULTIPLIER, MODULUS)
    return StepMarket(
        torch.stack([market.overnight, market.intraday, trades], 1).numpy(),
        torch.stack([years, multiple], 1).numpy(),
        _rates(costs, market.shape[1]).astype(number),
        np.array(terms, number),
        np.array(episodes, np.int64),
    )


def _rates(costs: CostModel, n_assets: int) -> FloatArray:
    """Rates ``[3, N]`` of ``StepMarket``."""
    one = torch.ones(n_assets, dtype=torch.float64)
    buys, sells = costs.rate(one), costs.rate(-one)
    borrow = torch.as_tensor(costs.borrow_bps_per_year, dtype=one.dtype)
    fee = (borrow - costs.short_rebate_bps_per_year) * BPS * one
    return torch.stack([(buys + sells) / 2, (buys - sells) / 2, fee]).numpy()
