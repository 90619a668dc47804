import sqlite3
import time
from dataclasses import replace

import pytest

from trading_rlhf.errors import AccessError
from trading_rlhf.feedback import (
    ReviewDesk,
    accounts,
    authenticate,
    change_password,
    check_csrf,
    close_session,
    create_account,
    erase_account,
    get_account,
    list_accounts,
    open_session,
    passwords,
    read_session,
    require_role,
    reset_password,
    update_account,
)
from trading_rlhf.store import verify, write_head

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch):
    """The work of a hash is not what most of these tests ask about."""
    cheap = passwords.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", cheap)
    passwords.dummy_hash.cache_clear()
    yield
    passwords.dummy_hash.cache_clear()


@pytest.fixture
def eve(store):
    return create_account(store, "Eve", PASSWORD, "reviewer", display_name="Eve Trader")


def fails(store, clock, name="eve", password="wrong"):
    with pytest.raises(AccessError) as caught:
        authenticate(store, name, password, clock)
    return str(caught.value)


def test_a_login(store, clock, eve):
    assert authenticate(store, " EVE ", PASSWORD, clock) == eve
    assert (eve.name, eve.display_name, eve.role) == ("eve", "Eve Trader", "reviewer")
    assert (eve.simulated, eve.certified, eve.active) == (False, True, True)
    assert get_account(store, eve.id) == eve
    assert list_accounts(store) == [eve]


def test_wrong_and_unknown_fail_in_the_same_words(store, clock, eve):
    assert fails(store, clock) == fails(store, clock, name="nobody")
    assert fails(store, clock, password="") == fails(store, clock, password="x" * 100_000)
    assert "correct" not in fails(store, clock, name=PASSWORD)


@pytest.mark.parametrize("name", ["eve", "nobody", "robot", "gone", "waiting", "\ud800", ""])
def test_every_failure_does_the_same_work(store, clock, eve, name, monkeypatch):
    create_account(store, "robot", None, "reviewer", simulated=True)
    create_account(store, "waiting", None, "reviewer")
    gone = create_account(store, "gone", PASSWORD, "reviewer")
    update_account(store, gone.id, active=False)
    calls = []
    real = accounts.verify_password
    monkeypatch.setattr(
        accounts, "verify_password", lambda *given: calls.append(given) or real(*given)
    )
    fails(store, clock, name=name, password="wrong" if name == "eve" else PASSWORD)
    (call,) = calls
    assert call[0].startswith("$argon2id$")


def test_five_failures_lock_a_name(store, clock, eve):
    for name in ("eve", "nobody"):
        for _ in range(5):
            assert "belong together" in fails(store, clock, name)
            clock.advance(minutes=1)
        assert "locked" in fails(store, clock, name, PASSWORD)
    clock.advance(minutes=6)
    assert authenticate(store, "eve", PASSWORD, clock) == eve


def test_the_lock_ends_after_fifteen_minutes(store, clock, eve):
    for _ in range(5):
        fails(store, clock)
    clock.advance(minutes=14, seconds=59)
    assert "locked" in fails(store, clock, password=PASSWORD)
    clock.advance(seconds=1)
    assert authenticate(store, "eve", PASSWORD, clock) == eve


def test_a_success_forgets_failures_and_a_reset_unlocks(store, clock, eve):
    for _ in range(3):
        for _ in range(4):
            assert "belong together" in fails(store, clock)
        authenticate(store, "eve", PASSWORD, clock)
    for _ in range(6):
        fails(store, clock)
    reset_password(store, eve.id, "another password")
    assert authenticate(store, "eve", "another password", clock) == eve


def test_an_attempt_counts_before_the_password_is_looked_at(store, clock, eve, monkeypatch):
    """Guesses sent side by side must not all pass a check of failures that are not yet stored."""
    counted = []

    def look(*_):
        connection = sqlite3.connect(store._engine.url.database)
        counted.append(connection.execute("SELECT count(*) FROM login_failures").fetchone()[0])
        connection.close()
        return False

    monkeypatch.setattr(accounts, "verify_password", look)
    fails(store, clock)
    fails(store, clock)
    assert counted == [1, 2]


