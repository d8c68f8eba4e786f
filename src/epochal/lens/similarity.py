"""Centred kernel alignment: how alike two layers arrange the same examples, whatever their units are.

S. Kornblith, M. Norouzi, H. Lee, G. Hinton: "Similarity of Neural Network Representations Revisited", ICML 2019. The
estimate is that of T. Nguyen, M. Raghu, S. Kornblith: "Do Wide and Deep Networks Learn the Same Things?", ICLR 2021:
the unbiased HSIC of L. Song and others (JMLR 2012) summed over batches; no matrix of all examples is ever held.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from epochal.errors import NetworkError, UsageError
from epochal.film import Film
from epochal.lens.activity import Activity, left_out_note
from epochal.lens.asking import Subject
from epochal.lens.films import Reader, known_steps
from epochal.lens.source import Source
from epochal.network.recorded import open_each
from epochal.picture import ColourScale, GridScene, LabelledMatrix, table, theme
from epochal.picture import save as save_scene

__all__ = ["CITATION", "Similarity", "cka", "cka_steps"]

Array = npt.NDArray[Any]
Progress = Callable[[int, int], object]

CITATION = "Linear CKA: how alike layers arrange examples (Kornblith et al. 2019; batches: Nguyen et al. 2021)"
_BATCH = 256
_MOST_NUMBERS = 1 << 23
_FEWEST = 4
"""The unbiased estimate needs so many examples in a batch."""
_WHOLE = 4096
"""Layers of so many numbers are multiplied in double precision."""
_NOTHING = 1e-6
_MOST_GRAMS = 1 << 28
"""So many numbers may the inner products of all steps take."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Similarity:
    """How alike layers are: `array` [rows, columns], 1 for the same up to rotation and scale, about 0 for unrelated.

    `rows` and `columns` are the names of layers, or steps. An unbiased estimate may lie a little below 0, and is NaN
    where a layer says the same of all examples. `numbers` holds `examples`, `batches`, `batch` (examples in one) and
    `seed`.
    """

    array: Array
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    what: str = "layer"
    caption: str = CITATION
    notes: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    step: int | None = None

    def __post_init__(self) -> None:
        self.array.flags.writeable = False

    def film(self) -> Film:
        """The matrix as a film of one frame."""
        return Film(f"CKA by {self.what}", [self.step or 0], self.array[None], axes=("row", "column"), units="CKA")

    def scene(
        self, *, mode: str = "light", size: tuple[int, int] | None = None, title: str = "", beside: Any = None
    ) -> GridScene:
        """The matrix with its names; `beside` are all of them, and their captions, where it moves."""
        results, captions = beside or ([self], ["" if self.step is None else f"step {self.step:,}"])
        values = np.stack([one.array for one in results])
        scale = ColourScale(lo=0.0, hi=1.0, colours=table("magma", mode), signed=False, label="CKA")
        chart = LabelledMatrix(
            title=f"{len(self.rows)} × {len(self.columns)}", values=values, rows=self.rows, columns=self.columns,
            scale=scale,
        )  # fmt: skip
        return GridScene(
            charts=[chart], theme=theme(mode), title=title or f"CKA by {self.what}", captions=captions, wanted=size,
            card=chart.natural, scale=scale, note=self.caption, columns=1,
        )  # fmt: skip

    def save(self, path: str | os.PathLike[str], *, theme: str = "light", size: tuple[int, int] | None = None) -> Path:
        """Write the matrix as a .png or .svg picture; .npz and .csv hold the numbers."""
        if Path(path).suffix.lower() in (".npz", ".csv"):
            return self.film().save(path)
        return save_scene(self.scene(mode=theme, size=size), path)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.array.shape))
        return f"<Similarity by {self.what}, {shape}, over {int(self.numbers.get('examples', 0)):,} examples>"


