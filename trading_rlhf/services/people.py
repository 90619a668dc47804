"""Accounts of a desk, for the command line: passwords are made here and shown once."""

import secrets as random_source
from pathlib import Path

from trading_rlhf.errors import AccessError
from trading_rlhf.feedback import (
    Account,
    Role,
    create_account,
    list_accounts,
    reset_password,
    update_account,
)
from trading_rlhf.services.runs import open_run, system_clock
from trading_rlhf.services.secrets import Secrets
from trading_rlhf.store import Store
from trading_rlhf.types import JsonDict

__all__ = ["add_user", "make_password", "new_password", "set_active", "user_rows"]


def add_user(run: Path, secrets: Secrets, name: str, role: Role) -> str:
    """Create an account and return its password."""
    with open_run(run, secrets, system_clock).store as store:
        password = make_password()
        create_account(store, name, password, role)
        return password


def new_password(run: Path, secrets: Secrets, name: str) -> str:
    """Replace an account's password and return the new one."""
    with open_run(run, secrets, system_clock).store as store:
        password = make_password()
        reset_password(store, _account(store, name).id, password)
        return password


def set_active(run: Path, secrets: Secrets, name: str, *, active: bool) -> None:
    """Lock or unlock an account."""
    with open_run(run, secrets, system_clock).store as store:
        update_account(store, _account(store, name).id, active=active)


def user_rows(run: Path, secrets: Secrets) -> list[JsonDict]:
    """Name, role and state of every account."""
    with open_run(run, secrets, system_clock).store as store:
        return [
            {
                "name": account.name,
                "role": account.role,
                "simulated": "yes" if account.simulated else "no",
                "active": "yes" if account.active else "no",
            }
            for account in list_accounts(store)
        ]


def _account(store: Store, name: str) -> Account:
    for account in list_accounts(store):
        if account.name == name.strip().lower() or account.name == name:
            return account
    raise AccessError(
        "the account must exist", repr(name), "List accounts with 'trading-rlhf users list'."
    )


def make_password() -> str:
    """Return a random password of 16 letters, digits, dashes and underscores."""
    return random_source.token_urlsafe(12)
