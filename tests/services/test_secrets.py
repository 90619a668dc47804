import stat
from pathlib import Path

import pytest

from trading_rlhf.errors import ConfigError
from trading_rlhf.services.secrets import load_secrets

A, B = "a" * 40, "b" * 40


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRLHF_AUDIT_KEY", raising=False)
    monkeypatch.delenv("TRLHF_SESSION_KEY", raising=False)


def test_keys_are_made_once_and_only_the_owner_can_read_them(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTHER=1\n")
    first = load_secrets(tmp_path)
    assert first == load_secrets(tmp_path)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert (tmp_path / ".env").read_text().startswith("OTHER=1\n")
    assert first.audit_key.decode() != first.session_key
    assert first.session_key not in repr(first)


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(f"TRLHF_AUDIT_KEY={A}\nTRLHF_SESSION_KEY={A}\n")
    monkeypatch.setenv("TRLHF_SESSION_KEY", B)
    assert load_secrets(tmp_path).session_key == B
    assert load_secrets(tmp_path).audit_key == A.encode()


@pytest.mark.parametrize("session", ["", "TRLHF_SESSION_KEY=x"])
def test_half_a_pair_or_a_short_key_is_refused(tmp_path: Path, session: str) -> None:
    (tmp_path / ".env").write_text(f"TRLHF_AUDIT_KEY={A}\n{session}")
    with pytest.raises(ConfigError, match="TRLHF_SESSION_KEY"):
        load_secrets(tmp_path)


def test_a_file_without_a_last_line_break_is_not_glued_to(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTHER=1")
    load_secrets(tmp_path)
    assert "OTHER=1\nTRLHF_AUDIT_KEY=" in (tmp_path / ".env").read_text()
