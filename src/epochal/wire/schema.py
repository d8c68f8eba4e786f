"""The JSON documents of the wire, written once: the server answers with them, OpenAPI and TypeScript follow.

JSON has no NaN or infinity: such a number is null here, and the counts beside it say how many there were.
Times are unix seconds. Run ids on the wire are always `project/run_id`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AlertDocument",
    "AnswerDocument",
    "ArrayDocument",
    "AskableDocument",
    "CodeDocument",
    "ConsoleDocument",
    "ConsoleLineDocument",
    "DeletedDocument",
    "EdgeDocument",
    "ErrorBody",
    "ErrorDocument",
    "EventDocument",
    "ExampleHeader",
    "ExampleSetDocument",
    "GraphDocument",
    "LayerDocument",
    "MediaDocument",
    "MediaItemDocument",
    "MediaSeriesDocument",
    "MetricDocument",
    "NoticeDocument",
    "ParameterDocument",
    "PredictionsHeader",
    "Question",
    "RunChange",
    "RunDetail",
    "RunRow",
    "RunTable",
    "SeriesKept",
    "SparkDocument",
    "StudioDocument",
    "TensorDocument",
    "WeightLayerDocument",
]


class Document(BaseModel):
    """Base of the wire's documents: nothing unknown is accepted.

    Their checks are built when first used: the server only describes most of them, and should start quickly.
    """

    model_config = ConfigDict(extra="forbid", defer_build=True)


class ErrorBody(Document):
    """What went wrong, in a stable word, a sentence and what to do."""

    code: str
    message: str
    hint: str = ""


class ErrorDocument(Document):
    """The one shape of every error."""

    error: ErrorBody


class StudioDocument(Document):
    """What this Studio is."""

    version: str
    live: bool = Field(description="True when a server answers, False inside an exported file")
    root: str = Field(description="Name of the folder of runs, for people")
    writable: bool = Field(description="Whether runs can be renamed, tagged, archived and deleted here")
    export_formats: list[str] = Field(description="File suffixes an export can have here, such as gif")


class NoticeDocument(Document):
    """Something to tell the reader: lost, damaged, hidden or thinned data."""

    code: str
    message: str
    hint: str = ""
    count: int = 0


class MetricDocument(Document):
    """What one scalar series came to."""

    n: int
    last: float | None
    last_step: int
    first_step: int
    min: float | None
    min_step: int
    max: float | None
    max_step: int
    mean: float | None
    nan: int = 0
    inf: int = 0
    better: Literal["min", "max"] | None = None


class SparkDocument(Document):
    """A series in at most 64 numbers."""

    name: str
    values: list[float | None]


class RunRow(Document):
    """One row of the runs table."""

    id: str = Field(description="project/run_id")
    project: str
    run_id: str
    name: str
    status: Literal["running", "finished", "failed", "stopped", "crashed"]
    created: float
    ended: float | None
    seconds: float | None
    last_step: int | None
    last_epoch: float | None
    total_epochs: float | None = Field(description="From the config's `epochs`, where there is one")
    group: str | None
    parent: str | None = Field(description="project/run_id of the run that it was forked from")
    parent_step: int | None = Field(description="The step of the parent at which it begins")
    tags: list[str]
    notes: str
    archived: bool
    parameters: int | None = Field(description="Numbers in all weights and biases, where known")
    config: dict[str, Any] = Field(description="Flat: nested keys joined by '/'")
    metrics: dict[str, MetricDocument]
    spark: SparkDocument | None
    error: str | None
    notices: int = Field(description="How many notices the run has of things that were lost, hidden or damaged")
    version: str = Field(description="Changes when anything of the run changed on disk")


class RunTable(Document):
    """All runs, newest first."""

    runs: list[RunRow]
    notices: list[NoticeDocument]


class TensorDocument(Document):
    """A tensor that was recorded through time."""

    series: str = Field(description="param/<name>, grad/<name>, act/<layer>, or the name of a logged histogram")
    kind: Literal["param", "grad", "act", "hist", "lens"]
    name: str
    shape: list[int] | None = Field(description="As it is shown, outputs first; None where only statistics are kept")
    layout: list[int] = Field(default=[], description="Order of the stored axes in `shape`; empty where it is the same")
    dtype: str | None
    frames: int = Field(description="Steps at which its values are kept exactly")
    rows: int = Field(description="Steps at which its statistics and histogram are kept")
    change: float | None = Field(description="How much its mean moved over the run, in units of its first std")


class WeightLayerDocument(Document):
    """A layer with parameters, as the Weights page shows it."""

    layer: str
    kind: str
    activation: str | None
    inputs: int | None
    outputs: int | None
    weight: TensorDocument | None
    bias: TensorDocument | None
    others: list[TensorDocument]


class MediaSeriesDocument(Document):
    """A series of logged values that are no numbers."""

    series: str
    kinds: list[str] = Field(description="image, audio, video, text, html, table, figure, chart, array, voxels, ...")
    count: int
    steps: int = Field(description="At how many steps there are some")
    first_step: int
    last_step: int


class AlertDocument(Document):
    """Something that the training wanted to be told."""

    t: float
    step: int | None
    title: str
    text: str
    level: Literal["info", "warning", "error"]
    rule: str = Field(description="The rule that found it, empty for run.alert()")
    rank: int


class AskableDocument(Document):
    """What the recorded network takes at /ask."""

    shape: list[int] = Field(description="Sizes of one example, without the batch")
    classes: list[str] = Field(description="Names of the classes, empty where the config does not tell them")


class AskableInput(Document):
    """One of several inputs of a network."""

    name: str
    shape: list[int] = Field(description="Sizes of one example, without the batch; empty for a single number")


class Question(Document):
    """One example for the network to answer: `values` for a network with one input, `inputs` for several."""

    model_config = ConfigDict(defer_build=False)

    values: list[float] = Field(
        default=[], max_length=200_704, description="The numbers of one example, in C order of its shape"
    )
    inputs: list[list[float]] = Field(
        default=[], max_length=32, description="The same of each input, in order, for a network that takes several"
    )
    step: int | None = Field(default=None, description="At the last snapshot that is not after it; None: the last one")


class AnswerDocument(Document):
    """What the network says of one example."""

    step: int = Field(description="The step of the snapshot that answered")
    outputs: list[float | None] = Field(description="As the network puts them out; null where not finite")
    confidences: list[float | None] = Field(description="From 0 to 1 for each class, empty where there are no classes")
    meaning: Literal["softmax", "probabilities", "independent", "logistic", "number"] = Field(
        description="How the confidences came about"
    )
    classes: list[str]
    seconds: float


class PreparedDocument(Document):
    """How rows for people become those that the network is given: value * scale + offset, column by column."""

    scale: list[float] = Field(description="0 of a column that is the same in all rows: of other values it is unknown")
    offset: list[float]


class NamesDocument(Document):
    """What goes into the network and what comes out is called, as its recorded examples tell."""

    columns: list[str] = Field(description="Of the numbers of a row, in the order of the network's inputs; or empty")
    classes: list[str] = Field(description="Of the network's outputs; or empty")
    prepared: PreparedDocument | None = Field(description="What the network is given for a row of the columns' numbers")


class RunDetail(Document):
    """Everything small that is known of a run; the large things have their own addresses."""

    row: RunRow
    path: str
    code: dict[str, Any]
    environment: dict[str, Any]
    recorder: dict[str, Any] = Field(description="What the recorder chose and what it cost, as it measured itself")
    series: list[str]
    tensors: list[TensorDocument]
    layers: list[WeightLayerDocument]
    snapshots: list[int] = Field(description="Steps at which all parameters are kept exactly")
    epoch_steps: list[int] = Field(description="Steps whose epoch is known, growing")
    epochs: list[float] = Field(description="The epoch at each of `epoch_steps`")
    graph: bool = Field(description="Whether /graph has an answer")
    network: bool = Field(description="Whether the network can be rebuilt at a snapshot")
    ask: AskableDocument | None = Field(description="What /ask takes, None where the network cannot be asked")
    ask_inputs: list[AskableInput] = Field(description="Of a network with several inputs what /ask takes; else empty")
    ask_reason: str = Field(description="Why the network cannot be asked, empty where it can")
    names: NamesDocument = Field(description="What inputs and outputs are called")
    class_images: TensorDocument | None = Field(description="The film of what each class looks like to the network")
    media: list[MediaSeriesDocument] = Field(description="Logged values that are no numbers, by series")
    alerts: list[AlertDocument] = Field(description="The newest 500")
    console: bool = Field(description="Whether /console has lines")
    notices: list[NoticeDocument]


class MediaItemDocument(Document):
    """One logged value; its bytes are at /blob."""

    step: int
    t: float
    index: int = Field(description="Place in the list that it was logged in")
    kind: str
    blob: str = Field(description="What /blob is asked for: <sha256>.<extension>")
    size: int = Field(description="Bytes of the blob")
    caption: str
    meta: dict[str, Any] = Field(description="What its kind tells besides: width, height, seconds, columns")


class MediaDocument(Document):
    """The values of one series by step, those of one step in the order logged."""

    series: str
    total: int = Field(description="Values in the steps asked for")
    stride: int = Field(description="Every n-th step is here; the last one always is")
    items: list[MediaItemDocument]


class ConsoleLineDocument(Document):
    """One line that the training printed."""

    t: float
    step: int | None
    stream: Literal["stdout", "stderr"]
    text: str
    rank: int


class ConsoleDocument(Document):
    """The last lines that the training printed."""

    lines: list[ConsoleLineDocument]


class CodeDocument(Document):
    """Where a run comes from."""

    code: dict[str, Any]
    environment: dict[str, Any]
    diff: str | None = Field(description="Changes of the code since its commit")
    packages: dict[str, str]


class ParameterDocument(Document):
    """One parameter of a layer."""

    name: str
    shape: list[int]
    dtype: str
    role: Literal["weight", "bias", "buffer", "other"]
    trainable: bool
    initializer: str | None
    size: int
    bytes: int


class LayerDocument(Document):
    """A node of the graph."""

    layer_id: str
    kind: str
    module: str
    role: Literal["input", "module", "operation", "output"]
    inputs: list[list[int]] = Field(description="Shapes; -1 is the batch")
    outputs: list[list[int]]
    parameters: list[ParameterDocument]
    activation: str | None
    attributes: dict[str, Any]
    parameter_count: int
    multiply_adds: int | None = Field(description="Those of products and convolutions for one example")
    units: int | None = Field(description="Units or channels it puts out")
    group: str = Field(description="The group it stands in, empty for the network itself")
    shared: list[str] = Field(description="All uses of its module, where that is used more than once")


class EdgeDocument(Document):
    """An arrow of the graph."""

    source: str
    target: str
    skip: bool


class GroupDocument(Document):
    """A module that holds others, or a further use of one."""

    group_id: str
    kind: str
    parent: str


class SkipDocument(Document):
    """A skip connection: where it leaves the main path, where it joins it, and the layers on its own way."""

    source: str
    target: str
    through: list[str]


class GraphDocument(Document):
    """A network's layers in running order, and the arrows between them."""

    source: Literal["export", "forward", "declared", "parameters"]
    model: str
    framework: str
    note: str
    layers: list[LayerDocument]
    edges: list[EdgeDocument]
    groups: list[GroupDocument] = Field(description="Outer ones first")
    skips: list[SkipDocument]
    multiply_adds: int | None
    bytes: int
    parameter_count: int
    trainable_count: int


