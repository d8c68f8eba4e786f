"""Weight spectra: the singular values of each layer's weights, from the weights alone.

Stable rank: M. Rudelson, R. Vershynin, "Sampling from large matrices", 2007. Power laws: A. Clauset, C. Shalizi,
M. Newman, "Power-law distributions in empirical data", 2009, of the eigenvalues that C. Martin and M. Mahoney look at
in "Implicit self-regularization in deep neural networks", JMLR 2021.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from epochal.errors import NetworkError, NotFoundError, UsageError
from epochal.facts import Graph
from epochal.film import Film
from epochal.network import Network
from epochal.picture import GridScene, UnitChart, theme
from epochal.picture import save as save_scene
from epochal.picture.axes import value_range

__all__ = ["CITATION", "PowerLaw", "Spectra", "Weights", "power_law", "spectra"]

Array = npt.NDArray[Any]
Quantity = Literal["singular values", "stable rank", "spectral norm"]

CITATION = "Singular values of each layer's weights; stable rank (Rudelson and Vershynin 2007)"
_FEWEST = 50
"""Of fewer values a power law says nothing: the standard error of its exponent is a seventh of it or more."""
_MOST_DOUBLE = 2048
_CHARTS = 12
_SUFFIXES = (".weight", "/kernel", ".kernel", ".weights", "/weight", "/embeddings")


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    """A power law fitted to the largest eigenvalues of a layer: their density falls as value to the minus `alpha`.

    It begins at `least`; `tail` eigenvalues are at least that large. `distance` is that of Kolmogorov and Smirnov
    between them and the law, from 0 to 1: the smaller, the better it fits. `error` is the standard error of `alpha`.
    """

    alpha: float
    least: float
    tail: int
    distance: float

    @property
    def error(self) -> float:
        """The standard error of `alpha`."""
        return float((self.alpha - 1) / self.tail**0.5)


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A network's parameters without the network: its graph where one is known, and the tensors by name."""

    graph: Graph | None
    tensors: Mapping[str, Array]
    step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectra:
    """The singular values of each layer: `values[i]` of layer `layers[i]`, the largest first.

    `shapes` are the sizes of the matrices, kernels folded to [outputs, inputs x places]. `spectral_norm` [layers] is
    the largest, `stable_rank` [layers] the sum of squares by the largest square: how many directions carry the weights.
    `power_laws` has a fit for layers with at least 50 values, None for others.
    """

    layers: tuple[str, ...]
    values: tuple[Array, ...]
    shapes: tuple[tuple[int, int], ...]
    power_laws: tuple[PowerLaw | None, ...] = ()
    caption: str = CITATION
    notes: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    step: int | None = None

    @property
    def array(self) -> Array:
        """All of them [layers, most], NaN where a layer has fewer."""
        found = np.full((len(self.values), max(len(v) for v in self.values)), np.nan)
        for row, values in zip(found, self.values, strict=True):
            row[: len(values)] = values
        return found

    @property
    def spectral_norm(self) -> Array:
        """The largest singular value of each layer [layers]."""
        return np.array([values[0] for values in self.values])

    @property
    def stable_rank(self) -> Array:
        """The squared Frobenius norm by the squared spectral norm of each layer [layers]; NaN where all is zero."""
        return np.array([(v**2).sum() / v[0] ** 2 if v[0] > 0 else np.nan for v in self.values])

    def film(self, quantity: Quantity = "singular values") -> Film:
        """The singular values, or another quantity of each layer, as a film of one frame."""
        name, at = f"{quantity} of weights", [self.step or 0]
        if quantity == "singular values":
            return Film(name, at, self.array[None], axes=("layer", "rank"), units="singular value")
        if quantity not in ("stable rank", "spectral norm"):
            raise UsageError("quantity is 'singular values', 'stable rank' or 'spectral norm'.")
        found = self.stable_rank if quantity == "stable rank" else self.spectral_norm
        return Film(name, at, found[None], axes=("layer",), units=quantity)

    def scene(
        self, *, mode: str = "light", size: tuple[int, int] | None = None, title: str = "", beside: Any = None
    ) -> GridScene:
        """A chart of each layer's values, of the largest dozen; `beside` are all, with captions, where it moves."""
        results, captions = beside or ([self], ["" if self.step is None else f"step {self.step:,}"])
        chosen = sorted(np.argsort([-len(v) for v in self.values], kind="stable")[:_CHARTS].tolist())
        charts = []
        for i in chosen:
            values = np.stack([one.values[i] for one in results])
            law = self.power_laws[i] if self.power_laws else None
            words = f"stable rank {self.stable_rank[i]:.3g} of {len(self.values[i])}, norm {self.spectral_norm[i]:.3g}"
            if law is not None:
                words += f", α {law.alpha:.2f}"
            charts.append(
                UnitChart(
                    title=self.layers[i], subtitle=words, values=values, y_range=value_range(values, np.zeros(1)),
                    x_label="rank", colour=0,
                )
            )  # fmt: skip
        left = len(self.layers) - len(chosen)
        note = self.caption + (f" · {left} smaller layers left out" if left else "")
        return GridScene(
            charts=charts, theme=theme(mode), title=title or "Singular values by layer", captions=captions, wanted=size,
            columns=min(3, len(charts)), card=(360, 220), note=note,
        )  # fmt: skip

    def save(self, path: str | os.PathLike[str], *, theme: str = "light", size: tuple[int, int] | None = None) -> Path:
        """Write the charts as a .png or .svg picture; .npz and .csv hold the values."""
        if Path(path).suffix.lower() in (".npz", ".csv"):
            return self.film().save(path)
        return save_scene(self.scene(mode=theme, size=size), path)

    def __repr__(self) -> str:
        rows = ", ".join(
            f"{name} {rank:.3g}" for name, rank in zip(self.layers[:4], self.stable_rank.tolist(), strict=False)
        )
        return f"<Spectra of {len(self.layers)} layers, stable ranks: {rows}{', …' if len(self.layers) > 4 else ''}>"


