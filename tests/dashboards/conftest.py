import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboards.components import session
from tests.services.desk_run import PASSWORD, DeskRun, make_run
from trading_rlhf.services.access import AccessService
from trading_rlhf.services.runs import system_clock
from trading_rlhf.services.secrets import Secrets

PAGES = Path(session.__file__).parents[1] / "pages"


@pytest.fixture(autouse=True)
def _main_module_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    # Streamlit leaves the page as __main__, which every process spawned later would run again.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def secrets(audit_key: bytes, monkeypatch: pytest.MonkeyPatch) -> Secrets:
    secrets = Secrets(audit_key, "session key of the tests, 32 long")
    monkeypatch.setenv("TRLHF_AUDIT_KEY", audit_key.decode())
    monkeypatch.setenv("TRLHF_SESSION_KEY", secrets.session_key)
    return secrets


@pytest.fixture
def desk_run(
    tmp_path: Path, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DeskRun]:
    live_until = system_clock() + timedelta(hours=2)
    run = make_run(tmp_path / "desk", secrets.audit_key, system_clock, live_until=live_until)
    monkeypatch.setenv("TRLHF_RUN", str(run.path))
    yield run
    session.close_run()


@pytest.fixture
def logged_in(desk_run: DeskRun, monkeypatch: pytest.MonkeyPatch) -> AccessService:
    """Give every page of the test a cookie of "ana"; AppTest has no browser to hold one."""
    access = session.access_service()
    cookie = access.log_in("ana", PASSWORD).cookie
    monkeypatch.setattr(session, "session_cookie", lambda: cookie)
    return access


@pytest.fixture
def open_page(desk_run: DeskRun) -> Callable[[str], AppTest]:
    return lambda name: AppTest.from_file(str(PAGES / name), default_timeout=120).run()
