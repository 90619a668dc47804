"""Two processes that share each batch train as one does, and end together."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed import HashStore

from tests.agent.ranks import CASES, SMALL, by_ppo, trained
from trading_rlhf.agent import Ranks, distributed
from trading_rlhf.cli import main
from trading_rlhf.errors import ConfigError
from trading_rlhf.market import load_sample, write_bars

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
    "TRLHF_AUDIT_KEY": "k" * 40, "TRLHF_SESSION_KEY": "s" * 40,
}  # fmt: skip


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, str]]]:
    """Where two processes kept what came of their training; status and last words of each."""
    folder = tmp_path_factory.mktemp("ranks")
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.agent.ranks", str(folder), str(rank)],
            cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [each.communicate(timeout=120)[1].strip() for each in running]
    return folder, [(each.returncode, words) for each, words in zip(running, said, strict=True)]


# The same result


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one_with_the_whole_batch(together, case: str) -> None:
    folder, said = together
    assert (folder / f"{case} 1.safetensors").exists(), said
    first, second = (load_file(folder / f"{case} {rank}.safetensors") for rank in range(2))
    alone = trained(CASES[case])
    assert first.keys() == second.keys() == alone.keys()
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-5)
    # One that only counts its own rollouts ends elsewhere.
    own = trained(CASES[case].model_copy(update={"batch": 5}))
    gap = max(
        float((own[name] - alone[name]).abs().max()) for name in alone if name.startswith("policy")
    )
    assert gap > 1e-3


def test_the_cases_meet_what_they_are_for(together) -> None:
    folder, _ = together
    frozen = load_file(folder / "apg to the trust region 0.safetensors")["frozen"]
    assert frozen.any()
    assert load_file(folder / "ppo 0.safetensors")["figure.clip_fraction"].all()
    rested = load_file(folder / "ppo that rests 0.safetensors")
    restless = trained(by_ppo(epochs=4, minibatch=53, learning_rate=1e-2, target_kl=1e9))
    gap = (rested["policy.head_weight"] - restless["policy.head_weight"]).abs().amax((1, 2))
    assert float(gap.min()) > 1e-3


def test_shares_are_every_row_once_and_weigh_one() -> None:
    for count in (1, 2, 3, 7):
        for n_rows in range(count, 30):
            shares = [Ranks(rank, count).share(n_rows) for rank in range(count)]
            rows = [row for share in shares for row in range(n_rows)[share.rows]]
            assert rows == list(range(n_rows))
            assert sum(share.weight for share in shares) == pytest.approx(1.0)
            assert {len(range(n_rows)[share.rows]) for share in shares} <= {
                n_rows // count, n_rows // count + 1,
            }  # fmt: skip


def test_more_processes_than_rollouts_are_refused() -> None:
    with pytest.raises(ConfigError, match="10 processes and a batch of 9"):
        trained(SMALL, Ranks(0, 10))


# One end


def test_where_all_fail_alike_one_of_them_says_why(together) -> None:
    folder, _ = together
    words = [(folder / f"words {rank}").read_text() for rank in range(2)]
    words.remove("left with 1")
    (sentence,) = words
    assert sentence.startswith("a training's rewards, gradients and weights must stay finite")


def test_a_killed_process_ends_the_other_with_a_sentence(together) -> None:
    _, said = together
    assert [status for status, _ in said] == [1, -signal.SIGKILL]
    assert said[0][1].startswith("every process of a training must stay until its end; got the")
    assert "\n" not in said[0][1]


def test_the_first_to_fail_speaks_and_the_next_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_exit = []
    monkeypatch.setattr(distributed.atexit, "register", lambda *call: at_exit.append(call))
    store = HashStore()
    assert distributed._may_speak(store)
    ((say, *words),) = at_exit
    say(*words)
    assert not distributed._may_speak(store)
    assert len(at_exit) == 1


# As a user types it


def test_torchrun_trains_the_run_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bars(load_sample("us4").window(1000, 1800), tmp_path / "bars.parquet")
    settings = ["--data", "bars.parquet", "--json", "--train.iterations", "4", "--train.batch", "5",
                "--train.horizon", "4", "--train.patience", "9",
                "--train.check-every", "2"]  # fmt: skip
    started = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "--", "trading_rlhf", "train", "--run", "two", *settings],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    monkeypatch.chdir(tmp_path)
    for name in ("TRLHF_AUDIT_KEY", "TRLHF_SESSION_KEY"):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--run", "one", *settings])
    facts = [json.loads(said) for said in (started.stdout, capsys.readouterr().out)]
    assert facts[0]["stopped"] == facts[1]["stopped"]
    files = [list((tmp_path / run / "policies").glob("*.safetensors")) for run in ("two", "one")]
    assert [len(each) for each in files] == [1, 1]
    two, one = (load_file(each[0]) for each in files)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-6)
    assert len(list((tmp_path / "two" / "tensorboard").glob("*"))) <= 1
    assert not list((tmp_path / "two").glob("training.*"))