def spectra(network: Any, *, layers: Sequence[str] | None = None) -> Spectra:
    """The singular values of the weights of each layer, or of those named, of a network at rest; no inputs are needed.

    `network` is an Epochal network, a PyTorch or Keras module, or a mapping of arrays by name, each [outputs, inputs,
    ...]. Kernels are folded to one row for each output: their singular values are those of the weights, not those of
    the convolution as a map of pictures (which also depend on strides and borders). Vectors are left out. PyTorch is
    not needed for mappings and recorded snapshots: `lens.film(lens.spectra, run)` reads them alone.

    Raises NotFoundError for a layer without weights, NetworkError where weights are not finite.
    """
    step, matrices = _matrices(network)
    if layers is not None:
        if isinstance(layers, str):
            raise UsageError("layers is a list of names.", hint=f"Write layers=[{layers!r}].")
        if missing := [name for name in layers if name not in matrices]:
            known = ", ".join(list(matrices)[:12])
            raise NotFoundError(f"There is no layer {missing[0]!r} with weights.", hint=f"There are: {known}.")
        matrices = {name: matrices[name] for name in layers}
    if not matrices:
        raise UsageError("There are no weights of two or more axes.")
    values = tuple(_singular(name, matrix) for name, matrix in matrices.items())
    laws = tuple(power_law(v**2) for v in values)
    return Spectra(
        layers=tuple(matrices),
        values=values,
        shapes=tuple((m.shape[0], m.shape[1]) for m in matrices.values()),
        power_laws=laws,
        notes=_notes(laws),
        numbers={"layers": len(values)},
        step=step,
    )


