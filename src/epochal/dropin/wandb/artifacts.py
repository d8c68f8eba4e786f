"""Artifacts as folders of local files: `<project>/.artifacts/<name>/v0, v1, ...`, shared by the runs of a project."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from epochal.errors import NotFoundError, UsageError

__all__ = ["Artifact", "Artifacts"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FACTS = ".artifact.json"


class Artifact:
    """Files under one name: add some, log it, and any run of the project can use it.

    Files are copied when the artifact is logged; `add_reference` keeps only the address.
    """

    def __init__(
        self,
        name: str,
        type: str,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        incremental: bool = False,
        use_as: str | None = None,
        **others: Any,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"artifact name {name!r}: letters, digits, dots, dashes and underscores are allowed")
        self.base, self.type, self.description = name, type, description
        self.metadata = dict(metadata or {})
        self.aliases: list[str] = []
        self.tags: list[str] = []
        self.references: dict[str, str] = {}
        self.version = ""
        self.digest = ""
        self.folder: Path | None = None
        self._added: dict[str, Path] = {}
        self._made: Path | None = None

    @property
    def name(self) -> str:
        """`name:v0` once it was logged."""
        return f"{self.base}:{self.version}" if self.version else self.base

    def add_file(
        self,
        local_path: str | os.PathLike[str],
        name: str | None = None,
        is_tmp: bool | None = False,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        overwrite: bool = False,
    ) -> None:
        """Add a file, under its own name or `name`."""
        path = Path(local_path)
        if not path.is_file():
            raise ValueError(f"Path is not a file: {str(local_path)!r}")
        self._added[_inside(name or path.name)] = path

    def add_dir(
        self,
        local_path: str | os.PathLike[str],
        name: str | None = None,
        skip_cache: bool | None = False,
        policy: str | None = "mutable",
        merge: bool = False,
    ) -> None:
        """Add all files below a folder, under `name` where given."""
        folder = Path(local_path)
        if not folder.is_dir():
            raise ValueError(f"Path is not a directory: {str(local_path)!r}")
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            inner = path.relative_to(folder).as_posix()
            self._added[_inside(f"{name}/{inner}" if name else inner)] = path

    def add_reference(
        self, uri: str, name: str | None = None, checksum: bool = True, max_objects: int | None = None
    ) -> None:
        """Note the address of something that lies elsewhere; nothing is copied."""
        self.references[_inside(name or Path(str(uri)).name or "reference")] = str(uri)

    @contextmanager
    def new_file(self, name: str, mode: str = "w", encoding: str | None = None) -> Iterator[Any]:
        """Open a new file of the artifact for writing."""
        path = self._own(name)
        with path.open(mode, encoding=None if "b" in mode else encoding or "utf-8") as file:
            yield file
        self._added[_inside(name)] = path

    def add(self, obj: Any, name: str, overwrite: bool = False) -> None:
        """Add a value, such as a table or an image, as the file that is made of it."""
        encoded = obj.taken().encode()
        whole = name if name.endswith("." + encoded.extension) else f"{name}.{encoded.extension}"
        path = self._own(whole)
        path.write_bytes(encoded.data)
        self._added[_inside(whole)] = path

    def _own(self, name: str) -> Path:
        if self._made is None:
            self._made = Path(tempfile.mkdtemp())
            weakref.finalize(self, shutil.rmtree, self._made, ignore_errors=True)
        path = self._made / _inside(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def files(self) -> list[Path]:
        """Where its files lie."""
        if self.folder is None:
            return list(self._added.values())
        return sorted(p for p in self.folder.rglob("*") if p.is_file() and p.name != _FACTS)

    def download(self, root: str | os.PathLike[str] | None = None, **others: Any) -> str:
        """Copy its files to `root` (`artifacts/name:v0`) and return that folder."""
        source = self._logged()
        target = Path(root) if root is not None else Path("artifacts", f"{self.base}:{self.version}")
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(_FACTS))
        return str(target)

    checkout = download

    def file(self, root: str | os.PathLike[str] | None = None) -> str:
        """Copy its only file to `root` and return the path."""
        files = self.files()
        if len(files) != 1:
            raise ValueError(f"artifact {self.name!r} has {len(files)} files: use download()")
        return str(Path(self.download(root), files[0].relative_to(self._logged())))

    def get_path(self, name: str) -> Entry:
        """One of its files."""
        path = self._logged() / _inside(name)
        if not path.is_file():
            known = ", ".join(p.relative_to(self._logged()).as_posix() for p in self.files()[:8])
            raise KeyError(f"artifact {self.name!r} has no file {name!r}; it has: {known}")
        return Entry(self, name, path)

    get_entry = get_path

    def wait(self, timeout: int | None = None) -> Artifact:
        """Nothing to wait for: it is there when it is logged."""
        return self

    def _logged(self) -> Path:
        if self.folder is None:
            raise UsageError(f"artifact {self.name!r} was not logged yet", hint="call run.log_artifact(artifact) first")
        return self.folder

    def _write(self, folder: Path) -> None:
        for name, path in self._added.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)

    def _digest(self) -> str:
        found = hashlib.sha256(json.dumps([sorted(self.references.items()), self.metadata], default=str).encode())
        for name, path in sorted(self._added.items()):
            with path.open("rb") as file:
                found.update(name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
        return found.hexdigest()


class Entry:
    """One file of an artifact."""

    def __init__(self, artifact: Artifact, name: str, path: Path) -> None:
        self._artifact, self.name, self.local_path = artifact, name, path

    def download(self, root: str | os.PathLike[str] | None = None) -> str:
        """Copy it to `root` and return its path there."""
        target = Path(root or Path("artifacts", self._artifact.name), self.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(self.local_path, target)
        return str(target)

    def open(self) -> TextIO:
        """Open it for reading."""
        return self.local_path.open(encoding="utf-8")


class Artifacts:
    """All artifacts of a project; `folder` is the project's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / ".artifacts"

    def log(self, artifact: Artifact, *, run: str, aliases: Sequence[str], tags: Sequence[str]) -> Artifact:
        """Keep an artifact as the next version, or as the one that has the same content already."""
        home = self._folder / artifact.base
        versions = self._versions(artifact.base)
        digest = artifact._digest()
        same = next((v for v, facts in versions.items() if facts.get("digest") == digest), None)
        names = list(dict.fromkeys(["latest", *map(str, aliases)]))
        if same is not None:
            version = same
        else:
            facts = {
                "type": artifact.type,
                "description": artifact.description,
                "metadata": artifact.metadata,
                "references": artifact.references,
                "digest": digest,
                "run": run,
                "tags": [str(tag) for tag in tags],
                "aliases": names,
            }
            version = self._add(home, artifact, facts, first=max((int(v[1:]) for v in versions), default=-1) + 1)
        for other, known in {**versions, version: self._facts(home / version)}.items():
            kept = [a for a in known.get("aliases", []) if other == version or a not in names]
            wanted = list(dict.fromkeys([*kept, *names])) if other == version else kept
            if wanted != known.get("aliases"):
                whole = json.dumps({**known, "aliases": wanted}, default=str, indent=1)
                fresh = home / f".{other}.{os.getpid()}.tmp"
                fresh.write_text(whole, encoding="utf-8")
                fresh.replace(home / other / _FACTS)
        artifact.version, artifact.digest, artifact.aliases, artifact.folder = version, digest, names, home / version
        return artifact

    @staticmethod
    def _add(home: Path, artifact: Artifact, facts: Mapping[str, Any], *, first: int) -> str:
        """Copy the files into a new version: `first`, or the next that no other process has made meanwhile."""
        home.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".", dir=home))
        try:
            artifact._write(partial)
            (partial / _FACTS).write_text(json.dumps(facts, default=str, indent=1), encoding="utf-8")
            while True:
                try:
                    partial.rename(home / f"v{first}")
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                    first += 1
                else:
                    return f"v{first}"
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def find(self, name: str, kind: str | None = None) -> Artifact:
        """Return an artifact by `name`, `name:v3` or `name:alias`; what stands before a slash is not looked at.

        Raises NotFoundError.
        """
        base, _, wanted = name.rpartition("/")[2].partition(":")
        versions = self._versions(base) if _NAME.fullmatch(base) else {}
        for version, facts in versions.items():
            if (wanted or "latest") in (version, *facts.get("aliases", [])):
                if kind is not None and facts.get("type") != kind:
                    raise UsageError(f"artifact {name!r} is of type {facts.get('type')!r}, not {kind!r}")
                return self._open(base, version, facts)
        known = sorted(p.name for p in self._folder.glob("*") if p.is_dir()) if self._folder.is_dir() else []
        have = f"{base} has: {', '.join(versions)}" if versions else f"the project has: {', '.join(known) or 'none'}"
        raise NotFoundError(f"there is no artifact {name!r}", hint=have)

    def _open(self, base: str, version: str, facts: Mapping[str, Any]) -> Artifact:
        found = Artifact(base, str(facts.get("type", "")), facts.get("description"), facts.get("metadata"))
        found.version, found.folder = version, self._folder / base / version
        found.aliases, found.digest = list(facts.get("aliases", [])), str(facts.get("digest", ""))
        found.references = dict(facts.get("references", {}))
        return found

    def _versions(self, base: str) -> dict[str, dict[str, Any]]:
        home = self._folder / base
        names = [p.name for p in home.glob("v*") if p.name[1:].isdigit()] if home.is_dir() else []
        return {name: self._facts(home / name) for name in sorted(names, key=lambda v: int(v[1:]))}

    @staticmethod
    def _facts(folder: Path) -> dict[str, Any]:
        try:
            found = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _inside(name: str) -> str:
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts or _FACTS in parts:
        raise ValueError(f"{name!r} is no name for a file of an artifact")
    return Path(*parts).as_posix()
