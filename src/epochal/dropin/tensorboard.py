"""TensorBoard's `SummaryWriter`: `from epochal.dropin.tensorboard import SummaryWriter`, and the script stays as it is.

Every public method of torch's writer with its signature and defaults, and what tensorboardX adds. One writer is one
run: `add_scalars` and `add_hparams` stay inside it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from epochal.dropin.tensorboard_curves import precision_recall, with_left_edge
from epochal.dropin.tensorboard_files import FileWriter
from epochal.dropin.tensorboard_place import begin, default_folder
from epochal.dropin.tensorboard_tee import Tee, event_writer
from epochal.errors import UsageError
from epochal.record import Run, media

__all__ = ["SummaryWriter"]


class SummaryWriter:
    """Records what is given to TensorBoard's `SummaryWriter` as an Epochal run.

    The run is called as the last folder of `log_dir`; without one, `runs/<date>_<host><comment>` as TensorBoard names
    it. `log_dir` itself is made, for scripts that keep other files there, and says in `epochal-run.json` where the run
    lies. With `purge_step` the last run recorded for the same `log_dir` goes on, and what it had from that step on is
    hidden. Where no `global_step` is given, the calls for each tag are counted from 0.

    `max_queue`, `flush_secs` and `filename_suffix` are taken and have no use: nothing is queued. Beside TensorBoard's
    own arguments: `run` records into a run that is there already (and leaves it open); `project` and `dir` are
    `epochal.init`'s; `tee="tensorboard"` writes real event files into `log_dir` as well.

    >>> with SummaryWriter("runs/first", write_to_disk=False) as writer:
    ...     writer.add_scalar("loss", 0.5, 1)
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
        *,
        logdir: str | os.PathLike[str] | None = None,
        write_to_disk: bool = True,
        run: Run | None = None,
        project: str | None = None,
        dir: str | os.PathLike[str] | None = None,
        tee: str | None = None,
        **others: Any,
    ) -> None:
        if tee not in (None, "tensorboard"):
            raise UsageError(f"tee is {tee!r}", hint="use 'tensorboard', or leave it out")
        chosen = log_dir if log_dir is not None else logdir
        self.log_dir = os.fspath(chosen) if chosen is not None else default_folder(comment)
        self.purge_step = purge_step
        self._where: dict[str, Any] = {"project": project, "dir": dir, "mode": "on" if write_to_disk else "off"}
        self._given = run
        self._run: Run | None = run
        self._calls: dict[str, int] = {}
        self._metadata: tuple[int | None, float | None] = (None, None)
        self._tee: Tee | None = None
        if tee and write_to_disk:
            self._tee = Tee(event_writer(self.log_dir, comment, purge_step, max_queue, flush_secs, filename_suffix))
        self._open(purge_step)
        self.file_writer = FileWriter(self)

    @property
    def run(self) -> Run:
        """The run that is recorded, for all that TensorBoard has no call for: `writer.run.watch(model)`."""
        return self._run or self._open(None)

    def _open(self, purge_step: int | None) -> Run:
        """Begin the run, or go on with the one of the same folder after `close` and for `purge_step`."""
        self._run = run = self._given or begin(self.log_dir, purge_step, again=bool(self._calls), **self._where)
        return run

    def _put(self, tag: str, value: Any, global_step: Any, walltime: float | None) -> None:
        step = self._metadata[0] if global_step is None else global_step
        t = self._metadata[1] if walltime is None else walltime
        if step is None:
            step = self._calls.get(tag, 0)
        self._calls[tag] = int(step) + 1
        self.run.log({tag: value}, step=int(step), t=t)

    def get_logdir(self) -> str:
        """The folder that was asked for; it is there, though the run lies elsewhere."""
        Path(self.log_dir).mkdir(parents=True, exist_ok=True)
        return self.log_dir

    @contextlib.contextmanager
    def use_metadata(self, *, global_step: int | None = None, walltime: float | None = None) -> Iterator[SummaryWriter]:
        """Give calls inside the block a step and a time where they name none."""
        before, self._metadata = self._metadata, (global_step, walltime)
        try:
            yield self
        finally:
            self._metadata = before

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
        *,
        display_name: str = "",
        summary_description: str = "",
    ) -> None:
        """Record a number, in full precision."""
        self._put(tag, scalar_value, global_step, walltime)
        self._forward("add_scalar", tag, scalar_value, global_step, walltime, new_style, double_precision)

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Record several numbers as `main_tag/key`, in this run."""
        self._put(main_tag, dict(tag_scalar_dict), global_step, walltime)
        self._forward("add_scalars", main_tag, tag_scalar_dict, global_step, walltime)

    def add_tensor(self, tag: str, tensor: Any, global_step: int | None = None, walltime: float | None = None) -> None:
        """Record an array as it is."""
        self._put(tag, media.Array(tensor), global_step, walltime)
        self._forward("add_tensor", tag, tensor, global_step, walltime)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: int | None = None,
        bins: Any = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Record how values spread: in 64 bins between their ends, or in the `bins` given as edges or a number."""
        if isinstance(bins, str):
            spread = media.Histogram(values)
        else:
            counts, edges = np.histogram(np.asarray(_numpy(values), np.float64).reshape(-1), bins=bins)
            spread = media.Histogram(counts=counts, edges=edges)
        self._put(tag, spread, global_step, walltime)
        self._forward("add_histogram", tag, values, global_step, bins, walltime, max_bins)

    def add_histogram_raw(
        self,
        tag: str,
        min: float,
        max: float,
        num: float,
        sum: float,
        sum_squares: float,
        bucket_limits: Any,
        bucket_counts: Any,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Record a histogram that was counted already; a limit is the right edge of its bucket."""
        if len(bucket_limits) != len(bucket_counts):
            raise ValueError("len(bucket_limits) != len(bucket_counts), see the document.")
        counts, edges = with_left_edge(float(min), float(max), _numpy(bucket_limits), _numpy(bucket_counts))
        self._put(tag, media.Histogram(counts=counts, edges=edges), global_step, walltime)
        given = (min, max, num, sum, sum_squares, bucket_limits, bucket_counts)
        self._forward("add_histogram_raw", tag, *given, global_step, walltime)

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Record a picture: uint8, or floats from 0 to 1."""
        self._put(tag, media.Image(img_tensor, dataformat=dataformats.upper()), global_step, walltime)
        self._forward("add_image", tag, img_tensor, global_step, walltime, dataformats)

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Record a batch of pictures, each as one."""
        self._put(tag, media.Image.batch(img_tensor, dataformat=dataformats.upper()), global_step, walltime)
        self._forward("add_images", tag, img_tensor, global_step, walltime, dataformats)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        rescale: float = 1,
        dataformats: str = "CHW",
        labels: Sequence[str] | str | None = None,
    ) -> None:
        """Record a picture and rectangles [N, 4] on it (x0, y0, x1, y1 in pixels), which are kept as numbers."""
        corners = np.asarray(_numpy(box_tensor), np.float64).reshape(-1, 4)
        names = [labels] if isinstance(labels, str) else list(labels or [])
        if names and len(names) != len(corners):
            raise ValueError(f"{len(names)} labels for {len(corners)} boxes")
        boxes: list[Any] = [{"box": tuple(corner)} for corner in corners.tolist()]
        for box, name in zip(boxes, names, strict=False):
            box["label"] = str(name)
        self._put(tag, media.Image(img_tensor, dataformat=dataformats.upper(), boxes=boxes), global_step, walltime)
        given = (global_step, walltime, rescale, dataformats, labels)
        self._forward("add_image_with_boxes", tag, img_tensor, box_tensor, *given)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: int | None = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """Record a matplotlib figure or a list of them; they are closed unless `close` is False."""
        figures = list(figure) if isinstance(figure, list | tuple) else [figure]
        self._put(tag, [media.Figure(one) for one in figures], global_step, walltime)
        self._forward("add_figure", tag, figure, global_step, False, walltime)
        if close:
            _close(figures)

    def add_video(
        self,
        tag: str,
        vid_tensor: Any,
        global_step: int | None = None,
        fps: float = 4,
        walltime: float | None = None,
        *,
        dataformats: str = "NTCHW",
    ) -> None:
        """Record videos [N, T, C, H, W], each as one: uint8, or floats from 0 to 1."""
        array = _numpy(vid_tensor)
        order = dataformats.upper()
        if sorted(order) != sorted("NTCHW") or array.ndim != 5:
            raise ValueError(f"videos have the axes N, T, C, H and W; got {order!r} and shape {array.shape}")
        videos = array.transpose([order.index(axis) for axis in "NTCHW"])
        self._put(tag, [media.Video(video, fps=fps, dataformat="TCHW") for video in videos], global_step, walltime)
        self._forward("add_video", tag, vid_tensor, global_step, fps, walltime)

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: int | None = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Record a sound: samples from -1 to 1."""
        self._put(tag, media.Audio(np.squeeze(_numpy(snd_tensor)), sample_rate=sample_rate), global_step, walltime)
        self._forward("add_audio", tag, snd_tensor, global_step, sample_rate, walltime)

    def add_text(
        self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """Record a text, read as Markdown."""
        self._put(tag, media.Text(text_string), global_step, walltime)
        self._forward("add_text", tag, text_string, global_step, walltime)

    def add_graph(
        self, model: Any, input_to_model: Any = None, verbose: bool = False, use_strict_trace: bool = True
    ) -> None:
        """Keep the network's graph and, where it can be exported, its program."""
        self.run.log_graph(model, input_to_model)
        self._forward("add_graph", model, input_to_model, verbose, use_strict_trace)

    def add_onnx_graph(self, prototxt: Any) -> None:
        """Keep an ONNX file, given by its path, with the run."""
        self.run.keep_file(prototxt)
        self._forward("add_onnx_graph", prototxt)

    def add_openvino_graph(self, xmlname: Any) -> None:
        """Keep an OpenVINO file, given by its path, with the run."""
        self.run.keep_file(xmlname)

    def add_embedding(
        self,
        mat: Any,
        metadata: Sequence[Any] | None = None,
        label_img: Any = None,
        global_step: int | None = None,
        tag: str = "default",
        metadata_header: Sequence[str] | None = None,
    ) -> None:
        """Record vectors [N, D] with a label, or a row of them under `metadata_header`, and a picture for each."""
        labels: Any = None
        columns: dict[str, list[Any]] | None = None
        if metadata_header:
            rows = list(metadata or [])
            columns = {str(name): [row[k] for row in rows] for k, name in enumerate(metadata_header)}
        elif metadata is not None:
            labels = [str(label) for label in metadata]
        pictures = None if label_img is None else media.Image.batch(label_img, dataformat="NCHW")
        value = media.Embedding(_numpy(mat), labels=labels, metadata=columns, images=pictures)
        self._put(tag, value, global_step, None)
        self._forward("add_embedding", mat, metadata, label_img, global_step, tag, metadata_header)

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: Mapping[str, Any] | None = None,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Record bodies (`faces` given) or clouds of points: vertices [B, N, 3], colours [B, N, 3] from 0 to 255."""
        points, shades, sides = (None if a is None else _numpy(a) for a in (vertices, colors, faces))
        if points is None or points.ndim != 3 or points.shape[2] != 3:
            shape = None if points is None else points.shape
            raise ValueError(f"vertices have the shape [batch, points, 3], not {shape}")
        values: list[media.Value] = []
        for k, one in enumerate(points):
            shade = None if shades is None else shades[k].astype(np.uint8)
            if sides is None:
                values.append(media.PointCloud(one, colors=shade))
            else:
                values.append(media.Object3D(one, faces=sides[k], colors=shade))
        self._put(tag, values, global_step, walltime)
        self._forward("add_mesh", tag, vertices, colors, faces, config_dict, global_step, walltime)

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        global_step: int | None = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Record precision over recall: `labels` are 0 or 1, `predictions` probabilities of 1."""
        rows = precision_recall(_numpy(labels), _numpy(predictions), num_thresholds, weights)
        self._put(tag, _curve(rows), global_step, walltime)
        given = (global_step, num_thresholds, weights, walltime)
        self._forward("add_pr_curve", tag, labels, predictions, *given)

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        global_step: int | None = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Record a precision-recall curve that was computed already, a value for each threshold from 0 to 1."""
        counts = (true_positive_counts, false_positive_counts, true_negative_counts, false_negative_counts)
        columns = [np.asarray(_numpy(column), np.float64).reshape(-1) for column in (*counts, precision, recall)]
        rows = np.stack([np.linspace(0, 1, len(columns[0])), *columns], axis=1)
        self._put(tag, _curve(rows), global_step, walltime)
        given = (*counts, precision, recall, global_step, num_thresholds, weights, walltime)
        self._forward("add_pr_curve_raw", tag, *given)

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        hparam_domain_discrete: Mapping[str, Any] | None = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """Add settings to the run's configuration and record what they led to. No further run is begun."""
        for given in (hparam_dict, metric_dict):
            if not isinstance(given, Mapping):
                raise TypeError("hparam_dict and metric_dict should be dictionary.")
        self.run.set_config({name: _plain(value) for name, value in hparam_dict.items()})
        for name, value in metric_dict.items():
            self._put(name, value, global_step, None)
        self._forward("add_hparams", hparam_dict, metric_dict, hparam_domain_discrete, run_name, global_step)

    def add_custom_scalars(self, layout: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
        """Say which series are drawn together: `{"category": {"title": ["Multiline", ["tag", ...]]}}`."""
        kept: dict[str, Any] = dict(self.run.config.get("custom_scalars") or {})
        for category, charts in layout.items():
            drawn = {
                str(title): {"kind": str(chart[0]).lower(), "series": [str(tag) for tag in chart[1]]}
                for title, chart in charts.items()
            }
            kept[str(category)] = {**kept.get(str(category), {}), **drawn}
        self.run.set_config({"custom_scalars": kept})
        self._forward("add_custom_scalars", layout)

    def add_custom_scalars_multilinechart(
        self, tags: Sequence[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Say that some series are drawn in one chart."""
        self.add_custom_scalars({category: {title: ["Multiline", list(tags)]}})

    def add_custom_scalars_marginchart(
        self, tags: Sequence[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Say that three series (value, lower and upper bound) are drawn in one chart."""
        if len(tags) != 3:
            raise ValueError(f"a margin chart has 3 tags, not {len(tags)}")
        self.add_custom_scalars({category: {title: ["Margin", list(tags)]}})

    def export_scalars_to_json(self, path: str | os.PathLike[str]) -> None:
        """Write all numbers recorded so far to a file: `{tag: [[time, step, value], ...]}`."""
        found = {
            name: [[float(t), int(s), float(v)] for t, s, v in zip(series.t, series.steps, series.v, strict=True)]
            for name, series in self.run.recorded_scalars().items()
        }
        Path(path).write_text(json.dumps(found), encoding="utf-8")

    def flush(self) -> None:
        """Wait until all that was given is in the run's files."""
        if self._run is not None:
            self._run.flush()
        if self._tee is not None:
            self._tee.flush()

    def close(self) -> None:
        """End the run. A second call does nothing; whatever is added afterwards goes on with the same run."""
        if self._run is not None and self._given is None:
            self._run.finish()
            self._run = None
        if self._tee is not None:
            self._tee.close()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._run is not None and self._given is None:
            self._run.end_with_process(error)
            self._run = None
        self.close()

    def _forward(self, name: str, *given: Any) -> None:
        if self._tee is not None:
            self._tee.call(name, *given)


def _numpy(values: Any) -> Any:
    """An array of what may be a tensor."""
    for method in ("detach", "cpu"):
        values = getattr(values, method)() if callable(getattr(values, method, None)) else values
    return np.asarray(values)


def _plain(value: Any) -> Any:
    return value.item() if getattr(value, "shape", None) in ((), (1,)) and hasattr(value, "item") else value


def _curve(rows: Any) -> media.Chart:
    columns = ["threshold", "true positives", "false positives", "true negatives", "false negatives"]
    columns += ["precision", "recall"]
    return media.Chart("line", columns, rows.tolist(), x="recall", y="precision", title="precision over recall")


def _close(figures: Sequence[Any]) -> None:
    import sys

    pyplot = sys.modules.get("matplotlib.pyplot")
    for figure in figures:
        if pyplot is not None and hasattr(figure, "savefig"):
            pyplot.close(figure)
