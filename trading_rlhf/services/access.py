"""Logging in to the dashboard: the cookie is signed here, the session lives in the store."""

import hmac
import secrets as random_source
from dataclasses import dataclass
from typing import Final

from itsdangerous import BadData, Signer, TimestampSigner

from trading_rlhf.errors import AccessError
from trading_rlhf.feedback import (
    LoginSession,
    authenticate,
    check_csrf,
    close_session,
    open_session,
    read_session,
)
from trading_rlhf.services.runs import Run
from trading_rlhf.services.secrets import Secrets
from trading_rlhf.types import Clock

__all__ = ["COOKIE", "AccessService", "OpenedSession", "Reviewer", "TooManyAttemptsError"]

COOKIE: Final = "trlhf_session"
_FORM_SECONDS = 3600
_SESSION_SECONDS = 12 * 3600


class TooManyAttemptsError(AccessError):
    """A name that is locked for a while."""


@dataclass(frozen=True)
class Reviewer:
    """Who is logged in.

    Attributes:
        id: account id.
        display_name: what to call them.
        role: reviewer, lead, quant or admin.
        csrf: token that their forms must carry.
    """

    id: str
    display_name: str
    role: str
    csrf: str


@dataclass(frozen=True)
class OpenedSession:
    """A new session's signed cookie and for how many seconds it is good."""

    cookie: str
    max_age: int


class _ClockSigner(TimestampSigner):
    """Stamps login forms with the time of the service's clock."""

    def __init__(self, key: str, clock: Clock) -> None:
        super().__init__(key, salt="login form")
        self._clock = clock

    def get_timestamp(self) -> int:
        """Return the present in seconds."""
        return int(self._clock().timestamp())


class AccessService:
    """Who may use the dashboard of one run."""

    def __init__(self, run: Run, secrets: Secrets, clock: Clock) -> None:
        """Work on an open run.

        Args:
            run: holds the accounts.
            secrets: the session key signs cookies.
            clock: the present.
        """
        self._store = run.store
        self._clock = clock
        self._session_signer = Signer(secrets.session_key, salt="session")
        self._form_signer = _ClockSigner(secrets.session_key, clock)

    def log_in(self, name: str, password: str) -> OpenedSession:
        """Check name and password and open a session.

        Raises:
            TooManyAttemptsError: there were too many failures of this name.
            AccessError: name and password do not match.
        """
        try:
            account = authenticate(self._store, name, password, self._clock)
        except AccessError as error:
            if "locked" in error.must:
                raise TooManyAttemptsError(error.must, error.got, error.remedy) from None
            raise
        session = open_session(self._store, account, self._clock)
        return OpenedSession(self._session_signer.sign(session.token).decode(), _SESSION_SECONDS)

    def log_out(self, cookie: str | None, csrf: str) -> None:
        """End the session of a cookie; a forged or ended one changes nothing.

        Raises:
            AccessError: the form did not come from a page of this session.
        """
        session = self._session(cookie)
        if session is not None:
            check_csrf(session, csrf)
            close_session(self._store, session.token)

    def reviewer(self, cookie: str | None) -> Reviewer | None:
        """Return who a cookie belongs to; None for a missing, forged or ended session."""
        session = self._session(cookie)
        if session is None:
            return None
        account = session.account
        return Reviewer(account.id, account.display_name, account.role, session.csrf)

    def form_token(self) -> str:
        """Return a token for one login form; the same goes into a cookie beside it."""
        return self._form_signer.sign(random_source.token_urlsafe(16)).decode()

    def check_form(self, cookie: str | None, token: str) -> bool:
        """Whether a login form was made here, for this browser, within the last hour."""
        if not cookie or not hmac.compare_digest(cookie.encode(), token.encode()):
            return False
        try:
            self._form_signer.unsign(token, max_age=_FORM_SECONDS)
        except BadData:
            return False
        return True

    def _session(self, cookie: str | None) -> LoginSession | None:
        if not cookie:
            return None
        try:
            token = self._session_signer.unsign(cookie).decode()
        except (BadData, UnicodeError):
            return None
        return read_session(self._store, token, self._clock)
