"""The JSON documents of comparisons: a whole network looked at over a set of examples."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from epochal.wire.schema import ArrayDocument, Document, ErrorBody

__all__ = [
    "CompareAgainst",
    "CompareDocument",
    "CompareFacts",
    "CompareHeader",
    "CompareJob",
    "CompareQuestion",
    "CompareResult",
]

What = Literal["cka", "cka_steps", "linear_probes", "spectra", "loss_landscape", "attention"]


class CompareDocument(Document):
    """By what a run's network can be compared."""

    reason: Literal["", "network", "torch"] = Field(description="Why it cannot be compared; empty where it can")
    layers: list[str] = Field(description="Layers with weights, in the order of the network")
    series: list[str] = Field(description="Predictions whose examples were recorded as the network takes them")
    labelled: list[str] = Field(description="Those of them whose classes are known")
    attends: bool = Field(description="Whether the network has attention in it")
    samples: list[str] = Field(description="Names of sample photos, where it takes pictures")
    picture: bool = Field(description="Whether it takes pictures, so that one can be uploaded")
    tokens: Literal["", "numbers", "words", "letters"] = Field(
        description="What one writes for an input made of tokens: their numbers, or what is known of them; or empty"
    )


class CompareAgainst(Document):
    """Another network: a run at a step; None for its last snapshot."""

    model_config = ConfigDict(defer_build=False)

    run: str = Field(max_length=500, description="project/run")
    step: int | None = None


class CompareQuestion(Document):
    """A comparison of a run's network as it was at a step."""

    model_config = ConfigDict(defer_build=False)

    what: What
    step: int | None = Field(default=None, description="At the last snapshot that is not after it; None: the last one")
    series: str | None = Field(default=None, max_length=500, description="Whose examples; None: the first")
    layers: list[str] = Field(default_factory=list, max_length=256, description="Empty: all with weights")
    against: CompareAgainst | None = None
    size: int = Field(default=21, ge=3, le=61, description="Places along each direction of a landscape")
    path: bool = Field(default=True, description="Of a landscape: the plane of the training, with its path")
    example: int | None = Field(default=None, ge=0, description="For attention: which of the recorded examples")
    photo: str | None = Field(default=None, max_length=100, description="For attention: a sample photo")
    picture: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{32}$", description="For attention: what POST /lens/pictures said"
    )
    text: str | None = Field(
        default=None, max_length=100_000, description="For attention: an input as it is written, in numbers or words"
    )
    theme: Literal["light", "dark"] = Field(default="light", description="Of the picture to keep")


class CompareFacts(Document):
    """What a comparison found, beside its arrays; lists that do not belong to it are empty."""

    rows: list[str] = Field(default_factory=list, description="Of CKA: names of layers or steps")
    columns: list[str] = Field(default_factory=list)
    layers: list[str] = Field(default_factory=list)
    accuracy: list[float] = Field(default_factory=list, description="Of probes: shares of held-out examples")
    train: list[float] = Field(default_factory=list)
    interval: list[list[float]] = Field(default_factory=list, description="95 % intervals of the accuracies")
    chance: float | None = None
    features: list[int] = Field(default_factory=list)
    shapes: list[list[int]] = Field(default_factory=list, description="Of spectra: sizes of the matrices")
    spectral_norm: list[float | None] = Field(default_factory=list)
    stable_rank: list[float | None] = Field(default_factory=list)
    alpha: list[float | None] = Field(default_factory=list, description="Exponents of power laws")
    loss: str = Field(default="", description="Of a landscape: what the loss is called")
    centre: float | None = None
    variance: list[float] | None = Field(default=None, description="Shares of the two directions")
    path_steps: list[int] = Field(default_factory=list)
    heads: list[int] = Field(default_factory=list, description="Of attention: heads of each layer")
    grid: list[int] | None = Field(default=None, description="Patches in height and width")
    special: int = Field(default=0, description="Tokens that stand before the patches, such as that of the class")
    tokens: list[str] = Field(default_factory=list, description="Names of tokens that are no patches")
    rollout: bool = False


class CompareResult(Document):
    """What a comparison found; its arrays are at /lens/{job}/maps?method=NAME, an EPF1 container."""

    method: What
    caption: str
    notes: list[str]
    numbers: dict[str, float | None]
    facts: CompareFacts
    seconds: float
    done: bool = Field(description="False for what is known so far of one that goes on")


class CompareJob(Document):
    """How a comparison stands."""

    id: str
    run: str
    step: int
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    ahead: int
    doing: Literal["", "starting", "loading", "looking"]
    share: float | None = Field(description="How much is done, from 0 to 1")
    version: int
    results: list[CompareResult]
    error: ErrorBody | None
    threads: int
    seconds: float


class CompareHeader(Document):
    """Header of the EPF1 container of a comparison.

    `matrix` f4 [rows, columns] of CKA; `accuracy` f4 [layers] of probes; `values` f4 [layers, rank] of spectra, NaN
    where a layer has fewer; `losses` f4 [y, x] with `x`, `y`, `path` [P, 2] and `path_losses` f8 of a landscape;
    `maps` f4 [K, h, w] of attention: the rollout where there is one, then all heads layer by layer, and `pixels` u1.
    """

    arrays: list[ArrayDocument]
    method: str