def power_law(values: Array) -> PowerLaw | None:
    """The power law that fits the tail of positive values best; None for fewer than 50 of them.

    The exponent is that of greatest likelihood above each value in turn, and the tail begins where the distance of
    Kolmogorov and Smirnov is least (Clauset, Shalizi, Newman 2009). A fit always gives a number; whether the tail is a
    power law at all is another question, which it does not answer.
    """
    found = np.sort(np.asarray(values, np.float64))
    found = found[found > found[-1] * 1e-12] if len(found) else found
    if len(found) < _FEWEST:
        return None
    logs = np.log(found)
    # Sums of the logarithms of all values from each place on.
    sums = np.cumsum(logs[::-1])[::-1]
    best: PowerLaw | None = None
    for first in range(len(found) - 1):
        count = len(found) - first
        total = sums[first] - count * logs[first]
        if total <= 0 or (first and found[first] == found[first - 1]):
            continue
        alpha = 1 + count / total
        law = 1 - np.exp(-(alpha - 1) * (logs[first:] - logs[first]))
        steps = np.arange(count)
        distance = float(max(np.max(law - steps / count), np.max((steps + 1) / count - law)))
        if best is None or distance < best.distance:
            best = PowerLaw(alpha=float(alpha), least=float(found[first]), tail=count, distance=distance)
    return best


def _matrices(network: Any) -> tuple[int | None, dict[str, Array]]:
    """The step, and each layer's weights as a matrix [outputs, rest], in the order of the network."""
    if isinstance(network, Mapping):
        named = {name: np.asarray(value) for name, value in network.items()}
        return None, {_short(name): _folded(value) for name, value in named.items() if _is_weight(value)}
    if isinstance(network, Weights):
        return network.step, _recorded(network.graph, network.tensors)
    if isinstance(network, Network) and network.graph is not None:
        return network.step, _recorded(network.graph, network.state())
    from epochal.lens.modules import weights_of

    module = network.module if isinstance(network, Network) else network
    return getattr(network, "step", None), {name: _folded(w) for name, w in weights_of(module).items()}


def _recorded(graph: Graph | None, tensors: Mapping[str, Array]) -> dict[str, Array]:
    layout, order = {}, []
    for layer in () if graph is None else graph.layers:
        for parameter in layer.parameters:
            if parameter.role != "buffer" and parameter.name not in layout:
                layout[parameter.name] = parameter.layout
                order.append(parameter.name)
    found = {}
    for name in [*order, *(name for name in tensors if name not in layout)]:
        value = tensors.get(name)
        if value is not None and _is_weight(value):
            turned = value.transpose(layout[name]) if layout.get(name) else value
            found[_short(name)] = _folded(turned)
    return found


def _is_weight(value: Array) -> bool:
    return value.ndim >= 2 and value.dtype.kind == "f" and min(value.shape) > 0


def _folded(value: Array) -> Array:
    return value.reshape(len(value), -1)


def _short(name: str) -> str:
    return next((name.removesuffix(end) for end in _SUFFIXES if name.endswith(end)), name)


def _singular(name: str, matrix: Array) -> Array:
    if not np.isfinite(matrix).all():
        raise NetworkError(f"The weights of {name!r} are not finite: they have no singular values.")
    kind = np.float64 if min(matrix.shape) <= _MOST_DOUBLE else np.float32
    found: Array = np.linalg.svd(matrix.astype(kind), compute_uv=False).astype(np.float64)
    found.flags.writeable = False
    return found


def _notes(laws: Sequence[PowerLaw | None]) -> tuple[str, ...]:
    fitted = [law for law in laws if law is not None]
    if not fitted:
        return ()
    small = sum(law.tail < _FEWEST for law in fitted)
    notes = [
        "α is the exponent of a power law fitted to the largest eigenvalues (Clauset et al. 2009); the fit always "
        "gives a number and does not say that the tail is a power law"
    ]
    if small:
        notes.append(f"{small} of {len(fitted)} fits stand on fewer than {_FEWEST} values")
    return tuple(notes)
