"""``trading-rlhf users``: who may log in to a desk."""

from pathlib import Path
from typing import Literal

import pandas as pd
from cyclopts import App

from trading_rlhf.cli.console import print_frame, print_json, print_line
from trading_rlhf.services.people import add_user, new_password, set_active, user_rows
from trading_rlhf.services.secrets import load_secrets

__all__ = ["users"]

users = App(name="users", help="Accounts of a desk.")

_DESK = Path("runs/desk")


@users.command
def add(
    name: str, /, *, role: Literal["reviewer", "lead", "quant", "admin"] = "reviewer",
    run: Path = _DESK,
) -> int:  # fmt: skip
    """Create an account; its password is printed once.

    Args:
        name: login name.
        role: what it may do.
        run: the run.
    """
    password = add_user(run, load_secrets(), name, role)
    print_line(f"{name} ({role})   password: {password}   (shown only this once)")
    return 0


@users.command
def password(name: str, /, *, run: Path = _DESK) -> int:
    """Give an account a new password, printed once; its open logins end.

    Args:
        name: login name.
        run: the run.
    """
    text = new_password(run, load_secrets(), name)
    print_line(f"{name}   password: {text}   (shown only this once)")
    return 0


@users.command
def disable(name: str, /, *, run: Path = _DESK) -> int:
    """Lock an account; its answers stay.

    Args:
        name: login name.
        run: the run.
    """
    set_active(run, load_secrets(), name, active=False)
    print_line(f"{name} can no longer log in.")
    return 0


@users.command
def enable(name: str, /, *, run: Path = _DESK) -> int:
    """Unlock an account.

    Args:
        name: login name.
        run: the run.
    """
    set_active(run, load_secrets(), name, active=True)
    print_line(f"{name} can log in again.")
    return 0


@users.command(name="list")
def list_(*, run: Path = _DESK, json: bool = False) -> int:
    """List the accounts.

    Args:
        run: the run.
        json: print JSON.
    """
    rows = user_rows(run, load_secrets())
    if json:
        print_json(rows)
    elif rows:
        print_frame(f"Accounts of {run}", pd.DataFrame(rows).set_index("name"))
    else:
        print_line(f"{run} has no accounts yet.")
    return 0