def cka(
    a: Any,
    b: Any = None,
    inputs: Any = None,
    *,
    layers: Sequence[str] | None = None,
    layers_b: Sequence[str] | None = None,
    batch: int | None = None,
    debiased: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> Similarity:
    """Linear CKA between the layers of a network, or those of `a` (rows) and `b` (columns), over `inputs` [N, ...].

    `inputs` are what both networks take: an array, tensor or data set, of at least 4 examples; they are dealt into
    batches of about `batch` (256, fewer of large inputs) in the order of `seed`, each used once. With `debiased` each
    batch gives the unbiased HSIC, so that the answer does not depend on the size of batches; without it the estimate of
    Kornblith and others, which is too high for few examples. `layers` are names (`layers_b` those of `b`, the same
    where left out), by default of all layers with weights. Memory: one batch and its inner products, [layers, batch,
    batch]. `progress(done, total)` is called after each batch; what it raises ends it.

    Raises UsageError where there are too few examples, NotFoundError for a layer that is not there.
    """
    first = Subject(a, whole=True)
    source = Source(first, _given(inputs))
    parts, size = _dealt(source, batch, seed)
    mine = Activity(first, layers)
    second = None if b is None or b is a else Subject(b, whole=True)
    named = layers if layers_b is None and layers is not None else layers_b
    theirs = mine if second is None and layers_b is None else Activity(second or first, named)
    source_b = source if second is None else Source(second, inputs)
    sums: list[Array] = []
    for done, part in enumerate(parts):
        left = _grams(mine, source.take(part), debiased=debiased)
        right = left if theirs is mine else _grams(theirs, source_b.take(part), debiased=debiased)
        sums = _added(sums, left, right, debiased=debiased)
        if progress is not None:
            progress(done + 1, len(parts))
    array = _aligned(*sums)
    return Similarity(
        array=array,
        rows=tuple(mine.names),
        columns=tuple(theirs.names),
        notes=(*_notes(array, len(source), parts, size, debiased=debiased), *left_out_note(mine, theirs)),
        numbers={"examples": len(source), "batches": len(parts), "batch": size, "seed": seed},
        step=first.step,
    )


def cka_steps(
    run: Reader,
    inputs: Any = None,
    *,
    layer: str,
    other: Reader | None = None,
    steps: Literal["all"] | Iterable[int] = "all",
    batch: int | None = None,
    debiased: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> Similarity:
    """Linear CKA of one layer between all pairs of a run's snapshots (rows and columns are steps), as `cka` does.

    With `other`, the columns are the snapshots of another run whose network takes the same inputs and has a layer of
    that name. Each snapshot is opened once; the inner products of all of them are kept, 4 bytes for each pair of
    examples of a batch.
    """
    given = _given(inputs)
    rows = known_steps(run.stored, steps)
    columns = rows if other is None else known_steps(other.stored, "all")
    total = len(rows) + (0 if other is None else len(columns))
    done = 0

    def all_of(one: Reader, wanted: Sequence[int]) -> tuple[list[list[Array]], int, list[Array], int]:
        nonlocal done
        found: list[list[Array]] = []
        source: Source | None = None
        parts: list[Array] = []
        size = 0
        for network in open_each(one.stored, wanted):
            subject = Subject(network, whole=True)
            source = Source(subject, given)
            parts, size = _dealt(source, batch, seed)
            if total * len(source) * size > _MOST_GRAMS:
                raise UsageError(
                    f"{total} snapshots over {len(source):,} examples need too much memory.",
                    hint="Give fewer examples, fewer steps, or a smaller batch.",
                )
            heard = Activity(subject, [layer])
            found.append([_grams(heard, source.take(part), debiased=debiased)[0].astype(np.float32) for part in parts])
            done += 1
            if progress is not None:
                progress(done, total)
        return found, 0 if source is None else len(source), parts, size

    left, count, parts, size = all_of(run, rows)
    right = left if other is None else all_of(other, columns)[0]
    sums: list[Array] = []
    for i in range(len(parts)):
        mine = np.stack([grams[i] for grams in left]).astype(np.float64)
        theirs = mine if right is left else np.stack([grams[i] for grams in right]).astype(np.float64)
        found = (
            _pairs(mine, theirs, debiased=debiased),
            _own(mine, debiased=debiased),
            _own(theirs, debiased=debiased),
        )
        sums = [s + f for s, f in zip(sums, found, strict=True)] if sums else list(found)
    array = _aligned(*sums)
    return Similarity(
        array=array,
        rows=tuple(f"{step:,}" for step in rows),
        columns=tuple(f"{step:,}" for step in columns),
        what=f"step, layer {layer}",
        notes=_notes(array, count, parts, size, debiased=debiased),
        numbers={"examples": count, "batches": len(parts), "batch": size, "seed": seed},
        step=rows[-1],
    )


def _given(inputs: Any) -> Any:
    if inputs is None:
        raise UsageError("CKA compares what layers make of examples: give inputs.", hint="cka(network, inputs=x)")
    return inputs


def _dealt(source: Source, batch: int | None, seed: int) -> tuple[list[Array], int]:
    """The numbers of all examples in parts of about the same size, in an order of chance."""
    count = len(source)
    if count < _FEWEST:
        raise UsageError(f"CKA needs at least {_FEWEST} examples, better some hundred; there are {count}.")
    if batch is not None and batch < _FEWEST:
        raise UsageError(f"batch must be at least {_FEWEST}, not {batch}.")
    size = batch or max(16, min(_BATCH, _MOST_NUMBERS // max(1, source.first.numel())))
    pieces = max(1, min(round(count / size), count // _FEWEST))
    order = np.random.default_rng(seed).permutation(count)
    parts = np.array_split(order, pieces)
    return parts, len(parts[0])


def _grams(activity: Activity, batch: Tensor, *, debiased: bool) -> Array:
    """The inner products [layers, n, n] of what each layer puts out for a batch; zero on the diagonal if debiased."""
    found: dict[str, Array] = {}
    activity.hear(batch, lambda name, output: found.__setitem__(name, _gram(name, output)))
    grams = np.stack([found[name] for name in activity.names])
    if debiased:
        places = np.arange(grams.shape[1])
        grams[:, places, places] = 0
        return grams
    # Centred on both sides, as HSIC by its definition has it.
    grams -= grams.mean(axis=1, keepdims=True)
    grams -= grams.mean(axis=2, keepdims=True)
    return grams


def _gram(name: str, output: Tensor) -> Array:
    flat = output.flatten(1)
    flat = flat.double() if flat.shape[1] <= _WHOLE else flat.float()
    # CKA is the same for features moved by a constant; centred ones lose fewer digits.
    size = float(flat.norm())
    flat = flat - flat.mean(dim=0)
    if float(flat.norm()) <= _NOTHING * size:
        flat = torch.zeros_like(flat)  # the same for all examples, up to rounding
    gram = (flat @ flat.T).double()
    if not torch.isfinite(gram).all():
        raise NetworkError(f"Layer {name!r} puts out values that are not finite.")
    array: Array = gram.cpu().numpy()
    return array


def _added(sums: Sequence[Array], left: Array, right: Array, *, debiased: bool) -> list[Array]:
    """The sums over batches with one more: HSIC of all pairs, and of each layer with itself."""
    own = _own(left, debiased=debiased)
    found = [_pairs(left, right, debiased=debiased), own, own if right is left else _own(right, debiased=debiased)]
    return [s + f for s, f in zip(sums, found, strict=True)] if sums else found


def _pairs(left: Array, right: Array, *, debiased: bool) -> Array:
    """HSIC [layers, layers] of inner products, without the factors that cancel in CKA."""
    n = left.shape[1]
    traces = left.reshape(len(left), -1) @ right.reshape(len(right), -1).T
    if not debiased:
        return np.asarray(traces)
    rows, others = left.sum(axis=2), right.sum(axis=2)
    whole = np.outer(rows.sum(axis=1), others.sum(axis=1)) / ((n - 1) * (n - 2))
    found: Array = (traces + whole - 2 / (n - 2) * (rows @ others.T)) / (n * (n - 3))
    return found


def _own(grams: Array, *, debiased: bool) -> Array:
    """HSIC of each layer with itself [layers]."""
    n = grams.shape[1]
    traces = np.einsum("lij,lij->l", grams, grams)
    if not debiased:
        return np.asarray(traces)
    rows = grams.sum(axis=2)
    whole = rows.sum(axis=1) ** 2 / ((n - 1) * (n - 2))
    found: Array = (traces + whole - 2 / (n - 2) * (rows**2).sum(axis=1)) / (n * (n - 3))
    return found


def _aligned(pairs: Array, left: Array, right: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        # A layer that says the same of all examples has no arrangement.
        sizes = np.sqrt(np.outer(np.where(left > 0, left, np.nan), np.where(right > 0, right, np.nan)))
        return np.asarray(pairs / sizes)


def _notes(array: Array, count: int, parts: Sequence[Array], size: int, *, debiased: bool) -> tuple[str, ...]:
    notes = [f"over {count:,} examples in {len(parts)} batch{'es' if len(parts) > 1 else ''} of about {size}"]
    if not debiased:
        notes.append("not debiased: layers of many units and few examples look more alike than they are")
    elif count < 64:
        notes.append(f"{count} examples are few: the estimate is uncertain")
    if bad := int(np.isnan(array).sum()):
        notes.append(f"{bad} pair{'s' if bad > 1 else ''} without an answer: a layer says the same of all examples")
    return tuple(notes)
