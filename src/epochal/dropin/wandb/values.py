"""wandb's values, made of Epochal's: they can be logged with either, and tested with `isinstance`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.record import media

__all__ = ["Audio", "Histogram", "Html", "Image", "Object3D", "Plotly", "Table", "Video"]


def as_numpy(values: Any) -> npt.NDArray[Any]:
    """An array of what may be a tensor, on any device and in any graph."""
    for method in ("detach", "cpu"):
        values = getattr(values, method)() if callable(getattr(values, method, None)) else values
    return np.asarray(values)


class Image(media.Image):
    """A picture: an array [H, W] or [H, W, C], a tensor [C, H, W] (several as [N, C, H, W] become one grid), a Pillow
    image, a matplotlib figure or a path.

    Floats from 0 to 1 or from -1 to 1 become 0 to 255, other numbers are cut off there; `normalize=False` only cuts
    off. Boxes and masks are given as wandb has them.
    """

    def __init__(
        self,
        data_or_path: Any,
        mode: str | None = None,
        caption: str | None = None,
        grouping: int | None = None,
        classes: Any = None,
        boxes: Mapping[str, Any] | None = None,
        masks: Mapping[str, Any] | None = None,
        file_type: str | None = None,
        normalize: bool = True,
    ) -> None:
        if isinstance(data_or_path, Image):
            data_or_path = data_or_path.pixels()
        picture, layout = data_or_path, None
        if isinstance(data_or_path, np.ndarray) or hasattr(data_or_path, "detach"):
            picture = _as_uint8(_laid_out(data_or_path), normalize)
            layout = "HW" if picture.ndim == 2 else "HWC"
        elif hasattr(data_or_path, "savefig") or hasattr(data_or_path, "to_image"):
            picture = data_or_path
        elif not isinstance(data_or_path, str | os.PathLike | bytes) and not hasattr(data_or_path, "getbands"):
            picture = _as_uint8(_laid_out(np.asarray(data_or_path)), normalize)
            layout = "HW" if picture.ndim == 2 else "HWC"
        named = _class_names(classes)
        for given in (*(boxes or {}).values(), *(masks or {}).values()):
            if isinstance(given, Mapping):
                named |= _class_names(given.get("class_labels"))
        size = media.Image(picture, dataformat=layout, mode=mode).size if boxes else (0, 0)
        super().__init__(
            picture,
            caption=caption or "",
            dataformat=layout,
            mode=mode,
            boxes=None if not boxes else {k: _boxes(v, size) for k, v in boxes.items()},
            masks=None if not masks else {k: as_numpy(v["mask_data"]) for k, v in masks.items() if "mask_data" in v},
            classes=named or None,
        )


def _laid_out(data: Any) -> npt.NDArray[Any]:
    """[H, W] or [H, W, C] of an array or tensor; tensors have their channels first, several become a grid."""
    array = as_numpy(data)
    tensor = hasattr(data, "detach")
    if array.ndim == 4 and tensor:
        return _grid(array.transpose(0, 2, 3, 1))
    if array.ndim == 3 and tensor:
        return array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        raise UsageError(
            f"an image array of shape {array.shape} has its channels first",
            hint="give [H, W, C], or a tensor, whose channels come first",
        )
    return array


def _grid(batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pictures [N, H, W, C] side by side, at most 8 in a row, with 2 black pixels between them."""
    n, height, width, channels = batch.shape
    columns = min(8, n)
    rows = -(-n // columns)
    sheet = np.zeros((rows * (height + 2) + 2, columns * (width + 2) + 2, channels), batch.dtype)
    for k, picture in enumerate(batch):
        y, x = 2 + k // columns * (height + 2), 2 + k % columns * (width + 2)
        sheet[y : y + height, x : x + width] = picture
    return sheet


def _as_uint8(array: npt.NDArray[Any], normalize: bool) -> npt.NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    values = array.astype(np.float64)
    if normalize and array.size and np.isfinite(values).all():
        low, high = float(values.min()), float(values.max())
        if low >= 0 and high <= 1:
            values = values * 255
        elif low >= -1 and high <= 1:
            values = (values + 1) * 127.5
    return np.clip(np.nan_to_num(values), 0, 255).astype(np.uint8)


def _class_names(classes: Any) -> dict[int, str]:
    if classes is None:
        return {}
    if isinstance(classes, Mapping):
        return {int(k): str(v) for k, v in classes.items()}
    return {int(c["id"]): str(c["name"]) for c in getattr(classes, "_class_set", classes)}


def _boxes(group: Mapping[str, Any], size: tuple[int, int]) -> list[dict[str, Any]]:
    """wandb's boxes in pixels: corners or middle, in parts of the picture unless their domain is `pixel`."""
    found = []
    for one in group.get("box_data", ()):
        place = one["position"]
        if "middle" in place:
            (x, y), w, h = place["middle"], place["width"], place["height"]
            corners = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
        else:
            corners = [place["minX"], place["minY"], place["maxX"], place["maxY"]]
        if one.get("domain") != "pixel":
            corners = [c * size[k % 2] for k, c in enumerate(corners)]
        box: dict[str, Any] = {"box": tuple(corners)}
        if one.get("box_caption") is not None:
            box["label"] = str(one["box_caption"])
        elif one.get("class_id") is not None:
            box["label"] = int(one["class_id"])
        scores = one.get("scores")
        if scores:
            box["score"] = next(iter(scores.values()))
        found.append(box)
    return found


class Histogram(media.Histogram):
    """A histogram of `sequence`, or of bins that were counted already: `np_histogram=(counts, edges)`."""

    def __init__(self, sequence: Any = None, np_histogram: Any = None, num_bins: int = 64) -> None:
        if np_histogram is None:
            values = as_numpy(sequence).reshape(-1)
            finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
            np_histogram = np.histogram(finite, bins=num_bins)
            super().__init__(sequence, bins=num_bins)
        else:
            counts, edges = np_histogram
            super().__init__(counts=counts, edges=edges)
        self.histogram = list(np.asarray(np_histogram[0]).tolist())
        self.bins = list(np.asarray(np_histogram[1]).tolist())


class Table(media.Table):
    """Rows under named columns; cells are numbers, texts or values."""

    MAX_ROWS = MAX_ARTIFACT_ROWS = 10_000

    def __init__(
        self,
        columns: Sequence[Any] | None = None,
        data: Any = None,
        rows: Any = None,
        dataframe: Any = None,
        dtype: Any = None,
        optional: bool | Sequence[bool] = True,
        allow_mixed_types: bool = False,
        log_mode: str | None = "IMMUTABLE",
    ) -> None:
        given = data if data is not None else rows
        if given is not None and hasattr(given, "columns") and hasattr(given, "iloc"):
            dataframe, given = given, None
        if dataframe is not None:
            super().__init__(dataframe=dataframe)
            return
        if given is not None and not isinstance(given, list | tuple):
            given = as_numpy(given).tolist()
        if columns is None:
            columns = ["Input", "Output", "Expected"] if not given else [str(k) for k in range(len(given[0]))]
        super().__init__([str(column) for column in columns], [list(row) for row in given or []])

    @property
    def data(self) -> list[list[Any]]:
        """The rows."""
        return [list(row) for row in self.rows]

    def add_data(self, *data: Any) -> None:
        """Add a row: a cell for each column."""
        self.add_row(*data)

    def get_column(self, name: str, convert_to: str | None = None) -> Any:
        """The cells of a column, as a list or with `convert_to="numpy"` as an array."""
        place = self.columns.index(name)
        cells = [row[place] for row in self.rows]
        return np.asarray(cells) if convert_to == "numpy" else cells

    def get_index(self) -> list[int]:
        """The numbers of the rows."""
        return list(range(len(self)))

    def iterrows(self) -> Iterator[tuple[int, list[Any]]]:
        """Each row with its number."""
        yield from enumerate(self.data)

    def add_computed_columns(self, fn: Any) -> None:
        """Add columns that `fn(number, row as a dictionary)` returns for each row."""
        made = [fn(k, dict(zip(self.columns, row, strict=True))) for k, row in enumerate(self.rows)]
        for name in made[0] if made else ():
            self.add_column(str(name), [row[name] for row in made])

    def get_dataframe(self) -> Any:
        """The rows as a pandas DataFrame."""
        import pandas

        return pandas.DataFrame.from_records(self.data, columns=self.columns)


class Video(media.Video):
    """An array [T, C, H, W] of uint8 (several as [N, T, C, H, W] become one grid), or a path."""

    def __init__(
        self, data_or_path: Any, caption: str | None = None, fps: float | None = None, format: str | None = None
    ) -> None:
        data = data_or_path.read() if hasattr(data_or_path, "read") else data_or_path
        if not isinstance(data, str | os.PathLike | bytes):
            data = as_numpy(data)
            if data.dtype != np.uint8:
                data = np.clip(data, 0, 255).astype(np.uint8)
        super().__init__(data, fps=fps or 4, caption=caption or "")


class Audio(media.Audio):
    """Samples from -1 to 1, [T] or [T, channels], with their rate, or a path."""

    def __init__(self, data_or_path: Any, sample_rate: int | None = None, caption: str | None = None) -> None:
        data = data_or_path if isinstance(data_or_path, str | os.PathLike) else as_numpy(data_or_path)
        if sample_rate is None and not isinstance(data, str | os.PathLike):
            raise ValueError('Argument "sample_rate" is required when instantiating wandb.Audio with raw data.')
        super().__init__(data, sample_rate or 44100, caption=caption or "")


class Html(media.Html):
    """A page: text, a path, or anything with `read`."""

    def __init__(self, data: Any, inject: bool = True, data_is_not_path: bool = False) -> None:
        path = isinstance(data, str) and not data_is_not_path and len(data) < 1000 and data.endswith((".html", ".htm"))
        super().__init__(Path(data) if path else data)


class Object3D(media.Value):
    """Points [N, 3], with a category [N, 4] or colours [N, 6], a scene `{"type": "lidar/beta", "points": ...}`, or the
    path of a body (.obj, .gltf, .glb, .stl, .ply)."""

    __slots__ = ("_inner",)

    kind = "points"

    def __init__(self, data_or_path: Any, caption: str | None = None, **kwargs: Any) -> None:
        super().__init__(caption or "")
        inner: media.Value
        if isinstance(data_or_path, str | os.PathLike):
            inner = media.Object3D(data_or_path, caption=caption or "")
        else:
            scene = data_or_path if isinstance(data_or_path, Mapping) else {"points": data_or_path}
            points = as_numpy(scene["points"])
            if points.ndim != 2 or points.shape[1] not in (3, 4, 6):
                raise ValueError(f"points have the shape [N, 3], [N, 4] or [N, 6], not {points.shape}")
            more: dict[str, Any] = {}
            if points.shape[1] == 4:
                more["labels"] = points[:, 3].astype(np.int64)
            elif points.shape[1] == 6:
                more["colors"] = np.clip(points[:, 3:], 0, 255).astype(np.uint8)
            inner = media.PointCloud(points[:, :3], caption=caption or "", **more)
        self._inner = inner

    @classmethod
    def from_numpy(cls, data: Any) -> Object3D:
        """A cloud of points."""
        return cls(data)

    @classmethod
    def from_file(cls, data_or_path: Any, file_type: str | None = None) -> Object3D:
        """The body in a file."""
        return cls(data_or_path)

    @classmethod
    def from_point_cloud(
        cls, points: Any, boxes: Any = (), vectors: Any = None, point_cloud_type: str = ""
    ) -> Object3D:
        """A cloud of points; boxes and vectors of a scene are not taken."""
        return cls({"points": points})

    def taken(self) -> media.Value:
        """What is logged: the cloud or the body."""
        return self._inner

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds."""
        return self._inner.nbytes

    def encode(self) -> media.Encoded:
        """As the cloud or the body."""
        return self._inner.encode()


class Plotly(media.Figure):
    """A plotly or matplotlib figure."""

    def __init__(self, val: Any) -> None:
        super().__init__(val)
