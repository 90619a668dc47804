"""The command line: one verb a stage. Exit 0 done, 1 failed, 2 wrong usage."""

import os
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import App, CycloptsError
from pydantic import ValidationError

from trading_rlhf import __version__
from trading_rlhf.cli.console import print_error
from trading_rlhf.errors import TradingRlhfError, validation_words

__all__ = ["app", "main"]

_PATIENCE = 10.0
"""Seconds, more than the first of several processes needs to end."""

# A verb's module is imported when the verb is called: help and typing errors answer at once.
_VERBS = {
    "demo": ("runs:demo", "Run the whole loop once with a simulated desk and write a report."),
    "data": ("data:data", "Fetch, check and make price bars; report on features."),
    "train": ("runs:train", "Train a base policy on profit alone; resumable."),
    "propose": ("runs:propose", "Put proposed trades into the review queue."),
    "review": ("runs:review", "Open the dashboard where people answer proposals."),
    "learn": ("runs:learn", "Fit the reward model on the answers; shape a policy by it."),
    "promote": ("champions:promote", "Let a challenger meet the champion on validation bars."),
    "rollback": ("champions:rollback", "Put an earlier champion back."),
    "backtest": ("runs:backtest", "Backtest a run's policies, weights from a file, or a grid."),
    "stress": ("stress:stress", "Run a policy through the challenges of real-world learning."),
    "export": ("runs:export", "Release approved live proposals to the embedded paper broker."),
    "users": ("users:users", "Accounts of a desk."),
    "audit": ("runs:audit", "Check the chain from data to fill."),
    "status": ("runs:status", "Show where a run stands."),
}

app = App(
    name="trading-rlhf",
    help="Trains trading strategies with the traders who review them.",
    version=__version__,
    # Else Ctrl+C ends a command without a word; main says that it stopped.
    suppress_keyboard_interrupt=False,
)
for _name, (_place, _help) in _VERBS.items():
    app.command(f"{__name__}.{_place}", name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its status."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    twice = _repeated_rate(tokens)
    if twice is not None:
        _refuse_usage(
            f"{twice} takes one number here; got several. Write one for each asset as a list in a "
            "YAML file and pass it with --config."
        )
    try:
        status = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _refuse_usage(f"{_usage_sentence(error)} See 'trading-rlhf --help'.")
    except TradingRlhfError as error:
        print_error(f"Error: {error}")
        sys.exit(1)
    except OSError as error:
        # Libraries that raise it themselves name the file in their words alone. A file that was
        # written aside could not take its place: the second name.
        name = error.filename2 or error.filename
        place = "" if name is None else f" for {name}"
        print_error(
            f"Error: files and folders must be usable; got {error.strerror or error}{place}. "
            "Check its rights, its disk and its name."
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print_error("Stopped.")
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


def _refuse_usage(sentence: str) -> NoReturn:
    """Say what is wrong with the command and exit; of several processes only the first says it."""
    if "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK", "0") != "0":
        # Started by torchrun, which ends this process once the first has left.
        time.sleep(_PATIENCE)
    else:
        print_error(f"Usage: {sentence}")
    sys.exit(2)


def _repeated_rate(tokens: list[str]) -> str | None:
    """A cost that is given more than once: the later numbers would be lost without a word."""
    names = [token.partition("=")[0] for token in tokens if token.startswith("--costs.")]
    return next((name for name in names if names.count(name) > 1), None)


def _usage_sentence(error: CycloptsError) -> str:
    """One line for a wrong option, an unknown verb or a value out of range."""
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        first = cause.errors()[0]
        name = ".".join(str(part) for part in first["loc"]).replace("_", "-")
        return f"--{name}: {validation_words(first['msg'])}; got {first['input']!r}."
    text = " ".join(str(error).split())
    return text if text.endswith((".", "?")) else f"{text}."
