"""`epochal doctor`."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from epochal._version import __version__
from epochal.cli.options import add_dir, add_json
from epochal.cli.studio import PORT, has_browser
from epochal.cli.terminal import Terminal, columns
from epochal.store.layout import resolve_root

EXAMPLES = """
epochal doctor
epochal doctor --json
"""
_NEEDED = ("numpy", "pyarrow", "fastapi", "uvicorn", "orjson", "rich", "pillow", "flatbuffers")
_EXTRAS = {
    "torch": ("torch", "torch"),
    "scikit-learn": ("sklearn", "sklearn"),
    "av": ("av", "video"),
    "obstore": ("obstore", "s3"),
}
_LOW_DISK = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `bad` things stop Epochal from working, `note`s only limit what it can do."""

    name: str
    state: Literal["good", "note", "bad"]
    words: str
    hint: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    add_dir(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Look at everything Epochal needs; exit code 1 where something it cannot do without is missing."""
    checks: list[Callable[[], list[Finding]]] = [
        _versions,
        _packages,
        _extras,
        _studio,
        lambda: _folder(resolve_root(args.dir)),
        _port,
        _browser,
    ]
    findings = [finding for check in checks for finding in check()]
    bad = sum(each.state == "bad" for each in findings)
    if args.json:
        terminal.json({"healthy": not bad, "findings": [asdict(each) for each in findings]})
        return 1 if bad else 0
    marks = {
        "good": terminal.style("ok", "green"),
        "note": terminal.style("--", "yellow"),
        "bad": terminal.style("no", "red", "bold"),
    }
    for each, text in zip(findings, columns([[f.name, f.words] for f in findings]), strict=True):
        terminal.line(f"{marks[each.state]}  {text}" + (f". {each.hint}" if each.hint else ""))
    return 1 if bad else 0


def _versions() -> list[Finding]:
    words = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    good = sys.version_info >= (3, 11)
    return [
        Finding("epochal", "good", __version__),
        Finding("python", "good" if good else "bad", words, "" if good else "Epochal needs Python 3.11"),
    ]


def _packages() -> list[Finding]:
    found = []
    for name in _NEEDED:
        try:
            found.append(Finding(name, "good", importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            found.append(Finding(name, "bad", "not installed", "pip install epochal"))
    return found


def _extras() -> list[Finding]:
    found = []
    for package, (module, extra) in _EXTRAS.items():
        if importlib.util.find_spec(module) is None:
            found.append(Finding(package, "note", "not installed", f"pip install 'epochal[{extra}]'"))
        else:
            found.append(Finding(package, "good", importlib.metadata.version(package)))
    return found


def _studio() -> list[Finding]:
    folder = Path(__file__).parents[1] / "studio"
    built = [name for name in ("index.html", "report.html") if (folder / name).is_file()]
    if len(built) == 2:
        return [Finding("studio", "good", "built")]
    missing = "the report's page is missing" if built else "not built"
    return [Finding("studio", "bad", missing, "npm ci && npm run build in web/, or install a released epochal")]


def _folder(root: Path) -> list[Finding]:
    place = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(place, os.W_OK):
        return [Finding("folder", "bad", f"{root} cannot be written to", "Name another with --dir or EPOCHAL_DIR")]
    free = shutil.disk_usage(place).free
    runs = f"{root}" if root.is_dir() else f"{root} (not there yet)"
    low = free < _LOW_DISK
    hint = "Recording stops on a full disk" if low else ""
    found = [
        Finding("folder", "good", runs),
        Finding("disk", "note" if low else "good", f"{free / 1e9:.1f} GB free", hint),
    ]
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            os.posix_fallocate(file.fileno(), 0, 4096)
    except (OSError, AttributeError) as error:
        found.append(Finding("journal", "note", f"space cannot be set aside here ({error})"))
    return found


def _port() -> list[Finding]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            return [Finding("port", "note", f"{PORT} is in use", "The next free one will be taken")]
    return [Finding("port", "good", f"{PORT} is free")]


def _browser() -> list[Finding]:
    if has_browser():
        return [Finding("browser", "good", "can be opened")]
    return [Finding("browser", "note", "none to open here", "Open the address that epochal view prints")]
