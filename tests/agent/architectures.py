"""Every architecture of a policy, small."""

from trading_rlhf.agent import PolicyConfig

__all__ = ["ARCHITECTURES", "WINDOW"]

WINDOW = 5

ARCHITECTURES = [
    PolicyConfig(hidden=8, encoder=encoder, window=window, context=context, heads=heads,
                 long_only=long_only)
    for encoder, window in (("mlp", 1), ("gru", WINDOW), ("conv", WINDOW))
    for context, heads in (("none", 1), ("pooled", 1), ("attention", 2))
    for long_only in (True, False)
]  # fmt: skip
