"""``python -m trading_rlhf`` is the command ``trading-rlhf``."""

from trading_rlhf.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
