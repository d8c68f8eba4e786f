"""Where a run comes from: script, command, git commit, machine and package versions. Never environment variables,
never what looks like a password on the command line. Nothing in here starts a process or raises."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

_PACKAGES = (
    "numpy", "torch", "torchvision", "keras", "tensorflow", "jax", "flax", "sklearn", "lightning", "transformers",
    "datasets", "accelerate", "timm", "xgboost", "lightgbm", "scipy", "pandas", "polars",
)  # fmt: skip
_SECRET = re.compile(r"key|token|secret|passw|pwd|credential|auth", re.IGNORECASE)
_HIDDEN = "***"


def code_facts() -> dict[str, Any]:
    """Script (relative to the repository or working folder), command line, git commit and branch where there is one."""
    facts: dict[str, Any] = {}
    try:
        script = _script()
        here = script.parent if script else Path.cwd()
        repository = _repository(here)
        if script:
            facts["script"] = _relative(script, repository)
        facts["command"] = _command(script.name if script else None)
        if repository:
            facts.update(_git_head(repository))
    except (OSError, ValueError, AttributeError) as error:
        facts["unknown"] = f"{type(error).__name__}: {error}"
    return facts


def environment_facts() -> dict[str, Any]:
    """Python, platform, processor count, and versions of the packages that are already imported."""
    from epochal._version import __version__

    facts: dict[str, Any] = {"epochal": __version__}
    try:
        facts["python"] = platform.python_version()
        facts["platform"] = f"{platform.system()} {platform.release()} {platform.machine()}".strip()
        facts["cpus"] = _cpus()
        facts["packages"] = {
            name: str(module.__version__)
            for name in _PACKAGES
            if (module := sys.modules.get(name)) is not None and hasattr(module, "__version__")
        }
    except (OSError, ValueError, AttributeError) as error:
        facts["unknown"] = f"{type(error).__name__}: {error}"
    return facts


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _script() -> Path | None:
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    return Path(os.path.abspath(file)) if file else None  # noqa: PTH100 - links are kept as the user wrote them


def _relative(script: Path, repository: Path | None) -> str:
    for base in (repository, Path.cwd()):
        if base and script.is_relative_to(base):
            return script.relative_to(base).as_posix()
    return script.name


def _command(script: str | None) -> str:
    """The command line with the values of options that name a secret left out."""
    words = [script or Path(sys.argv[0]).name or "python"]
    hide = False
    for word in sys.argv[1:]:
        name, equals, _ = word.partition("=")
        if hide and not word.startswith("-"):
            words.append(_HIDDEN)
            hide = False
            continue
        hide = False
        if _SECRET.search(name) and (equals or word.startswith("-")):
            words.append(f"{name}={_HIDDEN}" if equals else word)
            hide = not equals
        elif "://" in word and "@" in word:
            words.append(_HIDDEN)
        else:
            words.append(word)
    return " ".join(words)[:1000]


def _repository(folder: Path) -> Path | None:
    for parent in (folder, *folder.parents):
        if (parent / ".git").exists():
            return parent
    return None


def _git_head(repository: Path) -> dict[str, str]:
    """Commit and branch, read from git's files: starting git would cost more than all the rest of `init`."""
    folder = repository / ".git"
    if folder.is_file():  # a worktree or submodule says where its folder is
        folder = repository / folder.read_text().partition("gitdir:")[2].strip()
    head = (folder / "HEAD").read_text().strip()
    if not head.startswith("ref:"):
        return {"commit": head}
    ref = head.partition(":")[2].strip()
    facts = {"branch": ref.removeprefix("refs/heads/")}
    common = folder / "commondir"
    base = folder / common.read_text().strip() if common.is_file() else folder
    if (base / ref).is_file():
        facts["commit"] = (base / ref).read_text().strip()
    elif (base / "packed-refs").is_file():
        for line in (base / "packed-refs").read_text().splitlines():
            commit, _, name = line.partition(" ")
            if name == ref:
                facts["commit"] = commit
    return facts
