"""The benchmark of training: its tasks pay what they say, its clock counts training alone."""

import json

import numpy as np
import pytest
import torch

from backtests import planted_ar as ar
from backtests import planted_many as many
from backtests.speed import bench_training, training_clock
from backtests.speed.training_clock import Clock
from backtests.speed.training_rates import Flops
from trading_rlhf.agent import Policy, PolicyConfig, ProfitReward, walk
from trading_rlhf.env import GateConfig, advance


@pytest.fixture(scope="module")
def small() -> many.Many:
    return many.Many(3, n_bars=900)


@pytest.fixture(scope="module")
def known(small: many.Many) -> tuple[many.KnownEdges, list[float]]:
    """All rules of the grid and their scores."""
    edges = many.KnownEdges()
    return edges, small.scores(edges)


# One asset


def test_positions_earn_the_next_return_and_pay_for_what_they_trade() -> None:
    returns = np.array([0.5, 0.01, -0.02, 0.03])
    weights = np.array([1.0, 1.0, -0.5, 9.0])
    earned = (0.01 - 0.02 - 0.015) - 0.0002 * (1.0 + 0.0 + 1.5)
    assert ar.score_positions(returns, weights) == pytest.approx(100 * earned / 3)


def test_the_reference_is_the_best_threshold_of_the_grid() -> None:
    returns = ar.make_returns(3000, 5)
    scores = []
    for threshold in np.linspace(0.0, 1.0, 41) * ar.SIGMA:
        held, weights = 0.0, []
        for value in returns:
            held = float(np.sign(value)) if abs(value) > threshold else held
            weights.append(held)
        scores.append(ar.score_positions(returns, np.array(weights)))
    assert ar.reference_score(returns) == pytest.approx(max(scores), rel=1e-12)
    assert max(scores) > scores[0] > 0.05
    assert max(scores) > scores[-1]


def test_a_fifth_of_a_return_comes_again() -> None:
    returns = ar.make_returns(20_000, 1)
    assert np.corrcoef(returns[1:], returns[:-1])[0, 1] == pytest.approx(0.2, abs=0.02)
    assert returns.std() == pytest.approx(0.01 / np.sqrt(1 - 0.2**2), rel=0.02)


def test_the_market_shows_what_has_been_and_pays_what_comes() -> None:
    returns = ar.make_returns(60, 2)
    market = ar.make_market(returns)
    seen = market.features[20, 0].numpy() * ar.SIGMA
    np.testing.assert_allclose(seen, returns[20 - ar.LAGS + 1 : 21], rtol=1e-5)
    bought = torch.tensor([[-1.0]])
    held, growth = advance(market, torch.tensor([20]), torch.zeros(1, 1), bought, ar.COSTS)
    assert float(growth) == pytest.approx(1.0 - returns[21] - ar.COST, abs=1e-7)
    assert float(held) == pytest.approx(-(1.0 + returns[21]) / float(growth), rel=1e-5)


def test_a_rule_is_scored_as_its_positions_are() -> None:
    returns = ar.make_returns(2000, 3)
    length = (2000 - ar.LAGS - 1) // 64
    scored = ar.score_rule(lambda seen, held: 3.0 * np.sign(seen[:, -1]) + 0.0 * held, returns)
    expected = []
    for stretch in range(64):
        first = ar.LAGS - 1 + stretch * length
        path = returns[first : first + length + 1]
        expected.append(ar.score_positions(path, np.sign(path)))
    assert scored == pytest.approx(np.mean(expected), rel=1e-6)


def test_a_policy_is_scored_by_its_targets() -> None:
    returns = ar.make_returns(800, 4)
    config = PolicyConfig(hidden=4, tilt=4.0, max_gross=1.0, long_only=False)
    policy = Policy(ar.LAGS, config, 1, torch.Generator().manual_seed(0))
    with torch.no_grad():
        policy.head_weight.zero_()
        policy.head_bias.copy_(torch.tensor([9.0, 9.0, 9.0]))
    always_long = ar.score_rule(lambda seen, held: np.ones_like(held), returns)
    assert ar.score_rule(ar.policy_rule(policy), returns) == pytest.approx(always_long, abs=3e-3)


def test_the_environment_of_the_peer_pays_the_same() -> None:
    peers = pytest.importorskip("backtests.speed.training_peers")
    returns = ar.make_returns(2000, 6)
    env = peers.ArEnv(returns, 0)
    seen, _ = env.reset(seed=1)
    first, total, weights, over = env.t, 0.0, [], False
    while not over:
        weights.append(float(np.sign(seen[ar.LAGS - 1])))
        seen, reward, _, over, _ = env.step(np.array([2.0 * weights[-1]]))
        total += reward
    path = returns[first : first + ar.EPISODE + 1]
    expected = ar.score_positions(path, np.array([*weights, 0.0]))
    assert len(weights) == ar.EPISODE
    assert total / ar.EPISODE == pytest.approx(expected, rel=1e-4)


# Twenty assets


def test_the_expected_score_is_what_is_earned_but_for_luck(small: many.Many, known) -> None:
    edges, scores = known
    gate = GateConfig(min_trade=0.0)
    walked = walk(edges, small.market, small.starts, small.length, many.COSTS, gate)
    earned = ProfitReward(many.RISK_AVERSION)(walked.log_growth, walked.executed, None)
    luck = 1e4 * earned.mean((0, 2)) - torch.tensor(scores)
    error = 1e4 * float(earned.std()) / (small.length * len(small.starts)) ** 0.5
    assert float(luck.abs().max()) < 3.0 * error
    assert error < 5.0


