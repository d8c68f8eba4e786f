"""Weights, biases and gradients as pictures and films."""

from __future__ import annotations

import math
from collections.abc import Sequence

from epochal.errors import NotFoundError
from epochal.export.choose import choose_layers, choose_steps, thin
from epochal.export.job import Job
from epochal.export.tensors import (
    Arranged,
    FlatFrames,
    Flowing,
    TensorFrames,
    extremes,
    hold_small,
    known_graph,
    tile_of,
    weight_layers,
)
from epochal.film import captions
from epochal.picture import DIVERGING, ColourScale, GridScene, MatricesScene, Matrix, Scene, UnitChart, save, table
from epochal.store import SnapshotKind
from epochal.views.layers import TensorFacts, WeightLayer
from epochal.workspace.films import epochs_at

MOST_FRAMES = {"gif": 300, "mp4": 3000, "png": 24, "svg": 24}
_MOST_CARDS = 60


def write_weights(job: Job) -> int:
    """All layers' matrices and biases side by side on one scale."""
    return _write_matrices(job, "params")


def write_gradients(job: Job) -> int:
    """Gradients as matrices; NotFoundError where none were kept."""
    return _write_matrices(job, "grads")


def _write_matrices(job: Job, kind: SnapshotKind) -> int:
    layers = _layers(job, kind)
    steps = film_steps(job, job.run.snapshot_steps(kind))
    frames: list[TensorFrames] = []
    matrices: list[Matrix] = []

    def frames_of(tensor: TensorFacts) -> TensorFrames:
        frames.append(TensorFrames.of(job.run, tensor, kind, steps))
        return frames[-1]

    def card(title: str, subtitle: str, tensor: TensorFacts, bias: TensorFacts | None) -> None:
        arranged = Arranged(frames_of(tensor))
        column = FlatFrames(frames_of(bias)) if bias is not None else None
        matrices.append(Matrix(title=title, subtitle=subtitle, values=arranged, bias=column, holes=arranged.holes))

    def pictures(layer: WeightLayer, weight: TensorFacts, tile: tuple[int, int]) -> None:
        """A tile for each unit, and the biases in a grid of the same order."""
        flowing = Flowing(frames_of(weight), tile)
        words = describe(layer, tile="×".join(map(str, tile)))
        matrices.append(Matrix(title=layer.layer, subtitle=words, values=flowing, holes=flowing.holes))
        if layer.bias is not None and _stands_beside(weight, layer.bias):
            grid = Flowing(frames_of(layer.bias), (1, 1), across=flowing.across)
            words = "each where its unit is"
            matrices.append(Matrix(title=layer.bias.name, subtitle=words, values=grid, holes=grid.holes))

    graph = known_graph(job.run)
    first_layer = next((each.layer for each in weight_layers(job.run, kind) if each.weight is not None), None)
    for layer in layers:
        beside = layer.bias if layer.weight is not None and _stands_beside(layer.weight, layer.bias) else None
        tile = tile_of(layer, graph, first=layer.layer == first_layer)
        if tile is not None and layer.weight is not None and beside is layer.bias:
            pictures(layer, layer.weight, tile)
            continue
        if layer.weight is not None:
            card(layer.layer, describe(layer), layer.weight, beside)
        rest = [layer.bias] if layer.bias is not None and beside is None else []
        for tensor in (*rest, *layer.others):
            if 0 not in (tensor.shape or ()):
                card(tensor.name, "×".join(map(str, tensor.shape or (1,))), tensor, None)
    left = 0
    if len(matrices) > _MOST_CARDS:
        left = len(matrices) - _MOST_CARDS
        job.tell(
            "thinned", f"The first {_MOST_CARDS} matrices are shown, {left} are not.", hint="Choose with --layers."
        )
        frames = frames[: sum(1 + (m.bias is not None) for m in matrices[:_MOST_CARDS])]
        matrices = matrices[:_MOST_CARDS]
    hold_small(frames)
    lo, hi, bad = extremes(frames, len(steps))
    word = "weight" if kind == "params" else "gradient"
    beside_any = any(m.bias is not None for m in matrices)
    notes = ["right of each matrix: bias"] if beside_any else []
    if left:
        notes.append(f"{left:,} more not shown")
    if bad:
        notes.append(f"{bad:,} values not finite")
        job.tell("not_finite", f"{bad:,} values are not finite and have the colour of that.", count=bad)
    scene = MatricesScene(
        matrices,
        scale(job, lo, hi, word),
        job.theme,
        f"{job.run.info().name} · " + ("weights" if kind == "params" else "gradients"),
        captions(steps, epochs_at(job.run, steps)),
        wanted=job.size,
        note=" · ".join(notes),
    )
    return save_scene(job, scene)


