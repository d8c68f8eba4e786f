"""Training scripts of their own, as users start them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from epochal.store import StoredRun


def script(
    body: str, root: Path, *, then: str = "", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script whose runs go below `root`, and return how it ended."""
    root.parent.mkdir(parents=True, exist_ok=True)
    file = root.parent / "train.py"
    file.write_text("import epochal, os, sys\n" + textwrap.dedent(body) + then + "\n", encoding="utf-8")
    variables = {**os.environ, "EPOCHAL_DIR": str(root), **(env or {})}
    return subprocess.run(
        [sys.executable, str(file)], env=variables, capture_output=True, text=True, check=False, timeout=60
    )


def only_run(root: Path) -> StoredRun:
    """The only run below `root`."""
    (path,) = [p for p in root.glob("*/*") if (p / "run.json").exists()]
    return StoredRun(path)
