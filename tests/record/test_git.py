"""What git says of a working copy, and that it is never waited for."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from epochal.record.git import Git


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "work"
    folder.mkdir()
    try:
        git(folder, "init", "-q", "-b", "main")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"git is not usable: {error}")
    (folder / "train.py").write_text("lr = 0.1\n")
    (folder / ".gitignore").write_text("*.log\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_a_clean_copy(repository: Path) -> None:
    found = Git().changes(repository)
    assert (found.dirty, found.changed, found.untracked, found.diff, found.trouble) == (False, [], [], "", "")


def test_the_diff_makes_the_same_code_of_the_commit(repository: Path, tmp_path: Path) -> None:
    (repository / "train.py").write_text("lr = 0.2\nname = 'é'\n", encoding="utf-8")
    (repository / "new.py").write_text("x = 1\n")
    git(repository, "add", "new.py")
    found = Git().changes(repository)
    assert (found.dirty, found.changed, found.cut) == (True, ["new.py", "train.py"], False)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(repository), str(clone))
    (tmp_path / "diff.patch").write_text(found.diff, encoding="utf-8")
    git(clone, "apply", str(tmp_path / "diff.patch"))
    for name in ("train.py", "new.py"):
        assert (clone / name).read_bytes() == (repository / name).read_bytes()


def test_untracked_files_are_named_where_they_are_small_sources(repository: Path) -> None:
    (repository / "more").mkdir()
    (repository / "runs").mkdir()
    for name in ("model.py", "more/settings.yaml", "weights.bin", "a.log", "runs/run.json"):
        (repository / name).write_text("x")
    (repository / "big.json").write_text("x" * 300_000)
    found = Git().changes(repository, besides=repository / "runs")
    assert found.untracked == ["model.py", "more/settings.yaml"]
    assert (found.dirty, found.diff) == (False, "")


def test_many_and_much_is_bounded(repository: Path) -> None:
    for n in range(300):
        (repository / f"f{n:03d}.py").write_text("x\n")
    (repository / "train.py").write_text("".join(f"line {n}\n" for n in range(10_000)))
    found = Git(diff_bytes=5_000).changes(repository)
    assert len(found.untracked) == 200
    assert found.cut
    assert 4_000 < len(found.diff) <= 5_000
    assert found.diff.endswith("\n")
    assert found.diff.splitlines()[-1].startswith("+line ")


def test_settings_of_the_repository_start_nothing_and_change_nothing(repository: Path, tmp_path: Path) -> None:
    trace = tmp_path / "started"
    program = tmp_path / "program.sh"
    program.write_text(f"#!/bin/sh\necho started >> {trace}\ncat\n")
    program.chmod(0o755)
    for key in ("diff.external", "core.fsmonitor", "core.pager", "diff.odd.textconv", "diff.odd.command"):
        git(repository, "config", key, str(program))
    git(repository, "config", "color.ui", "always")
    git(repository, "config", "diff.noprefix", "true")
    (repository / ".git" / "info" / "attributes").write_text("*.py diff=odd\n")
    (repository / "train.py").write_text("lr = 0.2\n")
    index = (repository / ".git" / "index").read_bytes()
    found = Git().changes(repository)
    assert found.diff.startswith("diff --git a/train.py b/train.py\n")
    assert "\x1b" not in found.diff
    assert not trace.exists()
    assert (repository / ".git" / "index").read_bytes() == index


def test_variables_of_another_repository_are_not_followed(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    (repository / "train.py").write_text("lr = 0.2\n")
    assert Git().changes(repository).changed == ["train.py"]


def test_names_that_are_odd(repository: Path) -> None:
    name = "sp ace é\n.py"
    (repository / name).write_text("x")
    assert Git().changes(repository).untracked == [name]


def test_a_repository_without_a_commit(tmp_path: Path, repository: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    git(fresh, "init", "-q")
    found = Git().changes(fresh)
    assert found.trouble.startswith("git: ")
    assert "HEAD" in found.trouble


def test_a_broken_repository_and_no_repository(tmp_path: Path, repository: Path) -> None:
    (repository / ".git" / "HEAD").write_text("nonsense")
    assert Git().changes(repository).trouble.startswith("git: ")
    assert Git().changes(tmp_path / "nowhere").trouble.startswith("git: ")


def test_git_is_not_installed(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert Git().changes(repository).trouble == "git: it is not installed"


@pytest.fixture
def slow_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git that does not come to an end."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.usefixtures("slow_git")
def test_one_that_does_not_come_to_an_end_is_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    assert Git(secs=0.2).changes(tmp_path).trouble == "git: it did not come to an end within 0.2 s"
    assert time.monotonic() - began < 10


@pytest.mark.usefixtures("slow_git")
def test_it_can_be_stopped_from_another_thread(tmp_path: Path) -> None:
    git = Git()
    threading.Timer(0.2, git.stop).start()
    began = time.monotonic()
    assert git.changes(tmp_path).trouble == "git: the run ended before it came to an end"
    assert time.monotonic() - began < 10
    assert git.changes(tmp_path).trouble == "git: the run ended before it came to an end"
