"""The bundled sample is what its manifest says, and its adjustments are right."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_rlhf.errors import DataError
from trading_rlhf.market import load_sample, sample_names
from trading_rlhf.market.actions import later_splits

DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.fixture(scope="module")
def us4():
    return load_sample("us4")


@pytest.fixture(scope="module")
def builder():
    spec = importlib.util.spec_from_file_location("build_samples", DATA / "build_samples.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(bars, day):
    return int(bars.dates.get_loc(day))


def test_us4_has_four_stocks_over_thirteen_years(us4):
    assert us4.symbols == ("AAPL", "GOOG", "IBM", "MSFT")
    assert us4.shape == (3270, 4)
    assert us4.dates[0] == pd.Timestamp("2000-03-01")
    assert us4.dates[-1] == pd.Timestamp("2013-03-01")
    assert us4.has_open
    assert us4.high is not None


def test_goog_is_not_tradable_before_its_first_day(us4):
    first = row(us4, "2004-08-19")
    assert not us4.tradable[:first, 1].any()
    assert us4.tradable[first:, 1].all()
    assert np.isnan(us4.close[:first, 1]).all()
    assert us4.tradable[:, [0, 2, 3]].all()


@pytest.mark.parametrize(
    ("column", "day", "fall"),
    [(0, "2000-06-21", -0.45), (0, "2005-02-28", -0.50), (3, "2003-02-18", -0.48)],
)
def test_splits_leave_no_jump_and_are_recorded(us4, column, day, fall):
    t = row(us4, day)
    assert us4.split[t, column] == 2.0
    traded = us4.raw_close[t, column] / us4.raw_close[t - 1, column] - 1.0
    assert traded == pytest.approx(fall, abs=0.01)
    for prices in (us4.open, us4.high, us4.low, us4.close):
        assert abs(prices[t, column] / us4.close[t - 1, column] - 1.0) < 0.15
    volumes = us4.volume[t - 20 : t + 20, column]
    assert 0.3 < np.median(volumes[20:]) / np.median(volumes[:20]) < 3.0


def test_only_three_splits_are_recorded(us4):
    assert (us4.split != 1.0).sum() == 3


def test_the_real_fall_of_apple_stays(us4):
    t = row(us4, "2000-09-29")
    assert us4.close[t, 0] / us4.close[t - 1, 0] - 1.0 == pytest.approx(-0.519, abs=0.001)
    assert us4.split[t, 0] == 1.0
    assert us4.tradable[t, 0]


def test_dividends_are_those_that_were_paid(us4):
    paid = {s: us4.dividend[us4.dividend[:, i] > 0, i] for i, s in enumerate(us4.symbols)}
    assert list(paid["AAPL"]) == [2.65] * 3
    assert len(paid["GOOG"]) == 0
    assert len(paid["IBM"]) == 52
    assert paid["IBM"][[0, -1]] == pytest.approx([0.13, 0.85])
    assert us4.dividend[row(us4, "2004-11-15"), 3] == 3.08


def test_prices_follow_from_raw_closes_splits_and_dividends(us4):
    paid = np.where(us4.tradable, us4.dividend / us4.raw_close, 0.0)
    factor = 1.0 / later_splits(us4.split * (1.0 + paid))
    np.testing.assert_allclose(us4.raw_close * factor, us4.close, rtol=1e-9)


def test_known_prices_are_the_traded_ones(us4, builder):
    """Before the split of 2005 a reader saw 88 USD, which no later event may change."""
    table = builder.source_prices()
    table = table[(table["Ticker"] == "AAPL") & (table["Date"] <= "2005-02-25")].tail(30)
    history = us4.known_at(row(us4, "2005-02-25"), 0, 30)
    for name in ("Open", "High", "Low", "Close", "Volume"):
        values = getattr(history, name.lower())
        np.testing.assert_allclose(values, table[name].to_numpy(float), rtol=1e-12)


def test_the_sample_is_rebuilt_from_its_source(us4, builder, tmp_path):
    builder.main(tmp_path)
    rebuilt = load_sample("us4", folder=tmp_path)
    assert rebuilt.sha256 == us4.sha256
    manifest = (DATA / "manifest.toml").read_text()
    assert f'content_sha256 = "{us4.sha256}"' in manifest


def test_adjusted_closes_are_the_source_rescaled(us4, builder):
    table = builder.source_prices()
    for column, symbol in enumerate(us4.symbols):
        source = table[table["Ticker"] == symbol]["Adj Close"].to_numpy()
        ours = us4.close[us4.tradable[:, column], column]
        np.testing.assert_allclose(ours / ours[-1], source / source[-1], rtol=1e-12)
        assert ours[-1] == us4.raw_close[-1, column]


def test_sp20_is_read_from_the_installed_package():
    bars = load_sample("sp20")
    assert bars.shape == (8313, 20)
    assert not bars.has_open
    assert bars.volume is None
    assert bars.dates[0] == pd.Timestamp("1990-01-02")
    assert not list(DATA.glob("samples/*sp20*"))


def test_names_of_samples_are_listed_and_others_refused():
    assert sample_names() == ("us4", "sp20")
    with pytest.raises(DataError, match="one of us4, sp20; got us5"):
        load_sample("us5")


def test_a_sample_that_was_changed_is_refused(tmp_path):
    shutil.copy(DATA / "manifest.toml", tmp_path)
    target = tmp_path / "samples" / "us4.parquet"
    target.parent.mkdir()
    content = bytearray((DATA / "samples" / "us4.parquet").read_bytes())
    target.write_bytes(content)
    assert load_sample("us4", folder=tmp_path).shape == (3270, 4)
    content[1000] ^= 1
    target.write_bytes(content)
    with pytest.raises(DataError, match="sample us4 must have the sha256"):
        load_sample("us4", folder=tmp_path)


def test_an_installed_package_keeps_the_sample_beside_its_manifest(tmp_path):
    shutil.copy(DATA / "manifest.toml", tmp_path)
    shutil.copy(DATA / "samples" / "us4.parquet", tmp_path)
    assert load_sample("us4", folder=tmp_path).shape == (3270, 4)


def test_missing_samples_are_one_sentence(tmp_path):
    with pytest.raises(DataError, match="samples must be installed"):
        load_sample("us4", folder=tmp_path)
    shutil.copy(DATA / "manifest.toml", tmp_path)
    with pytest.raises(DataError, match="must be readable"):
        load_sample("us4", folder=tmp_path)


def test_a_package_of_another_version_is_named(tmp_path):
    text = (DATA / "manifest.toml").read_text()
    gone = text.replace('package = "skfolio"', 'package = "skfolio-missing"')
    (tmp_path / "manifest.toml").write_text(gone)
    with pytest.raises(DataError, match="skfolio-missing must be installed"):
        load_sample("sp20", folder=tmp_path)
