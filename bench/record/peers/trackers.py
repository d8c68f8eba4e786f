"""One small class for each tracker, all with the same verbs. Each is used as its own documentation shows it."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any


class Tracker:
    """`begin` in an empty folder, then numbers, histograms of a model, images; `end`; `count` reads numbers back."""

    slow = False
    """Whether a call takes so long that a hundredth of the numbers says enough."""
    histograms = images = True

    def begin(self, folder: str) -> None:
        raise NotImplementedError

    def number(self, name: str, value: float, step: int) -> None:
        self.numbers({name: value}, step)

    def numbers(self, data: dict[str, float], step: int) -> None:
        raise NotImplementedError

    def watch(self, model: Any) -> None:
        """Prepare to record `model`'s parameters and gradients every tenth step."""

    def model(self, model: Any, step: int) -> None:
        """Histograms of all parameters and gradients."""
        raise NotImplementedError

    def image(self, name: str, pixels: Any, step: int) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError

    def count(self, folder: str) -> int:
        """How many numbers called train/loss another process finds in `folder`."""
        raise NotImplementedError


def named_tensors(model: Any) -> list[tuple[str, Any]]:
    """Parameters and gradients under different names."""
    found = []
    for name, parameter in model.named_parameters():
        found.append((f"param/{name}", parameter.detach()))
        if parameter.grad is not None:
            found.append((f"grad/{name}", parameter.grad))
    return found


class Epochal(Tracker):
    def begin(self, folder: str) -> None:
        import epochal

        self.epochal = epochal
        self.run = epochal.init("bench", dir=folder)

    def numbers(self, data: dict[str, float], step: int) -> None:
        self.run.log(data, step=step)

    def watch(self, model: Any) -> None:
        self.run.watch(model)

    def every_step(self, model: Any) -> None:
        """Look at each step without a bound on what it costs, as the others do."""
        self.run.watch(model, activations=False, snapshots=None, budget=None, every=1)

    def model(self, model: Any, step: int) -> None:
        self.run.log({"step": float(step)}, step=step)

    def image(self, name: str, pixels: Any, step: int) -> None:
        self.run.log({name: self.epochal.Image(pixels)}, step=step)

    def end(self) -> None:
        self.run.finish()

    def count(self, folder: str) -> int:
        import epochal

        (run,) = epochal.open(folder).runs()
        return len(run.scalars("train/loss"))


