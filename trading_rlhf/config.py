"""One configuration for a run, composed of the configs that stand beside their readers."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from trading_rlhf.accounting import CostModel
from trading_rlhf.agent import BaseTrainConfig, PolicyConfig, TrainConfig
from trading_rlhf.broker import LimitsConfig
from trading_rlhf.env import GateConfig
from trading_rlhf.errors import ConfigError, validation_words
from trading_rlhf.feedback.simulated import SimulatedDeskConfig
from trading_rlhf.market import DEFAULT_FEATURES
from trading_rlhf.reward import FitConfig, ShapingConfig
from trading_rlhf.store.files import replace_text
from trading_rlhf.store.yaml_files import read_mapping

__all__ = ["AskConfig", "FoldsConfig", "ReplayConfig", "RunConfig", "read_config", "write_config"]


class AskConfig(BaseModel):
    """Which trades reviewers are asked about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answers: int = Field(300, ge=10, le=100_000, description="Verdicts the simulated desk gives.")
    warmup: int = Field(
        20, ge=0, le=250, description="Bars a portfolio lives under refusals before it is shown."
    )
    acceptance: float = Field(
        0.35, gt=0, le=1, description="Share of trades executed in that time, drawn at random."
    )
    exploration: float = Field(
        0.7, ge=0, description="Standard deviation of noise on the scores of half the questions."
    )
    queue: Literal["random", "active"] = Field(
        "random",
        description="What people are asked next: a trade drawn at random, or the one whose answer "
        "should teach most; that saved no answers by count, some by notional (see RESULTS.md).",
    )
    active_from: int = Field(
        100,
        ge=30,
        description="Answers that are asked for at random before an active queue starts.",
    )
    random_share: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="Share that an active queue keeps apart and draws at random; reward models "
        "are measured on it alone.",
    )
    nearness: float = Field(
        1.0,
        ge=0,
        description="Distance (standard deviations of the inputs) within which an active queue "
        "takes two trades for alike.",
    )
    by_notional: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Exponent of the traded notional in an active queue's value of an answer: 1 "
        "learns what large trades need, 0 counts all trades alike.",
    )


class ReplayConfig(BaseModel):
    """The last sessions, replayed as if live: proposals, answers, orders, fills."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sessions: int = Field(40, ge=2, le=2000, description="Sessions at the end of the data.")
    random_share: float = Field(
        0.2, ge=0, le=1, description="Share of proposals shown whatever the filter says."
    )


class FoldsConfig(BaseModel):
    """How the bars are cut where a base policy is trained anew on parts of them and tested."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: float = Field(
        0.4, gt=0, lt=1, description="Walk-forward: share of the bars before the first test."
    )
    periods: int = Field(
        5, ge=1, le=100, description="Walk-forward: test periods after that, each after a training."
    )
    rolling: bool = Field(
        False,
        description="Walk-forward: trainings as long as the first, instead of from the first bar.",
    )
    groups: int = Field(
        6, ge=3, le=12, description="Combinatorial cross-validation: groups of bars."
    )
    tested: int = Field(
        2, ge=2, le=11, description="Combinatorial cross-validation: groups tested at once."
    )
    iterations: int | None = Field(
        None, ge=1, description="Of each of these trainings; none is train.iterations."
    )

    @model_validator(mode="after")
    def _leave_some_to_train_on(self) -> "FoldsConfig":
        if self.tested >= self.groups:
            raise ValueError(f"fewer groups must be tested than the {self.groups} there are")
        return self


class RunConfig(BaseModel):
    """Everything a run depends on besides its data and its seed's random numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = Field("us4", description="A bundled sample or the path of a CSV or Parquet file.")
    features: tuple[str, ...] = Field(
        DEFAULT_FEATURES, min_length=1, description="Names in the feature registry, in order."
    )
    feature_files: tuple[str, ...] = Field(
        (), description="Python files with features of your own, run with your rights and checked."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of every random number in the run.")
    train_fraction: float = Field(
        0.68, gt=0.1, lt=0.95, description="Earlier share of the bars, none of them reported on."
    )
    validation_fraction: float = Field(
        0.2,
        ge=0,
        le=0.6,
        description="Last share of those, never fitted on: for choosing a champion; the first "
        "half of them stops training where train.patience says so.",
    )
    equity: float = Field(
        1e6, gt=0, allow_inf_nan=False, description="Account value at the start (USD)."
    )
    costs: CostModel = Field(CostModel(), description="What trades and positions cost.")
    histories: int = Field(
        0,
        ge=0,
        le=200,
        description="Histories resampled from the earlier bars, trained on beside the real one.",
    )
    block: float = Field(
        60.0,
        ge=1,
        le=2520,
        description="Expected bars of what is resampled in one piece.",
    )
    policy: PolicyConfig = Field(PolicyConfig(), description="Shape of the policy.")
    train: BaseTrainConfig = Field(BaseTrainConfig(), description="Training of the base policy.")
    shape: TrainConfig = Field(
        TrainConfig(iterations=90, learning_rate=1e-3),
        description="The few iterations under the desk, from the base policy.",
    )
    gate: GateConfig = Field(GateConfig(), description="How the desk acts on trades.")
    ask: AskConfig = Field(AskConfig(), description="Which trades are asked about.")
    fit: FitConfig = Field(FitConfig(), description="Fit of the reward model.")
    shaping: ShapingConfig = Field(ShapingConfig(), description="Optional price of disapproval.")
    desk: SimulatedDeskConfig = Field(
        SimulatedDeskConfig(), description="Who answers in a simulation."
    )
    placebos: int = Field(
        5, ge=1, le=50, description="Shuffles of the answers over which the placebo is averaged."
    )
    replay: ReplayConfig = Field(ReplayConfig(), description="The live replay at the end.")
    limits: LimitsConfig = Field(LimitsConfig(), description="Checks before an order is sent.")
    folds: FoldsConfig = Field(
        FoldsConfig(), description="Trainings anew for walk-forward and cross-validation."
    )

    @field_validator("features")
    @classmethod
    def _check_features(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("each feature may be named once")
        return names


def read_config(path: Path | None, overrides: dict[str, Any] | None = None) -> RunConfig:
    """Read a YAML file and apply overrides.

    Args:
        path: YAML file, or None for the defaults.
        overrides: values by dotted name ("train.iterations").

    Raises:
        ConfigError: the file cannot be read, a key is unknown or a value out of range.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = read_mapping(path, "a configuration")
    for name, value in (overrides or {}).items():
        _set(values, name, value)
    try:
        return RunConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{key}: {validation_words(first['msg'])}",
            repr(first["input"]),
            _remedy(first),
        ) from error


def write_config(config: RunConfig, path: Path) -> None:
    """Write the whole configuration as YAML, atomically."""
    replace_text(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def _set(values: dict[str, Any], name: str, value: Any) -> None:
    *parents, last = name.replace("-", "_").split(".")
    for parent in parents:
        nested = values.setdefault(parent, {})
        if not isinstance(nested, dict):
            raise ConfigError(f"{parent} must be a section", repr(nested), "Correct the file.")
        values = nested
    values[last] = value


def _remedy(error: Any) -> str:
    if error["type"] != "extra_forbidden":
        return "Correct that value."
    *place, _ = error["loc"]
    section: Any = RunConfig
    for name in place:
        section = section.model_fields[name].annotation
    known = ", ".join(section.model_fields) if hasattr(section, "model_fields") else ""
    return f"There is no such key; known are {known}." if known else "There is no such key."
