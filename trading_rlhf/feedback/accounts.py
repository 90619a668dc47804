"""Accounts, logins and roles. Passwords and session tokens are stored as hashes only."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, get_args

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from trading_rlhf.errors import AccessError
from trading_rlhf.feedback.passwords import (
    dummy_hash,
    hash_password,
    needs_rehash,
    verify_password,
)
from trading_rlhf.store import Store, erase_notes
from trading_rlhf.store.schema import AccountRow, FailureRow, SessionRow
from trading_rlhf.types import Clock

__all__ = [
    "Account",
    "LoginSession",
    "Role",
    "authenticate",
    "change_password",
    "check_csrf",
    "close_session",
    "create_account",
    "erase_account",
    "get_account",
    "list_accounts",
    "open_session",
    "read_session",
    "require_role",
    "reset_password",
    "update_account",
]

Role = Literal["reviewer", "lead", "quant", "admin"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_FAILURES, _WINDOW = 5, timedelta(minutes=15)
_SESSION_LIFE = timedelta(hours=12)


@dataclass(frozen=True)
class Account:
    """Someone who may log in, or a simulated reviewer.

    Attributes:
        id: what the audit chain knows; random for a person, so that the chain holds no name.
        name: what is typed at login.
        display_name: what a page shows.
        role: reviewer, lead, quant or admin.
        simulated: no person; cannot log in.
        certified: its answers count.
        active: may log in and answer.
    """

    id: str
    name: str
    display_name: str
    role: Role
    simulated: bool
    certified: bool
    active: bool


@dataclass(frozen=True)
class LoginSession:
    """An open login. The token goes to the cookie and nowhere else.

    Attributes:
        account: who is logged in.
        expires_at: end of the login.
        token: secret of the session.
        csrf: secret that every form of this session carries.
    """

    account: Account
    expires_at: datetime
    token: str = field(repr=False)
    csrf: str = field(repr=False)


def create_account(
    store: Store,
    name: str,
    password: str | None,
    role: Role,
    simulated: bool = False,
    display_name: str | None = None,
    certified: bool = True,
) -> Account:
    """Create an account.

    A simulated reviewer's id is its name, so that a run can be repeated exactly.

    Args:
        store: an open store.
        name: letters, digits, dots, dashes and underscores; case does not matter.
        password: at least 10 characters, or None for an account that cannot log in yet.
        role: reviewer, lead, quant or admin.
        simulated: no person; takes no password.
        display_name: what a page shows; the name by default.
        certified: its answers count.

    Raises:
        AccessError: the name is malformed or taken, or the password too short.
    """
    name = _clean_name(name)
    _check_role(role)
    if simulated and password is not None:
        raise AccessError("a simulated reviewer cannot log in", "a password", "Leave it out.")
    row = AccountRow(
        id=name if simulated else f"person-{secrets.token_hex(6)}",
        name=name,
        display_name=(display_name or name).strip()[:80],
        role=role,
        password_hash=None if password is None else hash_password(password),
        simulated=simulated,
        certified=certified,
        active=True,
        created_at=store.clock(),
    )
    with store.write() as session:
        if session.scalar(select(AccountRow.id).where(AccountRow.name == name)) is not None:
            raise AccessError("a name is given once", f"{name}, which is taken", "Choose another.")
        session.add(row)
    return _account(row)


def authenticate(store: Store, name: str, password: str, clock: Clock) -> Account:
    """Check a login; unknown names take as long and fail in the same words as wrong passwords.

    Raises:
        AccessError: the pair is wrong, or there were 5 failures in 15 minutes.
    """
    key = _name_key(name)
    # Counted before the password is looked at: parallel guesses cannot slip past the limit.
    _count_attempt(store, key, clock())
    with store.read() as session:
        row = session.scalar(select(AccountRow).where(AccountRow.name == _typed(name)))
    known = row.password_hash if row is not None and row.active else None
    fits = verify_password(known or dummy_hash(), password)
    if row is None or known is None or not fits:
        raise AccessError(
            "name and password must belong together",
            "a pair that does not",
            f"Try again; {_FAILURES} failures lock a name for 15 minutes.",
        )
    with store.write() as session:
        session.execute(delete(FailureRow).where(FailureRow.name_hash == key))
        if needs_rehash(known):
            _row(session, row.id).password_hash = hash_password(password)
    return _account(row)


def change_password(
    store: Store, account_id: str, old: str, new: str, clock: Clock, keep: str | None = None
) -> None:
    """Change a password by its owner; closes every other session.

    Args:
        store: an open store.
        account_id: from the server's session.
        old: the present password.
        new: at least 10 characters.
        clock: the present.
        keep: token of the session that stays open.

    Raises:
        AccessError: the old password is wrong or the new one too short.
    """
    hashed = hash_password(new)
    authenticate(store, get_account(store, account_id).name, old, clock)
    _set_password(store, account_id, hashed, keep)


def reset_password(store: Store, account_id: str, new: str) -> None:
    """Set a password for somebody else (an admin's task); closes every session.

    Raises:
        AccessError: no such account, a simulated one, or the password is too short.
    """
    if get_account(store, account_id).simulated:
        raise AccessError("a simulated reviewer cannot log in", "a password", "Leave it out.")
    _set_password(store, account_id, hash_password(new), None)


def list_accounts(store: Store) -> list[Account]:
    """Return all accounts by name."""
    with store.read() as session:
        return [_account(row) for row in session.scalars(select(AccountRow).order_by("name"))]


def get_account(store: Store, account_id: str) -> Account:
    """Return one account.

    Raises:
        AccessError: no such account.
    """
    with store.read() as session:
        return _account(_row(session, account_id))


def update_account(
    store: Store,
    account_id: str,
    *,
    role: Role | None = None,
    certified: bool | None = None,
    active: bool | None = None,
    display_name: str | None = None,
) -> Account:
    """Change what is given; an account that is no longer active loses its sessions.

    Raises:
        AccessError: no such account or role.
    """
    if role is not None:
        _check_role(role)
    changes = {"role": role, "certified": certified, "active": active, "display_name": display_name}
    with store.write() as session:
        row = _row(session, account_id)
        for name, value in changes.items():
            if value is not None:
                setattr(row, name, value)
        if not row.active:
            _close_sessions(session, account_id, None)
    return _account(row)


def erase_account(store: Store, account_id: str) -> None:
    """Erase a person's name, password, sessions and notes; answers stay under the bare id.

    Raises:
        AccessError: no such account.
    """
    with store.write() as session:
        row = _row(session, account_id)
        row.name, row.display_name = f"erased-{account_id}", "erased"
        row.password_hash, row.active = None, False
        _close_sessions(session, account_id, None)
        erase_notes(session, reviewer=account_id)


def open_session(store: Store, account: Account, clock: Clock) -> LoginSession:
    """Open a login of 12 hours.

    Raises:
        AccessError: the account is not active.
    """
    token = secrets.token_urlsafe(32)
    now = clock()
    with store.write() as session:
        row = _row(session, account.id)
        if not row.active:
            raise AccessError("an account must be active", account.name, "Ask an admin.")
        session.execute(delete(SessionRow).where(SessionRow.expires_at <= now))
        session.add(
            SessionRow(
                token_hash=_token_hash(token),
                account_id=account.id,
                expires_at=now + _SESSION_LIFE,
            )
        )
        return LoginSession(_account(row), now + _SESSION_LIFE, token, _csrf(token))


def read_session(store: Store, token: str, clock: Clock) -> LoginSession | None:
    """Return the open login of a token, or None when there is none (any more)."""
    with store.read() as session:
        found = session.execute(
            select(AccountRow, SessionRow.expires_at)
            .join(SessionRow, SessionRow.account_id == AccountRow.id)
            .where(
                SessionRow.token_hash == _token_hash(token),
                SessionRow.expires_at > clock(),
                AccountRow.active,
            )
        ).first()
        if found is None:
            return None
        return LoginSession(_account(found[0]), found[1], token, _csrf(token))


def close_session(store: Store, token: str) -> None:
    """Log out; an unknown token changes nothing."""
    with store.write() as session:
        session.execute(delete(SessionRow).where(SessionRow.token_hash == _token_hash(token)))


def check_csrf(session: LoginSession, given: str) -> None:
    """Refuse a form that does not carry the session's second secret.

    Raises:
        AccessError: it does not.
    """
    if not hmac.compare_digest(session.csrf.encode(), given.encode("utf-8", "replace")):
        raise AccessError("a form must come from this page", "another one", "Load the page again.")


def require_role(account: Account, *roles: Role) -> None:
    """Refuse an account with another role.

    Raises:
        AccessError: the role is none of those.
    """
    if account.role not in roles:
        wanted = " or ".join(roles)
        raise AccessError(f"this needs the role {wanted}", account.role, "Ask an admin for it.")


def _clean_name(name: str) -> str:
    clean = name.strip().lower()
    if not _NAME.fullmatch(clean) or clean.startswith(("person-", "erased-")):
        must = "a name has 1 to 40 letters, digits, dots, dashes or underscores"
        remedy = "Choose another, not beginning with person- or erased-."
        raise AccessError(must, f"{name[:60]!r}", remedy)
    return clean


def _check_role(role: str) -> None:
    if role not in get_args(Role):
        raise AccessError("a role must be known", role, f"Use one of {', '.join(get_args(Role))}.")


def _typed(name: str) -> str:
    """Return a name as it is looked up; what no database can hold becomes a question mark."""
    return name.strip().lower().replace("\0", "?").encode("utf-8", "replace").decode()


def _name_key(name: str) -> str:
    return hashlib.sha256(_typed(name).encode()).hexdigest()


def _count_attempt(store: Store, key: str, now: datetime) -> None:
    with store.write() as session:
        session.execute(delete(FailureRow).where(FailureRow.at <= now - _WINDOW))
        count = session.scalar(
            select(func.count()).select_from(FailureRow).where(FailureRow.name_hash == key)
        )
        if (count or 0) >= _FAILURES:
            raise AccessError(
                f"a name is locked after {_FAILURES} failures",
                "one more try",
                "Wait 15 minutes, or ask an admin to set a new password.",
            )
        session.add(FailureRow(name_hash=key, at=now))


def _set_password(store: Store, account_id: str, hashed: str, keep: str | None) -> None:
    with store.write() as session:
        row = _row(session, account_id)
        row.password_hash = hashed
        _close_sessions(session, account_id, keep)
        session.execute(delete(FailureRow).where(FailureRow.name_hash == _name_key(row.name)))


def _close_sessions(session: Session, account_id: str, keep: str | None) -> None:
    session.execute(
        delete(SessionRow).where(
            SessionRow.account_id == account_id,
            SessionRow.token_hash != _token_hash(keep or ""),
        )
    )


def _token_hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _csrf(token: str) -> str:
    return hmac.new(token.encode("utf-8", "surrogatepass"), b"csrf", hashlib.sha256).hexdigest()


def _row(session: Session, account_id: str) -> AccountRow:
    row = session.get(AccountRow, account_id)
    if row is None:
        raise AccessError("an account must exist", f"no {account_id!r}", "Check the id.")
    return row


def _account(row: AccountRow) -> Account:
    return Account(
        id=row.id,
        name=row.name,
        display_name=row.display_name,
        role=row.role,  # type: ignore[arg-type]
        simulated=row.simulated,
        certified=row.certified,
        active=row.active,
    )
