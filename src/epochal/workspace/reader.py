"""One recorded run, for reading: also while it is being written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from epochal.errors import NotFoundError, UsageError
from epochal.facts import (
    Alert,
    ConsoleLine,
    EmbeddingSet,
    Graph,
    MediaItem,
    Notice,
    PredictionHistory,
    PredictionSet,
    RunInfo,
    SeriesSummary,
    is_system,
)
from epochal.facts.scores import Normalise
from epochal.film import Film
from epochal.film.confusion import ConfusionFilm
from epochal.store import MediaSeries, StoredRun
from epochal.views.predictions import read_example, read_history, read_predictions
from epochal.workspace.confusions import make_confusions
from epochal.workspace.films import epochs_at, make_film, nearest_step, series_of
from epochal.workspace.media import read_embedding

if TYPE_CHECKING:
    import pyarrow as pa

    from epochal.network import Network

Kind = Literal["params", "grads", "epochs"]
Read = TypeVar("Read")


class RunReader:
    """Reads one run. Every answer is as fresh as the files are; nothing is written."""

    def __init__(self, stored: StoredRun) -> None:
        self._stored = stored

    @classmethod
    def open(cls, path: str | Path) -> RunReader:
        """The run in a folder `<root>/<project>/<run_id>`."""
        return cls(StoredRun(path))

    @property
    def stored(self) -> StoredRun:
        """The run as the store gives it."""
        return self._stored

    @property
    def info(self) -> RunInfo:
        """What the run is and how it stands."""
        return self._stored.info()

    @property
    def id(self) -> str:
        """`project/run_id`, which names it among all runs."""
        return f"{self._stored.project}/{self._stored.run_id}"

    @property
    def name(self) -> str:
        """Its display name."""
        return self.info.name

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._stored.path

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings it was started with."""
        return self.info.config

    @property
    def summary(self) -> dict[str, SeriesSummary]:
        """What each scalar series came to: last, lowest, highest, counts of NaN and infinities."""
        return self._stored.summaries()

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What a reader must be told: values that were lost, damaged or hidden."""
        return self._stored.notices()

    def series(self) -> list[str]:
        """The names of all films: scalars as they were logged, `param/...`, `grad/...`, `hist/...`, and values.

        Of values, those that are pictures or arrays; `media_series()` tells of all.
        """
        return series_of(self._stored)

    def scalars(self, names: str | Iterable[str] | None = None) -> pa.Table:
        """Scalars as a table with the columns name, step, t (unix seconds) and v, in the order they were logged.

        All of them, or those named. `.to_pandas()` and `polars.from_arrow(...)` take it on; values are exactly what
        was logged, NaN and infinities included.
        """
        import pyarrow as pa

        wanted = [names] if isinstance(names, str) else names
        found = self._stored.scalars(wanted)
        lengths = [len(series.steps) for series in found.values()]
        codes = np.repeat(np.arange(len(found), dtype=np.int32), lengths)
        column = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(found), pa.string()))

        def joined(part: str, dtype: Any) -> npt.NDArray[Any]:
            return np.concatenate([np.empty(0, dtype), *(getattr(series, part) for series in found.values())])

        return pa.table(
            {
                "name": column,
                "step": pa.array(joined("steps", np.int64)),
                "t": pa.array(joined("t", np.float64)),
                # from_pandas would turn NaN into null; the buffer is handed over as it is.
                "v": pa.array(joined("v", np.float64), from_pandas=False),
            }
        )

    def film(self, name: str) -> Film:
        """A recorded array over steps.

        `loss` is the scalar of that name, `layers.0.weight` the parameter (its full name is `param/layers.0.weight`),
        `grad/layers.0.weight` its gradient, `hist/param/layers.0.weight` the histograms, and
        `norm/param/layers.0.weight` one of the statistics: mean, std, min, max, norm, update_ratio, zeros, nan, inf; of
        activations also `dead/act/layers.0`, the share of units that put out nothing but 0.
        The name of logged pictures of one size is their film, uint8; several of one step stand beside one another.
        Voxels, arrays, points, predictions and embeddings of one shape are films too.
        """
        return make_film(self._stored, name)

    def media_series(self) -> dict[str, MediaSeries]:
        """What was logged besides numbers: of each series its kinds, how many values, and at which steps."""
        return self._stored.media_series()

    def media(self, name: str, steps: int | Iterable[int] | None = None) -> list[MediaItem]:
        """The values of a series by step, those of one step in the order logged; all, or those at some steps."""
        return self._stored.media(name, [steps] if isinstance(steps, int) else steps)

    def blob(self, value: MediaItem | str) -> bytes:
        """The bytes of a recorded value (or of a hash): the file as it was stored, such as a PNG.

        Raises DamagedError where it is gone or no longer what it was.
        """
        return self._stored.blob_bytes(value.sha256 if isinstance(value, MediaItem) else value)

    def predictions(self, step: int | None = None, *, name: str = "predictions") -> PredictionSet:
        """What the network said of examples at a step, or the last time: probabilities, labels, inputs."""
        return read_predictions(self._stored, name, step)

    def confusion(
        self, step: int | None = None, *, name: str = "predictions", normalise: Normalise | None = None
    ) -> npt.NDArray[Any]:
        """How many examples of each class (row) were said to be of each class (column), [C, C], at a step or at last.

        `normalise` makes shares of them: of "rows", "columns" or "all"; NaN where there is nothing to share.
        """
        return self.predictions(step, name=name).confusion(normalise)

    def confusions(
        self,
        steps: int | Iterable[int] | None = None,
        *,
        name: str | None = None,
        normalise: Normalise | None = None,
        against: int | RunReader | None = None,
    ) -> ConfusionFilm:
        """The confusion matrices at all steps (or some): a film [T, C, C] that saves itself with `.save("film.gif")`.

        `against` sets what another run said of the same examples beside it (at the same step, or the last one before),
        or what this run said at one step; pictures then show A, B and A - B. `name` is the series of predictions,
        `normalise` as in `confusion`.
        """
        other = against.stored if isinstance(against, RunReader) else against
        return make_confusions(self._stored, steps, name, normalise, other)

    def history(self, *, name: str = "predictions") -> PredictionHistory:
        """Which class the network said each example to be of, at every step; for the examples of the last step."""
        return read_history(self._stored, name)

    def forgotten(self, step: int | None = None, *, name: str = "predictions") -> npt.NDArray[np.int64]:
        """The numbers of the examples that were right before and are wrong at a step, or at last."""
        return self.history(name=name).forgotten(step)

    def never_learned(self, step: int | None = None, *, name: str = "predictions") -> npt.NDArray[np.int64]:
        """The numbers of the examples that were wrong at every step up to a step, or the last one."""
        return self.history(name=name).never_learned(step)

    def example(self, number: int, *, name: str = "predictions") -> Film:
        """The confidence in each class of one example through the training: a film [T, C]."""
        steps, frames = read_example(self._stored, name, number)
        return Film(f"{name}/{number}", steps, frames, axes=("class",), epochs=epochs_at(self._stored, steps))

    def embedding(self, step: int | None = None, *, name: str = "embedding") -> EmbeddingSet:
        """The points of an embedding at a step, or the last time: vectors, labels, metadata, images."""
        return read_embedding(self._stored, name, step)

    def console(self, *, last: int | None = None) -> list[ConsoleLine]:
        """What the training printed, in the order of time; with `last`, only that many lines from the end."""
        return self._stored.console(last=last)

    def alerts(self) -> list[Alert]:
        """The alerts of `run.alert` and of the rules of `run.define`, in the order of time."""
        return self._stored.alerts()

    def code(self) -> dict[str, Any]:
        """Script, command, commit, branch, and which files were changed since the commit or are not in git."""
        return self._stored.code()

    def environment(self) -> dict[str, Any]:
        """Python, machine, processors, GPUs, seeds as far as they are known, and a few variables."""
        return self._stored.environment()

    def diff(self) -> str | None:
        """The changes of the code since its commit, as a patch; None where there were none or git was not there."""
        return self._stored.diff()

    def packages(self) -> dict[str, str]:
        """Versions of the packages that were installed, by name."""
        return self._stored.packages()

    def steps(self, kind: Kind | str = "params") -> list[int]:
        """Steps at which all parameters (`params`), gradients (`grads`) or an epoch (`epochs`) were kept; for the name
        of a film, the steps of its frames."""
        if kind == "params" or kind == "grads":
            return self._stored.snapshot_steps("params" if kind == "params" else "grads")
        if kind == "epochs":
            return [int(s) for s in self._stored.epochs()[0]]
        return [int(s) for s in self.film(kind).steps]

    def epoch(self, step: int) -> float | None:
        """The epoch at a step: the last one logged at it or before; None where none was."""
        steps, epochs = self._stored.epochs()
        place = int(np.searchsorted(steps, step, side="right"))
        return float(epochs[place - 1]) if place else None

    def parameters(self, step: int | Literal["last"] = "last") -> dict[str, npt.NDArray[Any]]:
        """All parameters and buffers by name, exactly as they were at a step of `steps("params")`."""
        return self._at(step, self._stored.snapshot)

    def network(
        self, step: int | Literal["last"] = "last", *, model: str | None = None, trust: bool = False
    ) -> Network:
        """The network as it was at a step, without the script that trained it. Needs PyTorch.

        `model` is the name of one of several models, as `models()` lists them. A recorded network is data from
        elsewhere: one that could run code when loaded is refused unless you `trust` it.
        """
        from epochal.network import open_recorded

        return self._at(step, lambda at: open_recorded(self._stored, at, model=model, trust=trust))

    def models(self) -> list[str]:
        """The names that models were watched under, "" for one without a name."""
        return self._stored.models()

    def graph(self, model: str | None = None) -> Graph | None:
        """The network's layers and how they are joined, None when no model was watched.

        Several models are one graph, each below its name; with `model` that one's alone, under its own names.
        """
        return self._stored.graph(model)

    def refresh(self) -> bool:
        """Read what is new; True when there was anything. Answers are fresh without it too."""
        return self._stored.refresh()

    def _at(self, step: int | Literal["last"], read: Callable[[int], Read]) -> Read:
        """Read a snapshot. The last one of a run that trains may have been let go of since it was looked for."""
        if step == "last":
            with contextlib.suppress(NotFoundError):
                return read(self._snapshot_step(step))
        return read(self._snapshot_step(step))

    def _snapshot_step(self, step: int | Literal["last"]) -> int:
        steps = self._stored.snapshot_steps()
        if not steps:
            raise NotFoundError(
                f"The run {self.id} has no snapshot of its parameters.",
                hint="Record them with run.watch(model), which keeps one each epoch.",
            )
        if step == "last":
            return steps[-1]
        if not isinstance(step, int | np.integer):
            raise UsageError(f"A step is a whole number or 'last', not {step!r}.")
        if step not in steps:
            raise NotFoundError(
                f"The run {self.id} has no snapshot at step {step}.",
                hint=f"The nearest is step {nearest_step(steps, step)}; {len(steps)} are kept, from {steps[0]} "
                f"to {steps[-1]}.",
            )
        return int(step)

    def __repr__(self) -> str:
        info = self.info
        return f"RunReader({self.id!r}, {info.name!r}, {info.status})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{s.last:.6g}</td><td>{s.min:.6g}</td><td>{s.max:.6g}</td></tr>"
            for name, s in sorted(self.summary.items(), key=lambda item: is_system(item[0]))
        )
        head = "<tr><th>series</th><th>last</th><th>min</th><th>max</th></tr>"
        return f"<code>{escape(repr(self))}</code><table>{head}{rows}</table>"