def write_biases(job: Job) -> int:
    """Each layer's biases as a line over its units, with where they have been in grey; one y range for all."""
    layers = [layer for layer in _layers(job, "params") if layer.bias is not None]
    if not layers:
        raise NotFoundError("The network has no biases.", hint="Export --what weights instead.")
    steps = film_steps(job, job.run.snapshot_steps("params"))
    # A still picture shows where they have been, too: it needs the frames before the one it shows.
    before = [s for s in job.run.snapshot_steps("params") if s < steps[0]] if not job.moving else []
    shown = sorted({*thin(before, 24), *steps})
    frames = [TensorFrames.of(job.run, layer.bias, "params", shown) for layer in layers if layer.bias is not None]
    for each in frames:
        each.hold()
    lo, hi, bad = extremes(frames, len(shown))
    if bad:
        job.tell("not_finite", f"{bad:,} values are not finite and are gaps.", count=bad)
    pad = ((hi - lo) or 1.0) * 0.06
    charts = [
        UnitChart(
            title=layer.layer,
            subtitle=describe(layer),
            values=FlatFrames(each),
            y_range=(lo - pad, hi + pad),
            colour=i,
        )
        for i, (layer, each) in enumerate(zip(layers[:_MOST_CARDS], frames, strict=False))
    ]
    if len(layers) > _MOST_CARDS:
        left = len(layers) - _MOST_CARDS
        job.tell("thinned", f"The first {_MOST_CARDS} layers are shown, {left} are not.", hint="Choose with --layers.")
    scene = GridScene(
        charts=charts,
        theme=job.theme,
        title=f"{job.run.info().name} · biases",
        captions=captions(shown, epochs_at(job.run, shown)),
        wanted=job.size,
        columns=1 if len(charts) == 1 else 2 if len(charts) <= 4 else 3,
        note="grey: where they have been" + (f" · {bad:,} values not finite" if bad else ""),
    )
    return save_scene(job, scene, indices=[shown.index(s) for s in steps])


def describe(layer: WeightLayer, *, tile: str = "") -> str:
    """`4 → 12 · relu`, `3 → 16 · 5×5 · relu`, `784 → 128 · each unit 28×28 · relu`."""
    words = []
    if layer.inputs is not None and layer.outputs is not None:
        words.append(f"{layer.inputs:,} → {layer.outputs:,}")
    shape = layer.weight.shape if layer.weight is not None else None
    if shape is not None and len(shape) == 2 and tile:
        words.append(f"each unit {tile}")
    elif shape is not None and len(shape) > 2:
        words.append("×".join(map(str, shape[2:])))
    if layer.activation:
        words.append(layer.activation)
    return " · ".join(words)


def scale(job: Job, lo: float, hi: float, label: str) -> ColourScale:
    """One scale for a whole file: symmetric for the diverging map, from lowest to highest for the others."""
    chosen = job.cmap or DIVERGING
    if chosen == DIVERGING:
        return ColourScale.symmetric(max(abs(lo), abs(hi)), cmap=chosen, theme=job.theme, label=label)
    return ColourScale(lo=lo, hi=hi, colours=table(chosen, job.theme.name), signed=False, label=label)


def film_steps(job: Job, available: Sequence[int]) -> list[int]:
    """The steps of a file: as asked for; otherwise all in a film (thinned when very many), the last in a picture."""
    chosen = choose_steps(job.steps if job.steps is not None else ("all" if job.moving else "last"), available)
    most = MOST_FRAMES[job.format]
    if len(chosen) > most:
        kept = thin(chosen, most)
        job.tell(
            "thinned",
            f"{len(kept)} of {len(chosen)} frames are in the file, evenly chosen.",
            hint="Choose others with --steps" + ("." if job.format == "mp4" else ", or write an .mp4."),
            count=len(chosen) - len(kept),
        )
        return kept
    return chosen


def save_scene(job: Job, scene: Scene, *, indices: Sequence[int] | None = None) -> int:
    """Write the scene: all its frames, or those at `indices`; returns how many."""
    chosen = list(range(scene.frames)) if indices is None else list(indices)
    save(scene, job.to, format=job.format, fps=speed(job, len(chosen)), indices=chosen, progress=job.progress)
    return len(chosen)


def speed(job: Job, frames: int) -> float:
    """Frames a second: as asked for, otherwise so that a film lasts about twelve seconds, 6 to 25 of them."""
    if job.fps is not None:
        if job.format == "gif" and job.fps > 50:
            job.tell("slowed", "A GIF cannot show more than 50 frames a second.")
        return job.fps
    return float(min(25.0, max(6.0, frames / 12)))


def _layers(job: Job, kind: SnapshotKind) -> list[WeightLayer]:
    layers = weight_layers(job.run, kind)
    if not layers:
        raise nothing_kept(job, kind)
    kept = set(choose_layers(job.layers, [layer.layer for layer in layers]))
    return [layer for layer in layers if layer.layer in kept]


def nothing_kept(job: Job, kind: SnapshotKind) -> NotFoundError:
    """No snapshots: says how to record them."""
    words = "parameters" if kind == "params" else "gradients"
    hint = "Record them with run.watch(model)." if kind == "params" else "Their histograms may be: --what histogram."
    return NotFoundError(f"The run {job.run.project}/{job.run.run_id} kept no {words}.", hint=hint)


def _stands_beside(weight: TensorFacts, bias: TensorFacts | None) -> bool:
    shape, length = weight.shape or (), (bias.shape or ()) if bias is not None else ()
    # One number for each unit, also as a column [units, 1], as networks written out in numpy keep it.
    one_each = bool(shape and length) and math.prod(length) == max(length) == shape[0]
    return len(shape) >= 2 and one_each and 0 not in shape
