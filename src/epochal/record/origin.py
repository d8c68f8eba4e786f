"""Where a run comes from: script, command, git commit, machine and package versions, seeds. Of the environment's
variables only those of a short list, never what looks like a password on the command line. Nothing in here starts a
process or raises; what takes longer is `origin_late.py`'s."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from epochal.record.secret import HIDDEN, Mask, looks_secret

_PACKAGES = (
    "numpy", "torch", "torchvision", "keras", "tensorflow", "jax", "flax", "sklearn", "lightning", "transformers",
    "datasets", "accelerate", "timm", "xgboost", "lightgbm", "scipy", "pandas", "polars",
)  # fmt: skip
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUBLAS_WORKSPACE_CONFIG", "PYTORCH_CUDA_ALLOC_CONF",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "SLURM_JOB_ID", "SLURM_PROCID",
    "PYTHONHASHSEED", "PYTHONOPTIMIZE", "KERAS_BACKEND", "JAX_PLATFORMS", "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS", "TOKENIZERS_PARALLELISM", "NCCL_DEBUG",
)  # fmt: skip
"""The only variables whose values are recorded."""
_VALUE_LIMIT = 200
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


def code_facts(mask: Mask = str) -> dict[str, Any]:
    """Script (relative to the repository or working folder), command line, git commit and branch where there is one."""
    facts: dict[str, Any] = {}
    try:
        script = _script()
        repository = find_repository(script_folder())
        if script:
            facts["script"] = _relative(script, repository)
        facts["command"] = mask(_command(script.name if script else None))
        if repository:
            facts.update(_git_head(repository))
    except (OSError, ValueError, AttributeError) as error:
        facts["unknown"] = f"{type(error).__name__}: {error}"
    return facts


def environment_facts(mask: Mask = str) -> dict[str, Any]:
    """Python, platform, processors, a few variables, seeds, and versions of the packages that are already imported."""
    from epochal._version import __version__

    facts: dict[str, Any] = {"epochal": __version__}
    try:
        facts["python"] = platform.python_version()
        facts["platform"] = f"{platform.system()} {platform.release()} {platform.machine()}".strip()
        facts["cpus"] = _cpus()
        if model := _cpu_model():
            facts["cpu"] = model
        found = {name: mask(os.environ[name])[:_VALUE_LIMIT] for name in _VARIABLES if name in os.environ}
        if found:
            facts["variables"] = found
        if known := seeds():
            facts["seeds"] = known
        facts["packages"] = {
            name: str(module.__version__)
            for name in _PACKAGES
            if (module := sys.modules.get(name)) is not None and hasattr(module, "__version__")
        }
    except (OSError, ValueError, AttributeError) as error:
        facts["unknown"] = f"{type(error).__name__}: {error}"
    return facts


def seeds() -> dict[str, int]:
    """The seeds of random numbers as far as they are known now, by whose they are.

    `torch` is what its generator was last seeded with; `numpy` that of the legacy functions (`np.random.seed`), which
    is known only until the first of them was called; `lightning` what `seed_everything` was given; `python_hash` is
    PYTHONHASHSEED. Python's own `random` and numpy's generators do not tell theirs.
    """
    asked: dict[str, Callable[[], int | None]] = {
        "torch": _torch_seed,
        "numpy": _numpy_seed,
        "lightning": lambda: _whole(os.environ.get("PL_GLOBAL_SEED")),
        "python_hash": lambda: _whole(os.environ.get("PYTHONHASHSEED")),
    }
    found: dict[str, int] = {}
    for name, ask in asked.items():
        with contextlib.suppress(Exception):  # a seed that cannot be found out is not known
            if (seed := ask()) is not None:
                found[name] = seed
    return found


def _torch_seed() -> int | None:
    initial_seed = getattr(sys.modules.get("torch"), "initial_seed", None)
    return int(initial_seed()) if callable(initial_seed) else None


def _numpy_seed() -> int | None:
    """A generator that was seeded and not used yet holds its seed as the first word of its state."""
    if "numpy.random" not in sys.modules:  # numpy imports it when it is first used, and nobody has
        return None
    full: Any = np.random.get_state(legacy=False)
    state = full["state"]
    words: Any = state.get("key", ()) if isinstance(state, dict) else ()
    if not len(words) or state["pos"] != len(words):  # of another kind, or used
        return None
    seed = int(words[0])
    again: Any = np.random.RandomState(seed).get_state(legacy=False)
    return seed if np.array_equal(words, again["state"]["key"]) else None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _cpu_model() -> str:
    """What the processor is called, '' where the system does not say it in a file."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() in ("model name", "Model", "cpu model"):
                    return value.strip()
                if not line.strip():
                    break  # all processors are of a kind
    except OSError:
        pass
    return platform.processor() if sys.platform == "win32" else ""


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _script() -> Path | None:
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    return Path(os.path.abspath(file)) if file else None  # noqa: PTH100 - links are kept as the user wrote them


def script_folder() -> Path:
    """Where the training's script lies; the working folder where there is no script, as in a notebook."""
    script = _script()
    return script.parent if script else Path.cwd()


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
            words.append(HIDDEN)
            hide = False
            continue
        hide = False
        if looks_secret(name.lstrip("-")) and (equals or word.startswith("-")):
            words.append(f"{name}={HIDDEN}" if equals else word)
            hide = not equals
        elif "://" in word and "@" in word:
            words.append(HIDDEN)
        else:
            words.append(word)
    return " ".join(words)[:1000]


def find_repository(folder: Path) -> Path | None:
    """The git repository that a folder lies in, None outside of one."""
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
        return {"commit": head} if _COMMIT.fullmatch(head) else {}
    ref = head.partition(":")[2].strip()
    facts = {"branch": ref.removeprefix("refs/heads/")}
    common = folder / "commondir"
    base = folder / common.read_text().strip() if common.is_file() else folder
    if (base / ref).is_file():
        commit = (base / ref).read_text().strip()
        if _COMMIT.fullmatch(commit):  # whatever else a file may hold that HEAD of a repository from elsewhere names
            facts["commit"] = commit
    elif (base / "packed-refs").is_file():
        for line in (base / "packed-refs").read_text().splitlines():
            commit, _, name = line.partition(" ")
            if name == ref:
                facts["commit"] = commit
    return facts