class RunChange(Document):
    """What people may change of a run; what is left out stays as it is."""

    # The only document that is read, so it is built at once: FastAPI warns of a body whose checks come later.
    model_config = ConfigDict(defer_build=False)

    name: str | None = Field(default=None, min_length=1, max_length=200)
    tags: list[str] | None = Field(default=None, max_length=50)
    notes: str | None = Field(default=None, max_length=100_000)
    archived: bool | None = None


class EventDocument(Document):
    """One event of the live stream: a run is new, has new data or is gone."""

    id: str
    kind: Literal["new", "changed", "gone"]
    status: Literal["running", "finished", "failed", "stopped", "crashed"]
    last_step: int | None
    version: str


class DeletedDocument(Document):
    """A run went to the trash; it can be restored."""

    id: str


class SeriesKept(Document):
    """How much of a series an answer holds; the header `Epochal-Series` has one of these for each name."""

    n: int = Field(description="Rows of the series in the steps asked for")
    kept: int = Field(description="Rows of it in the answer")
    nan: int
    inf: int


class ArrayDocument(Document):
    """An array in an EPF1 container: little-endian, C order."""

    name: str
    dtype: Literal["f4", "f8", "u1", "u4", "i8"]
    shape: list[int]


class ExampleSetDocument(Document):
    """Examples that a network was asked about at several steps."""

    examples: int
    classes: int
    class_names: list[str] | None
    feature_names: list[str] | None = Field(description="Names of the columns, where inputs are rows of a table")
    labels: bool = Field(description="Whether the right answers are known")
    ids: list[str] | None
    inputs: Literal["", "pictures", "numbers", "texts"]
    inputs_blob: str = Field(description="What /blob is asked for, empty where no inputs were logged")
    inputs_bytes: int = Field(description="Size of that file")
    range: list[float] | None = Field(description="What 0 and 255 of a picture stand for")
    outputs: str = Field(description="What the network put out: raw, softmax or sigmoid; empty where not known")
    shown: bool = Field(description="Whether the inputs are for people, and the network was given something else")
    prepared: PreparedDocument | None = Field(description="What it was given instead, where both are rows of a table")


class PredictionsHeader(Document):
    """Header of the EPF1 container of predictions: the likeliest class of each example at each step.

    `steps` [T]; `of` [T], the number of each step's set in `sets`; `predicted`, step after step, as many as its set has
    examples, the largest number of its type where there is no finite answer; `labels`, set after set that has some.
    """

    arrays: list[ArrayDocument]
    series: str
    total: int = Field(description="Steps recorded")
    stride: int = Field(description="Every n-th step is here; the last one always is")
    unreadable: int = Field(description="Steps whose file is gone or no longer what it was")
    blobs: list[str] = Field(description="Of each step, what /blob is asked for: safetensors, probabilities [N, C]")
    sets: list[ExampleSetDocument]


class ExampleHeader(Document):
    """Header of the EPF1 container of one example: steps [T] and probabilities [T, C]."""

    arrays: list[ArrayDocument]
    series: str
    example: int
