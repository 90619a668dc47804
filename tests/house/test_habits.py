"""The same checks run by hand, at a commit and in CI."""

from pathlib import Path

import yaml


def test_a_commit_is_checked_like_make_lint(root: Path) -> None:
    config = yaml.safe_load((root / ".pre-commit-config.yaml").read_text("utf-8"))
    hooks = {hook["entry"] for repo in config["repos"] for hook in repo["hooks"]}
    recipe = (root / "Makefile").read_text("utf-8").partition("\nlint:")[2].partition("\n\n")[0]
    commands = {line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()[1:]}
    assert hooks == commands


def test_screens_fetch_no_icons_from_elsewhere() -> None:
    # Streamlit's Material icons are a font that every browser fetches from another host.
    screens = Path(__file__).parents[2] / "dashboards"
    assert [str(f) for f in screens.rglob("*.py") if ":material/" in f.read_text()] == []