def test_who_knows_the_edges_earns_more_than_who_holds_everything(small: many.Many, known) -> None:
    even = Policy(5, PolicyConfig(hidden=4, max_gross=0.98), 1, torch.Generator())
    with torch.no_grad():
        even.head_weight.zero_()
    edges, scores = known
    best = edges.settings[int(np.argmax(scores)), 0]
    assert max(scores) > 5.0 * small.scores(even)[0] > 0.0
    # Wider and narrower rules are in the grid, too.
    assert edges.settings[:, 0].min() < best < edges.settings[:, 0].max()


def test_known_edges_are_those_of_the_market(small: many.Many) -> None:
    """Without patience the score of an asset is the drift to be expected of its next return."""
    edges = many.KnownEdges()
    t = torch.arange(10, 890)
    features = small.market.features[t].unsqueeze(0)
    held = torch.zeros(edges.members, len(t), 20)
    place = int((edges.settings[:, 4] == 0.0).nonzero()[0])
    edge = edges.decide(features, held).score[place].numpy()
    drift = small.planted.drift[(t + 1).numpy()]
    slope, constant = np.polyfit(edge.flatten(), drift.flatten(), 1)
    assert slope == pytest.approx(1.0, abs=0.02)
    assert constant == pytest.approx(0.0, abs=2e-5)


class Model:
    """Keeps what it is shown and wants the first asset."""

    def predict(self, seen, deterministic):
        assert deterministic
        self.seen = seen
        wanted = np.zeros((len(seen), 20), dtype=np.float32)
        wanted[:, 0] = 1.0
        return wanted, None


def test_the_peer_is_judged_by_what_it_was_trained_on(small: many.Many) -> None:
    peers = pytest.importorskip("backtests.speed.training_peers")
    envs, model = peers.market_envs(small, seed=0, tilt=4.0, n_envs=2), Model()
    envs.reset()
    wanted = model.predict(np.zeros((2, 1)), True)[0]
    seen, reward, done, _ = envs.step(wanted)
    accounts = envs.env.accounts
    policy = peers.PeerPolicy(model, 4.0, many.MAX_GROSS)
    encoded = policy.encode_bars(small.market.features, accounts.t)
    target = policy.decide(encoded, accounts.held.unsqueeze(0)).target
    np.testing.assert_allclose(model.seen, seen, atol=1e-6)
    share = np.exp(4.0) / (np.exp(4.0) + 20.0)
    assert target[0, :, 0].tolist() == pytest.approx([0.98 * share] * 2, rel=1e-5)
    growth = torch.log(accounts.equity)
    expected = 100.0 * ProfitReward(many.RISK_AVERSION)(growth, growth, None)
    assert reward == pytest.approx(expected.numpy(), rel=1e-3)
    assert not done.any()


# Clock and figures


def test_only_training_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"wall": 100.0, "processor": 10.0}
    monkeypatch.setattr(training_clock.time, "perf_counter", lambda: now["wall"])
    monkeypatch.setattr(training_clock.time, "process_time", lambda: now["processor"])
    clock = Clock((0.5, 0.9), 30.0)
    for score in (0.2, 0.6, 0.4, 0.95):
        clock.start()
        now["wall"] += 2.0
        now["processor"] += 3.0
        clock.stop()
        now["wall"] += 50.0
        assert not clock.over
        clock.note(score, clock.env_steps + 1000)
    assert clock.over
    assert clock.reached == {
        0.5: {"seconds": 4.0, "processor_seconds": 6.0, "env_steps": 2000},
        0.9: {"seconds": 8.0, "processor_seconds": 12.0, "env_steps": 4000},
    }
    late = Clock((0.9,), 1.0)
    late.start()
    now["wall"] += 1.0
    late.stop()
    assert late.over
    assert late.as_dict()["reached"] == {}


def test_ratios_are_taken_seed_by_seed_and_never_of_who_did_not_arrive() -> None:
    def run(*seconds: float | None):
        return [{"reached": {} if each is None else {"90%": {"seconds": each}}} for each in seconds]

    peer = bench_training._PEER
    best = {"apg": run(1.0, 2.0, 4.0), "ppo": run(1.0, None, 1.0), peer: run(8.0, 8.0, 8.0)}
    found = bench_training._ratios(best, 0.9)
    assert found[f"apg against {peer}"] == {"median": 4.0, "by_seed": [8.0, 4.0, 2.0]}
    assert found[f"ppo against {peer}"] == {"median": None, "by_seed": None}


def test_operations_are_those_of_the_matrices() -> None:
    need = Flops(n_assets=2, n_features=5, hidden=8, critic_hidden=4)
    assert need.rollout() == 2 * 2 * (5 * 8 + 1 * 8 + 8 * 8 + 8 * 3)
    assert need.apg() == 3 * need.rollout()
    critic = 2 * (2 * 6 * 4 + 4 * 4 + 4 * 1)
    assert need.ppo(10) == 31 * (need.rollout() + critic)


def test_a_small_run_reports_every_part(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    assert bench_training.main(["--tiny", "--json"]) == 0
    assert torch.get_num_threads() == before
    report = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert report["one_asset"]["reference_percent_a_bar"] > 0.1
    for runs in (report["one_asset"]["runs"]["1 threads"], report["twenty_assets"]["runs"]):
        assert {"apg", "ppo"} <= set(runs)
        for (run,) in runs.values():
            assert run["seconds"] > 0
    assert report["twenty_assets"]["runs"]["apg"][0]["best_share"] > 0.3
    for rate in report["rates"]["rates"].values():
        assert 0 < rate["share_of_limit"] < 1
    bench_training.show(report)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
