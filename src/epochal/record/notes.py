"""What a run is told besides values: further configuration, a network's graph, files to keep."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epochal.errors import UsageError
from epochal.record.config import plain_config
from epochal.record.edge import Edge
from epochal.record.probe import find_probe
from epochal.store import graph_to_json

if TYPE_CHECKING:
    from epochal.store import ScalarSeries


class Notes(Edge):
    """The part of `Run` that has nothing to do with steps."""

    __slots__ = ()

    # The slots are those of Run.
    config: Mapping[str, Any]
    name: str

    def set_config(self, settings: Mapping[str, Any] | object) -> None:
        """Add settings that were not known when the run began, or change some; the others stay as they are.

        `settings` is a mapping, dataclass or namespace.
        """
        if self._writer is None or self._writer.finished:
            self._refuse()
            return
        with self._guard.over("run.set_config()"):
            plain, _ = plain_config(settings)
            self.config = {**self.config, **plain}  # type: ignore[misc]
            self._writer.set_state(config=self.config)

    def describe(self, *, name: str | None = None, tags: Sequence[str] | None = None, notes: str | None = None) -> None:
        """Change the run's name, tags or notes, as the Studio can; what is None stays as it is."""
        if self._writer is None:
            return
        with self._guard.over("run.describe()"):
            from epochal.store import Library, StoredRun

            path = self._writer.path
            Library(path.parent.parent).change(StoredRun(path), name=name, tags=tags, notes=notes)
            self.name = name if name is not None else self.name  # type: ignore[misc]

    def log_graph(self, model: object, inputs: object = None) -> None:
        """Keep the graph of a network, and its program where it can be exported, without watching it.

        `inputs` is one example batch; without it only the layers and their parameters are known.
        """
        if self._writer is None or self._writer.finished:
            self._refuse()
            return
        with self._guard.over("run.log_graph()"):
            probe = find_probe(model, activations=False, gradients=False)
            try:
                network = probe.network(inputs)
            finally:
                probe.close()
            self._writer.put_file("network/graph.json", graph_to_json(network.graph))
            for name, content in network.files.items():
                self._writer.put_file(f"network/{name}", content)
            if network.program is not None:
                self._writer.put_file("network/network.pt2", network.program)
            elif network.trouble:
                message = f"the network could not be exported, only its graph is recorded: {network.trouble}"
                self._guard.lost("network", message, once=message)

    def flush(self, timeout: float | None = 30.0) -> bool:
        """Wait until all that was given so far is in the run's files; say whether that came true in time (seconds)."""
        return self._writer is None or self._writer.finished or self._writer.flush(timeout)

    def recorded_scalars(self) -> dict[str, ScalarSeries]:
        """The numbers recorded so far, read back from the run's files: by name, each with steps, t and v."""
        from epochal.store import StoredRun

        return {} if self._writer is None else StoredRun(self._writer.path).scalars()

    def note_lost(self, message: str) -> None:
        """Count something that cannot be recorded, and warn of it once: for code that records on a user's behalf."""
        if self._guard.strict:
            raise UsageError(message)
        self._guard.lost("values", message, once=message)

    def note_once(self, message: str) -> None:
        """Warn, once, of something that is no loss: for code that records on a user's behalf."""
        self._guard.told(message, once=message)

    def keep_file(self, path: str | os.PathLike[str], name: str | None = None) -> Path | None:
        """Copy a file or a folder into the run, as `files/<name>`; return where it lies, None when it was not kept.

        A second file of the same name replaces the first. Of a folder in which the run itself lies, all else is kept.
        """
        if self._writer is None or self._writer.finished:
            self._refuse()
            return None
        with self._guard.over("run.keep_file()"):
            source = Path(path)
            target = _below(self._writer.folder / "files", name or source.name)
            # A run that somebody removed does not come back in part: its own folder is never made again.
            (self._writer.folder / "files").mkdir(exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                _copy_folder(source, target, run=self._writer.path)
            elif source.is_file():
                partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
                shutil.copy2(source, partial)
                partial.replace(target)
            else:
                raise UsageError(f"there is no file {source}", hint="give the path of a file or a folder")
            return target
        return None


def _copy_folder(source: Path, target: Path, *, run: Path) -> None:
    """Copy a folder, without the run where that lies in it: the copy, which lies in the run, would be copied too."""
    if target.resolve().is_relative_to(source.resolve()) and source.resolve().is_relative_to(run.resolve()):
        raise UsageError(f"{source} is the run's own folder", hint="give a folder outside of the run")

    def own(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if name == run.name and Path(folder, name).samefile(run)]

    shutil.copytree(source, target, dirs_exist_ok=True, ignore=own)


def _below(folder: Path, name: str) -> Path:
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or any(part in ("..", ".") or part.startswith(".") for part in parts):
        raise UsageError(f"file name {name!r} leads out of the run's folder", hint="use a name like 'model.onnx'")
    return folder.joinpath(*parts)