class TensorBoard(Tracker):
    def begin(self, folder: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(folder)

    def number(self, name: str, value: float, step: int) -> None:
        self.writer.add_scalar(name, value, step)

    def numbers(self, data: dict[str, float], step: int) -> None:
        for name, value in data.items():
            self.writer.add_scalar(name, value, step)

    def model(self, model: Any, step: int) -> None:
        for name, tensor in named_tensors(model):
            self.writer.add_histogram(name, tensor, step)

    def image(self, name: str, pixels: Any, step: int) -> None:
        self.writer.add_image(name, pixels, step, dataformats="HW" if pixels.ndim == 2 else "HWC")

    def end(self) -> None:
        self.writer.close()

    def count(self, folder: str) -> int:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

        files = Path(folder).rglob("events.out*")
        events = (event for file in files for event in EventFileLoader(str(file)).Load())
        return sum(len(e.summary.value) for e in events if e.HasField("summary"))


class TensorBoardX(TensorBoard):
    def begin(self, folder: str) -> None:
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(folder)


class Wandb(Tracker):
    def begin(self, folder: str) -> None:
        import wandb

        self.wandb = wandb
        settings = wandb.Settings(silent=True)
        self.run = wandb.init(project="bench", mode="offline", dir=folder, settings=settings)

    def numbers(self, data: dict[str, float], step: int) -> None:
        self.run.log(data, step=step)

    def watch(self, model: Any) -> None:
        self.run.watch(model, log="all", log_freq=10)

    def model(self, model: Any, step: int) -> None:
        data = {name: self.wandb.Histogram(tensor.numpy()) for name, tensor in named_tensors(model)}
        self.run.log(data, step=step)

    def image(self, name: str, pixels: Any, step: int) -> None:
        self.run.log({name: self.wandb.Image(pixels)}, step=step)

    def end(self) -> None:
        self.run.finish()

    def count(self, folder: str) -> int:
        from wandb.proto import wandb_internal_pb2

        found = 0
        for file in {f.resolve() for f in Path(folder).rglob("*.wandb")}:
            for data in _wandb_records(file.read_bytes()):
                record = wandb_internal_pb2.Record.FromString(data)
                if record.HasField("history"):
                    keys = [item.key or "".join(item.nested_key) for item in record.history.item]
                    found += keys.count("train/loss")
        return found


def _wandb_records(data: bytes) -> list[bytes]:
    """Whole records of a .wandb file: LevelDB's log format (32 kB blocks, 7-byte heads) after 7 bytes of its own."""
    records, at, parts = [], 7, []
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        if kind not in (1, 2, 3, 4) or at + 7 + length > len(data):
            break
        piece = data[at + 7 : at + 7 + length]
        at += 7 + length
        parts = [piece] if kind in (1, 2) else [*parts, piece]
        if kind in (1, 4):
            records.append(b"".join(parts))
    return records


class Trackio(Tracker):
    def begin(self, folder: str) -> None:
        os.environ["TRACKIO_DIR"] = folder
        import trackio

        self.trackio = trackio
        trackio.init(project="bench", name="run", auto_log_gpu=False)

    def numbers(self, data: dict[str, float], step: int) -> None:
        self.trackio.log(data, step=step)

    def model(self, model: Any, step: int) -> None:
        data = {name: self.trackio.Histogram(tensor.numpy()) for name, tensor in named_tensors(model)}
        self.trackio.log(data, step=step)

    def image(self, name: str, pixels: Any, step: int) -> None:
        coloured = pixels if pixels.ndim == 3 else pixels[..., None].repeat(3, 2)
        self.trackio.log({name: self.trackio.Image(coloured)}, step=step)

    def end(self) -> None:
        self.trackio.finish()

    def count(self, folder: str) -> int:
        os.environ["TRACKIO_DIR"] = folder
        from trackio.sqlite_storage import SQLiteStorage

        rows = [row for run in SQLiteStorage.get_runs("bench") for row in SQLiteStorage.get_logs("bench", run)]
        return sum("train/loss" in row for row in rows)


class Aim(Tracker):
    def begin(self, folder: str) -> None:
        import aim

        self.aim = aim
        aim.Repo(folder, init=True)
        self.run = aim.Run(repo=folder, experiment="bench")

    def number(self, name: str, value: float, step: int) -> None:
        self.run.track(value, name=name, step=step)

    def numbers(self, data: dict[str, float], step: int) -> None:
        self.run.track(data, step=step)

    def model(self, model: Any, step: int) -> None:
        for name, tensor in named_tensors(model):
            self.run.track(self.aim.Distribution(tensor.numpy()), name=name, step=step)

    def image(self, name: str, pixels: Any, step: int) -> None:
        from PIL import Image

        self.run.track(self.aim.Image(Image.fromarray(pixels)), name=name, step=step)

    def end(self) -> None:
        self.run.close()

    def count(self, folder: str) -> int:
        """As its own queries find them, without an index made afterwards."""
        import aim

        found = aim.Repo(folder).query_metrics("metric.name == 'train/loss'", report_mode=0)
        return sum(len(m.data.numpy()[0]) for run in found.iter_runs() for m in run)


class MLflow(Tracker):
    slow, histograms = True, False
    scheme = "sqlite:///{}/mlflow.db"

    def begin(self, folder: str) -> None:
        import mlflow

        self.mlflow = mlflow
        mlflow.set_tracking_uri(self.scheme.format(folder))
        mlflow.create_experiment("bench", artifact_location=Path(folder, "artifacts").as_uri())
        mlflow.set_experiment("bench")
        mlflow.start_run()

    def number(self, name: str, value: float, step: int) -> None:
        self.mlflow.log_metric(name, value, step=step)

    def numbers(self, data: dict[str, float], step: int) -> None:
        self.mlflow.log_metrics(data, step=step)

    def image(self, name: str, pixels: Any, step: int) -> None:
        self.mlflow.log_image(pixels, key=name, step=step)

    def end(self) -> None:
        self.mlflow.end_run()

    def count(self, folder: str) -> int:
        import mlflow

        mlflow.set_tracking_uri(self.scheme.format(folder))
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name("bench")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        return sum(len(client.get_metric_history(run.info.run_id, "train/loss")) for run in runs)


TRACKERS: dict[str, type[Tracker]] = {
    "epochal": Epochal,
    "tensorboard": TensorBoard,
    "tensorboardX": TensorBoardX,
    "wandb": Wandb,
    "trackio": Trackio,
    "aim": Aim,
    "mlflow": MLflow,
}
