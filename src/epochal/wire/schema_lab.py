"""The JSON documents of labs: families of trainings, their trials, and what their parameters did."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from epochal.wire.schema import ArrayDocument, Document

__all__ = [
    "ComparisonDocument",
    "CurvePairDocument",
    "EffectDocument",
    "EffectsDocument",
    "ImportanceDocument",
    "InteractionDocument",
    "LabCurvesHeader",
    "LabDocument",
    "LabRow",
    "LabTable",
    "LevelDocument",
    "SpreadDocument",
    "TrialDocument",
]


class LabRow(Document):
    """One lab in the list of labs."""

    id: str = Field(description="project/lab_id")
    project: str
    lab_id: str
    name: str
    created: float
    model: str | None
    data: str | None
    train: str | None = Field(description="The function that trains, where it is not a model on data")
    objective: str
    mode: Literal["min", "max"]
    repeats: int
    running: bool = Field(description="Whether the process that runs it lives")
    trials: int = Field(description="As many as are planned")
    counts: dict[str, int] = Field(description="How many are waiting, running, finished, failed and stopped")
    seconds: float = Field(description="Time that all trials took together")
    best_trial: int | None
    best: float | None
    version: str = Field(description="Changes when anything of the lab changed on disk")


class LabTable(Document):
    """All labs, newest first."""

    labs: list[LabRow]


class TrialDocument(Document):
    """One training of a lab."""

    trial: int
    configuration: int = Field(description="Trials of one configuration have equal parameters")
    repeat: int
    seed: int
    status: Literal["waiting", "running", "finished", "failed", "stopped"]
    run: str | None = Field(description="project/run_id of the run that recorded it")
    attempt: int
    error: str | None
    traceback: str | None
    seconds: float | None
    parameters: dict[str, Any]
    metrics: dict[str, float | None]


class CurvePairDocument(Document):
    """One quantity by the names of its series, of training and of data held back."""

    name: str
    train: str | None
    validation: str | None


class LabDocument(Document):
    """A lab with all its trials."""

    lab: LabRow
    source: str = Field(description="The text of its lab.toml, empty where it was made in Python")
    parameters: list[str] = Field(description="Those that differ between trials")
    fixed: dict[str, Any] = Field(description="Those that do not")
    metrics: list[str]
    curves: list[CurvePairDocument] = Field(description="What its runs log, pairs of training and validation first")
    trials: list[TrialDocument]


class LevelDocument(Document):
    """A value of a parameter, or a stretch of values, and how its finished trials did."""

    label: str
    value: Any = None
    low: float | None = Field(description="Of a stretch: its least value")
    high: float | None
    mean: float
    trials: int
    configurations: int


class ComparisonDocument(Document):
    """The metric at one level less that at another; places in the parameter's `levels`."""

    before: int
    after: int
    estimate: float
    low: float | None = Field(description="95 % interval over all comparisons of the parameter; null: one repeat")
    high: float | None
    paired: bool = Field(description="Whether configurations that differ in nothing else were compared")
    places: int
    repeats: list[int] = Field(description="Least and most trainings of a configuration that took part")
    clear: bool = Field(description="Whether the interval leaves out zero")
    text: str


class EffectDocument(Document):
    """What a parameter did."""

    parameter: str
    levels: list[LevelDocument]
    comparisons: list[ComparisonDocument]
    largest: ComparisonDocument | None
    share: float | None = Field(description="Of the variance of all trials, less what noise would have")
    conclusion: Literal["effect", "unclear", "one repeat", "confounded"]
    confounded: list[str]
    sentence: str


class InteractionDocument(Document):
    """How much more a change of one parameter does beside another value of a second one."""

    parameters: list[str]
    levels: list[list[str]]
    estimate: float | None
    low: float | None
    high: float | None
    share: float
    clear: bool
    sentence: str


class SpreadDocument(Document):
    """Repeats of one configuration against configurations."""

    repeats_std: float | None
    configurations_std: float | None
    share: float | None = Field(description="Of the variance, between configurations; null where nothing was repeated")
    low: float | None
    high: float | None
    configurations: int
    repeats: list[int]
    sentence: str


class EffectsDocument(Document):
    """What the finished trials of a lab tell of one metric."""

    metric: str
    mode: Literal["min", "max"]
    points: bool = Field(description="Whether differences are told in points of a hundred")
    trials: int
    configurations: int
    effects: list[EffectDocument]
    interactions: list[InteractionDocument]
    spread: SpreadDocument
    rest: float | None = Field(description="Share of the variance that no parameter and no pair explains")
    of_repeats: float | None = Field(description="Share of the variance that repeats have")
    notes: list[str]
    second_opinion: bool = Field(description="Whether Optuna is installed: /importance answers")


class ImportanceDocument(Document):
    """A second opinion on which parameters mattered."""

    metric: str
    evaluator: Literal["fanova", "mdi"]
    importance: dict[str, float]


class LabCurvesHeader(Document):
    """Header of the EPF1 container of a lab's curves, [K] of them one after the other.

    `trial` u4[K], `name` u4[K] (its place in `names`), `length` u4[K], and of all points `steps` i8, `epochs` f8,
    `values` f8.
    """

    arrays: list[ArrayDocument]
    names: list[str]
