from typing import Any

import pytest

from tests.services.desk_run import PASSWORD, DeskRun
from trading_rlhf.errors import AccessError
from trading_rlhf.services.access import AccessService, TooManyAttemptsError
from trading_rlhf.services.runs import Run
from trading_rlhf.services.secrets import Secrets


@pytest.fixture
def access(run: Run, secrets: Secrets, clock: Any) -> AccessService:
    return AccessService(run, secrets, clock)


def test_a_login_is_known_until_it_is_closed(access: AccessService, desk_run: DeskRun) -> None:
    session = access.log_in("ana", PASSWORD)
    reviewer = access.reviewer(session.cookie)
    assert reviewer is not None
    assert (reviewer.id, reviewer.display_name) == (desk_run.ana.id, "Ana Ruiz")
    access.log_out(session.cookie, reviewer.csrf)
    assert access.reviewer(session.cookie) is None


def test_a_login_ends_after_twelve_hours(access: AccessService, clock: Any) -> None:
    session = access.log_in("ana", PASSWORD)
    assert session.max_age == 12 * 3600
    clock.advance(hours=12, seconds=1)
    assert access.reviewer(session.cookie) is None


@pytest.mark.parametrize("cookie", [None, "", "forged", "a.b.c", "é" * 30])
def test_a_forged_cookie_is_nobody(access: AccessService, cookie: str | None) -> None:
    assert access.reviewer(cookie) is None


def test_a_cookie_signed_with_another_key_is_nobody(
    access: AccessService, run: Run, secrets: Secrets, clock: Any
) -> None:
    other = AccessService(run, Secrets(secrets.audit_key, "x" * 40), clock)
    cookie = other.log_in("ana", PASSWORD).cookie
    assert other.reviewer(cookie) is not None
    assert access.reviewer(cookie) is None


def test_a_form_token_is_no_session(access: AccessService) -> None:
    assert access.reviewer(access.form_token()) is None


def test_logging_out_needs_the_token_of_the_session(access: AccessService) -> None:
    session = access.log_in("ana", PASSWORD)
    with pytest.raises(AccessError, match="this page"):
        access.log_out(session.cookie, "guessed")
    assert access.reviewer(session.cookie) is not None
    access.log_out("forged", "guessed")


def test_a_login_form_is_good_only_with_its_own_cookie(access: AccessService) -> None:
    token = access.form_token()
    assert access.check_form(token, token)
    assert not access.check_form(access.form_token(), token)
    assert not access.check_form(None, token)
    assert not access.check_form("made up", "made up")


def test_a_login_form_is_good_for_an_hour(access: AccessService, clock: Any) -> None:
    token = access.form_token()
    clock.advance(minutes=59)
    assert access.check_form(token, token)
    clock.advance(minutes=2)
    assert not access.check_form(token, token)


def test_the_sixth_failure_is_told_apart_from_a_wrong_password(access: AccessService) -> None:
    for _ in range(5):
        with pytest.raises(AccessError) as wrong:
            access.log_in("ana", "wrong password")
        assert not isinstance(wrong.value, TooManyAttemptsError)
    with pytest.raises(TooManyAttemptsError, match="locked"):
        access.log_in("ana", PASSWORD)