def test_a_weak_hash_is_renewed_at_login(store, clock, eve, monkeypatch, path):
    def stored():
        connection = sqlite3.connect(path)
        try:
            return connection.execute("SELECT password_hash FROM accounts").fetchone()[0]
        finally:
            connection.close()

    assert "m=64," in stored()
    better = passwords.PasswordHasher(time_cost=1, memory_cost=128, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", better)
    authenticate(store, "eve", PASSWORD, clock)
    assert "m=128," in stored()
    assert authenticate(store, "eve", PASSWORD, clock) == eve


def test_a_session_lasts_twelve_hours(store, clock, eve):
    session = open_session(store, eve, clock)
    assert read_session(store, session.token, clock) == session
    clock.advance(hours=11, minutes=59, seconds=59)
    assert read_session(store, session.token, clock).account == eve
    clock.advance(seconds=1)
    assert read_session(store, session.token, clock) is None


def test_a_session_closes(store, clock, eve):
    first, second = open_session(store, eve, clock), open_session(store, eve, clock)
    close_session(store, first.token)
    close_session(store, "no such token")
    assert read_session(store, first.token, clock) is None
    assert read_session(store, second.token, clock) == second
    assert read_session(store, "", clock) is None
    assert read_session(store, "\ud800", clock) is None


def test_no_secret_is_stored_or_shown(store, clock, eve, path):
    session = open_session(store, eve, clock)
    assert len(session.token) >= 43
    shown = repr(session) + repr(eve)
    store.close()
    kept = b"".join(file.read_bytes() for file in path.parent.glob("store.db*"))
    for secret in (session.token, session.csrf, PASSWORD):
        assert secret not in shown
        assert secret.encode() not in kept


def test_a_form_needs_the_sessions_second_secret(store, clock, eve):
    one, two = open_session(store, eve, clock), open_session(store, eve, clock)
    check_csrf(one, one.csrf)
    assert one.token not in (one.csrf, two.token)
    for wrong in (two.csrf, "", "\ud800", one.token):
        with pytest.raises(AccessError, match="from this page"):
            check_csrf(one, wrong)


def test_an_inactive_account_is_out_at_once(store, clock, eve):
    session = open_session(store, eve, clock)
    update_account(store, eve.id, active=False)
    assert read_session(store, session.token, clock) is None
    assert "belong together" in fails(store, clock, password=PASSWORD)
    with pytest.raises(AccessError, match="must be active"):
        open_session(store, eve, clock)


def test_an_account_closed_in_the_database_is_out_too(store, clock, eve, path):
    session = open_session(store, eve, clock)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE accounts SET active = 0")
    connection.commit()
    connection.close()
    assert read_session(store, session.token, clock) is None


def test_a_changed_password_closes_other_sessions(store, clock, eve):
    here, elsewhere = open_session(store, eve, clock), open_session(store, eve, clock)
    with pytest.raises(AccessError, match="belong together"):
        change_password(store, eve.id, "wrong", "a new password", clock)
    with pytest.raises(AccessError, match="10 to 200"):
        change_password(store, eve.id, PASSWORD, "short", clock)
    change_password(store, eve.id, PASSWORD, "a new password", clock, keep=here.token)
    assert read_session(store, here.token, clock) is not None
    assert read_session(store, elsewhere.token, clock) is None
    fails(store, clock, password=PASSWORD)
    assert authenticate(store, "eve", "a new password", clock) == eve


def test_roles(store, eve):
    require_role(eve, "reviewer", "lead")
    with pytest.raises(AccessError, match="needs the role quant or admin; got reviewer"):
        require_role(eve, "quant", "admin")
    assert update_account(store, eve.id, role="lead").role == "lead"
    with pytest.raises(AccessError, match="must be known"):
        update_account(store, eve.id, role="root")
    with pytest.raises(AccessError, match="must be known"):
        create_account(store, "dan", PASSWORD, "root")


def test_what_changes_is_only_what_is_given(store, eve):
    changed = update_account(store, eve.id, certified=False)
    assert changed == replace(eve, certified=False)
    assert get_account(store, eve.id) == changed


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "-a", "x" * 41, "é", "person-1", "a\n"])
def test_a_malformed_name_is_refused(store, name):
    if name == "a\n":
        assert create_account(store, name, None, "reviewer").name == "a"
        return
    with pytest.raises(AccessError, match="a name has"):
        create_account(store, name, None, "reviewer")


def test_a_name_is_given_once(store, eve):
    with pytest.raises(AccessError, match="is taken"):
        create_account(store, "EVE", None, "reviewer")


def test_a_simulated_reviewer_has_no_password(store, clock):
    with pytest.raises(AccessError, match="cannot log in"):
        create_account(store, "robot", PASSWORD, "reviewer", simulated=True)
    robot = create_account(store, "robot", None, "reviewer", simulated=True)
    with pytest.raises(AccessError, match="cannot log in"):
        reset_password(store, robot.id, PASSWORD)


@pytest.mark.parametrize("password", ["short", "x" * 201])
def test_a_short_or_endless_password_is_refused(store, password):
    with pytest.raises(AccessError, match="10 to 200") as caught:
        create_account(store, "dan", password, "reviewer")
    assert password not in str(caught.value)


def test_a_password_may_come_from_another_keyboard(store, clock):
    dan = create_account(store, "dan", "caf\u00e9 au lait", "reviewer")
    assert authenticate(store, "dan", "cafe\u0301 au lait", clock) == dan


def test_an_erased_person_leaves_answers_and_no_name(store, clock, eve, proposal, path):
    desk = ReviewDesk(store, clock)
    desk.add_proposals([proposal(0)])
    given = desk.submit(eve.id, "proposal-0", "approve", token="t", seconds=1, note="mine alone")
    session = open_session(store, eve, clock)
    head = path.with_name("head.json")
    write_head(store, head)
    erase_account(store, eve.id)
    assert desk.standing_answers() == [given]
    assert desk.notes([given]) == {}
    assert verify(store, head).ok
    assert read_session(store, session.token, clock) is None
    gone = get_account(store, eve.id)
    assert (gone.name, gone.display_name, gone.active) == (f"erased-{eve.id}", "erased", False)
    assert create_account(store, "eve", PASSWORD, "reviewer").id != eve.id


def test_an_unknown_account_is_named(store):
    with pytest.raises(AccessError, match="must exist"):
        get_account(store, "nobody")


def test_real_hashes_take_as_long_for_unknown_names(store, clock, monkeypatch):
    monkeypatch.setattr(passwords, "_HASHER", passwords.PasswordHasher())
    passwords.dummy_hash.cache_clear()
    create_account(store, "dan", PASSWORD, "reviewer")

    def seconds(name):
        start = time.process_time()
        fails(store, clock, name)
        return time.process_time() - start

    seconds("warm-up")
    # In turns, so that a machine that becomes slower slows both.
    turns = [(seconds("dan"), seconds("nobody")) for _ in range(4)]
    known, unknown = (min(times) for times in zip(*turns, strict=True))
    assert 0.5 < unknown / known < 2
