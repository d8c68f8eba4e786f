"""Code and environment as they come a moment after the start."""

from __future__ import annotations

import importlib.metadata
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from epochal.record import origin
from epochal.record.git import Git
from epochal.record.origin_late import LateOrigin, installed_packages
from epochal.record.secret import Masker
from epochal.store import StoredRun
from tests.record.scripts import only_run
from tests.store.helpers import begin

TRAIN = """
import epochal, numpy as np, os, sys
np.random.seed(31)
with epochal.init("p", **eval(os.environ.get("OPTIONS", "{}"))) as run:
    run.log({"loss": 1.0})
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a training script in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (folder / "settings.yaml").write_text("lr: 0.1\n")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    try:
        for words in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-q", "-m", "first")):
            subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"git is not usable: {error}")
    return folder


def train(project: Path, *arguments: str, env: dict[str, str] | None = None) -> StoredRun:
    runs = project / "epochal-runs"
    done = subprocess.run(
        [sys.executable, "train.py", *arguments],
        cwd=project,
        env={**os.environ, "EPOCHAL_DIR": str(runs), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return only_run(runs)


def test_a_script_in_a_repository(project: Path) -> None:
    (project / "settings.yaml").write_text("lr: 0.2\ntoken: abcdef99\n")
    (project / "helper.py").write_text("x = 1\n")
    run = train(project, "--lr", "0.2", "--key", "abcdef99", env={"MY_TOKEN": "abcdef99"})
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True, check=True)
    assert run.code() == {
        "script": "train.py",
        "command": "train.py --lr 0.2 --key ***",
        "branch": "main",
        "commit": head.stdout.strip(),
        "dirty": True,
        "changed": ["settings.yaml"],
        "untracked": ["helper.py"],
    }
    diff = run.diff()
    assert diff is not None
    assert "-lr: 0.1\n+lr: 0.2\n+token: ***\n" in diff
    assert run.packages()["numpy"] == np.__version__
    assert run.info().notices == ()
    written = b"".join(path.read_bytes() for path in run.path.rglob("*") if path.is_file())
    assert b"abcdef99" not in written


def test_switched_off(project: Path) -> None:
    run = train(project, env={"OPTIONS": "{'code': False}"})
    assert (run.code(), run.diff(), run.packages()) == ({}, None, {})
    assert run.environment()["python"]
    assert not list(run.path.glob("w/*/code"))


def test_a_clean_copy_has_no_diff(project: Path) -> None:
    run = train(project)
    assert run.diff() is None
    assert run.code()["dirty"] is False


def test_of_several_ranks_the_first_tells(project: Path) -> None:
    for rank in (0, 1):
        run = train(project, env={"OPTIONS": f"{{'id': 'one', 'rank': {rank}, 'world_size': 2}}"})
    assert [path.parent.name[:4] for path in run.path.glob("w/*/code")] == ["r000"]


def test_only_a_few_variables_are_recorded(project: Path) -> None:
    variables = {"OMP_NUM_THREADS": "3", "MY_PLAIN_VARIABLE": "do-not-tell", "HOME": str(project)}
    run = train(project, env=variables)
    assert run.environment()["variables"]["OMP_NUM_THREADS"] == "3"
    assert "MY_PLAIN_VARIABLE" not in repr(run.environment())
    written = b"".join(path.read_bytes() for path in run.path.rglob("*") if path.is_file())
    assert b"do-not-tell" not in written


def test_the_machine_is_described(project: Path) -> None:
    environment = train(project, env={"PYTHONHASHSEED": "5"}).environment()
    assert environment["seeds"]["numpy"] == 31
    assert environment["seeds"]["python_hash"] == 5
    assert environment["cpus"] >= 1
    if Path("/proc/cpuinfo").exists() and "model name" in (text := Path("/proc/cpuinfo").read_text()):
        (model,) = set(re.findall(r"model name\s*:\s*(.*)", text))
        assert environment["cpu"] == model.strip()


def test_seeds_are_told_only_where_they_are_known() -> None:
    state, python_state = np.random.get_state(), random.getstate()
    try:
        for seed in (0, 1, 31, 2**32 - 1):
            np.random.seed(seed)
            random.seed(seed)
            assert origin.seeds().get("numpy") == seed
        np.random.random()
        assert "numpy" not in origin.seeds(), "its state says no longer where it began"
        np.random.seed([1, 2, 3])
        assert "numpy" not in origin.seeds(), "a seed of several numbers"
        assert "random" not in origin.seeds()
    finally:
        np.random.set_state(state)
        random.setstate(python_state)


@pytest.mark.torch
def test_the_seed_of_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    before = torch.get_rng_state()
    writer = begin(tmp_path)
    try:
        torch.manual_seed(1)
        late = LateOrigin(writer, Masker(), code={}, environment=origin.environment_facts())
        late._thread.join()
        torch.manual_seed(1234)
        torch.rand(3)
        late.close()
    finally:
        torch.set_rng_state(before)
        writer.finish()
    assert StoredRun(writer.path).environment()["seeds"]["torch"] == 1234


def test_packages_are_those_that_importlib_finds() -> None:
    def norm(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    found = {norm(name): version for name, version in installed_packages(sys.path).items()}
    known: dict[str, str] = {}
    for each in importlib.metadata.distributions():
        known.setdefault(norm(each.metadata["Name"]), each.version)
    assert found == known


def test_packages_by_their_folders(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, names in {
        first: ["torch-2.6.0+cpu.dist-info", "typing_extensions-4.1.dist-info", "old-1.0-py3.11.egg-info", "torch"],
        second: ["Torch-1.0.dist-info", "pip-25.0.dist-info", "broken.dist-info", "local.egg-info", ".dist-info"],
    }.items():
        for name in names:
            (folder / name).mkdir(parents=True)
    assert installed_packages([str(first), str(second), str(tmp_path / "none.zip"), str(first)]) == {
        "old": "1.0",
        "pip": "25.0",
        "torch": "2.6.0+cpu",
        "typing-extensions": "4.1",
    }


def test_a_slow_git_is_not_waited_for_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("epochal.record.origin_late.script_folder", lambda: project)
    writer = begin(tmp_path / "runs")
    late = LateOrigin(writer, Masker(), code={"script": "x"}, environment={}, git=Git(), close_secs=0.2)
    late.close()
    writer.finish()
    assert StoredRun(writer.path).code() == {
        "script": "x",
        "unknown": "git: the run ended before it came to an end",
    }


def test_a_disk_that_refuses_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    writer = begin(tmp_path, on_problem=said.append)
    (writer.folder / "code").write_text("a file where the folder should be")
    LateOrigin(writer, Masker(), code={}, environment={}).close()
    writer.finish()
    codes = {notice.code for notice in StoredRun(writer.path).notices()}
    assert codes == {"dropped_file"}
    assert len(said) == 1
