"""Where a run comes from, the part that takes a while: what git says, installed packages, GPUs.

A thread finds it out right after the start and writes it below `code/` of the writer's folder: `diff.patch`,
`packages.txt` and `origin.json`, the facts that run.json, which never changes, could not have yet.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from epochal.errors import StorageFullError
from epochal.record.git import Git
from epochal.record.origin import find_repository, script_folder, seeds
from epochal.record.secret import Masker
from epochal.record.system_gpu import gpu_names
from epochal.store import RunWriter

CLOSE_SECS = 5.0


class LateOrigin:
    """Finds out and writes down, from its making to `close`."""

    def __init__(
        self,
        writer: RunWriter,
        masker: Masker,
        *,
        code: Mapping[str, Any],
        environment: Mapping[str, Any],
        git: Git | None = None,
        close_secs: float = CLOSE_SECS,
    ) -> None:
        self._writer = writer
        self._mask = masker
        self._code, self._environment = dict(code), dict(environment)
        self._git = git or Git()
        self._close_secs = close_secs
        self._written: bytes = b""
        self._thread = threading.Thread(target=self._find, name="epochal-origin", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for what is under way, not for long, and write down the seeds as they are known now."""
        self._thread.join(self._close_secs)
        if self._thread.is_alive():
            self._git.stop()
            self._thread.join(1.0)
        self._write()

    def _find(self) -> None:
        parts = {"packages": self._find_packages, "GPUs": self._find_gpus, "changes": self._find_changes}
        for what, find in parts.items():
            try:
                find()
            except StorageFullError:
                continue  # the writer has counted and told it
            except Exception as error:  # noqa: BLE001 - the thread's outermost edge: the other parts may go well
                self._writer.drop("code", 1, f"the {what} of this run could not be found out: {error!r}")
        self._write()

    def _find_packages(self) -> None:
        lines = [f"{name}=={version}\n" for name, version in installed_packages(sys.path).items()]
        self._writer.put_file("code/packages.txt", "".join(lines).encode())

    def _find_gpus(self) -> None:
        if names := gpu_names():
            self._environment["gpus"] = names

    def _find_changes(self) -> None:
        repository = find_repository(script_folder())
        if repository is None:
            return
        found = self._git.changes(repository, besides=self._writer.path.parents[1])
        if found.trouble:
            self._code["unknown"] = found.trouble
            return
        self._code |= {"dirty": found.dirty, "changed": found.changed, "untracked": found.untracked}
        if found.cut:
            self._code["diff_cut"] = True
        if found.diff:
            self._mask.refresh()
            self._writer.put_file("code/diff.patch", self._mask(found.diff).encode("utf-8", "surrogateescape"))

    def _write(self) -> None:
        known = {**self._environment.get("seeds", {}), **seeds()}
        if known:
            self._environment["seeds"] = known
        facts = json.dumps({"code": self._code, "environment": self._environment}, indent=1, default=str).encode()
        if facts != self._written:
            try:
                self._writer.put_file("code/origin.json", facts)
            except StorageFullError:
                return  # the writer has counted and told it
            self._written = facts


def installed_packages(folders: Iterable[str]) -> dict[str, str]:
    """Versions of the packages installed in the folders that modules come from, by name; the first of a name counts.

    Read from the names of their folders of facts (`torch-2.6.0.dist-info`): `importlib.metadata`, which opens a file of
    each, takes two hundred times as long from a training that has just begun.
    """
    found: dict[str, tuple[str, str]] = {}
    for folder in dict.fromkeys(folders):
        try:
            with os.scandir(folder or ".") as entries:
                names = sorted(entry.name for entry in entries)
        except OSError:
            continue  # a zip file, or a folder that is not there
        for entry in names:
            stem, dot, kind = entry.rpartition(".")
            if not dot or kind not in ("dist-info", "egg-info"):
                continue
            name, dash, rest = stem.partition("-")
            version = rest.partition("-py")[0]
            if dash and version:
                found.setdefault(name.replace("_", "-").lower(), (name.replace("_", "-"), version))
    return {name: version for _, (name, version) in sorted(found.items())}
