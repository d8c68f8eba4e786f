"""The JSON documents of the lens."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from epochal.wire.schema import ArrayDocument, Document, ErrorBody

__all__ = [
    "ClassImagesQuestion",
    "LensAnswer",
    "LensDocument",
    "LensExamples",
    "LensFailure",
    "LensFilmQuestion",
    "LensHeader",
    "LensInput",
    "LensJob",
    "LensLayer",
    "LensMethod",
    "LensOption",
    "LensPicture",
    "LensQuestion",
    "LensResult",
]


class LensOption(Document):
    """A setting of a way of looking."""

    name: str
    words: str
    low: float
    high: float
    whole: bool


class LensMethod(Document):
    """A way of looking."""

    name: str
    kind: Literal["attribution", "maps", "kernels", "maximum", "examples"]
    words: str
    paper: str
    takes: list[str] = Field(description="Among image, target, layer and channel")
    slow: bool = Field(description="Whether it asks the network many times")
    reason: Literal["", "torch", "convolution", "data"] = Field(description="Why this network cannot have it; or empty")
    options: list[LensOption]


class LensLayer(Document):
    """A layer that can be looked at, by the name that the lens knows."""

    name: str
    kind: str
    shape: list[int] = Field(description="Sizes of what it puts out for one example, empty where not known")
    maps: bool = Field(description="Whether it puts out maps: channels with rows and columns")
    block: bool = Field(description="Whether it holds other layers")


class LensDocument(Document):
    """What can be looked at in a run's network, and how."""

    reason: Literal["", "network", "torch"] = Field(description="Why it cannot be looked into, empty where it can")
    torch: bool = Field(description="Whether PyTorch is installed where the server runs")
    shape: list[int] = Field(description="Sizes of one example")
    picture: list[int] | None = Field(description="Height, width and channels, where examples are pictures")
    methods: list[LensMethod]
    layers: list[LensLayer]
    samples: list[str] = Field(description="Names of sample photos")


class LensQuestion(Document):
    """Ways of looking at one input, as the network was at a step.

    The input is a recorded example (`series` and `example`), a sample `photo` by its name, or an uploaded `picture`;
    ways of looking that need none can be asked without.
    """

    model_config = ConfigDict(defer_build=False)

    methods: list[str] = Field(min_length=1, max_length=24)
    step: int | None = Field(default=None, description="At the last snapshot that is not after it; None: the last one")
    series: str | None = Field(default=None, max_length=500, description="Of which predictions the example is one")
    example: int | None = Field(default=None, ge=0)
    photo: str | None = Field(default=None, max_length=100)
    picture: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$", description="What POST /lens/pictures said")
    target: int | None = Field(default=None, ge=0, description="Number of the class; None: the network's answer")
    layer: str | None = Field(default=None, max_length=500, description="None: the last useful one")
    channel: int | None = Field(default=None, ge=0)
    inside: str | None = Field(
        default=None, max_length=500, description="A layer whose channels stand where classes stood: target is one"
    )
    place: list[int] | None = Field(
        default=None, min_length=2, max_length=2, description="Row and column of one unit of that channel"
    )
    check: bool = Field(default=False, description="Draw attributions with random weights, and say how alike they are")
    options: dict[str, dict[str, float]] = Field(
        default_factory=dict, max_length=24, description="Settings of methods: {occlusion: {window: 8}}"
    )
    theme: Literal["light", "dark"] = Field(default="light", description="Of the pictures to keep")


class LensFilmQuestion(LensQuestion):
    """The same at all snapshots of the run, as one film; as a picture at the step itself.

    The class that is explained, where none is named, is what the network answers at `step`.
    """

    format: Literal["gif", "mp4", "html", "png"] = Field(
        default="gif", description="`html` is a page that plays the film; `png` is a picture at `step`"
    )
    fps: float = Field(default=6.0, ge=0.1, le=50, description="Frames a second")
    first: int | None = Field(default=None, description="No snapshot before this step")
    last: int | None = Field(default=None, description="No snapshot after this step")


class ClassImagesQuestion(Document):
    """What each class looks like to a network that is more than a chain of linear layers, as it was at a step."""

    model_config = ConfigDict(defer_build=False)

    step: int | None = Field(default=None, description="At the last snapshot that is not after it; None: the last one")
    series: str | None = Field(default=None, max_length=500, description="Predictions whose examples are taken")


class LensPicture(Document):
    """An uploaded picture, kept for a while."""

    picture: str


class LensAnswer(Document):
    """What the network says of one class."""

    index: int
    score: float | None
    confidence: float | None


class LensInput(Document):
    """What the network was given, and what it says of it."""

    name: str
    height: int = Field(description="Of the photo as people see it; 0 where it is no picture")
    width: int
    values: list[float] = Field(description="The numbers of an input that is no picture")
    answers: list[LensAnswer] = Field(description="The five likeliest classes")
    meaning: Literal["softmax", "probabilities", "independent", "logistic", "number"]
    notes: list[str]


class LensResult(Document):
    """What one way of looking found; its maps are at /lens/{job}/maps."""

    method: str
    kind: Literal["attribution", "maps", "kernels", "maximum", "examples", "classes"]
    layer: str | None
    target: int | None
    score: float | None
    signed: bool
    places: bool = Field(description="Whether its map says where in the picture something is")
    units: str
    caption: str
    notes: list[str]
    numbers: dict[str, float | None]
    what: str
    seconds: float
    done: bool = Field(description="False for a first sight of what is still going on")


class LensFailure(Document):
    """Why one way of looking found nothing."""

    method: str
    error: ErrorBody


class LensJob(Document):
    """How a question to the lens stands."""

    id: str
    run: str
    step: int = Field(description="The step of the snapshot that is looked at")
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    ahead: int = Field(description="Questions that are answered before")
    doing: Literal["", "starting", "loading", "looking"] = Field(
        description="What is going on: a process starts, it loads the network, or it looks; empty where nothing is"
    )
    share: float | None = Field(description="How much of a long way of looking is done, from 0 to 1")
    version: int = Field(description="Goes up whenever something is new")
    methods: list[str]
    input: LensInput | None
    results: list[LensResult]
    failures: list[LensFailure]
    error: ErrorBody | None
    threads: int = Field(description="Processors that it may take; one while a training writes into this folder")
    seconds: float
    file: str | None = Field(description="What the file is called that a film ends with, at /lens/{job}/file")


class LensExamples(Document):
    """The strongest examples of a unit: `channels` are their numbers.

    The first half of `pixels` is what it sees of them, the second half what in them it answers to; smaller ones lie at
    the top left.
    """

    unit: int
    units: list[int] = Field(description="Units of the layer, the one with the strongest answer first")
    values: list[float | None] = Field(description="Its answers")
    sizes: list[list[int]] = Field(description="Height and width of each picture")
    boxes: list[list[int] | None] = Field(description="Which part of the example it is: top, left, bottom, right")
    count: int = Field(description="How many examples were looked at")


class LensHeader(Document):
    """Header of the EPF1 container of one way of looking: `maps` f4 [K, h, w], of volumes [K, d, h, w], or `pixels` u1
    [K, h, w, 3].

    Of the input itself `method` is empty, and `pixels` are what people see of it.
    """

    arrays: list[ArrayDocument]
    method: str
    channels: list[int] = Field(description="Which channels these are, strongest first; empty where there are none")
    total: int = Field(description="How many channels the layer has")
    examples: LensExamples | None = Field(default=None, description="Of top examples")
