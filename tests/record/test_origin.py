"""Where a run comes from, and what is never written down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

from epochal.record import origin


def test_secrets_on_the_command_line_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [
        "train.py",
        "--lr",
        "0.1",
        "--api-key",
        "hunter2",
        "--token=abc",
        "s3://me:pw@host",
        "password=x",
        "-v",
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    command = origin.code_facts()["command"]
    for secret in ("hunter2", "abc", "pw@host", "password=x"):
        assert secret not in command
    assert "--lr 0.1" in command
    assert command.endswith("-v")


def test_environment_variables_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET_TOKEN", "do-not-tell")
    assert "do-not-tell" not in repr((origin.code_facts(), origin.environment_facts()))


def test_versions_of_imported_packages_only() -> None:
    facts = origin.environment_facts()
    assert facts["packages"]["numpy"]
    assert facts["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert facts["cpus"] >= 1


@pytest.mark.parametrize("packed", [False, True])
def test_commit_and_branch_come_from_the_repository(tmp_path: Path, *, packed: bool) -> None:
    def git(*words: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        git("init", "-q", "-b", "topic/one")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"git is not usable: {error}")
    git("commit", "-q", "--allow-empty", "-m", "first")
    if packed:
        git("pack-refs", "--all")
    assert origin._git_head(tmp_path) == {"branch": "topic/one", "commit": git("rev-parse", "HEAD")}
    git("checkout", "-q", "--detach")
    assert origin._git_head(tmp_path) == {"commit": git("rev-parse", "HEAD")}


def test_head_of_a_repository_from_elsewhere_leads_to_no_other_file(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "private").write_text("what nobody may read")
    for head in ("ref: ../private", f"ref: {tmp_path}/private", "what nobody may read"):
        (tmp_path / ".git" / "HEAD").write_text(head)
        assert "commit" not in origin._git_head(tmp_path)


def test_a_broken_repository_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(origin, "_script", lambda: tmp_path / "train.py")
    facts = origin.code_facts()
    assert facts["script"] == "train.py"
    assert "commit" not in facts


def test_it_is_cheap() -> None:
    start = perf_counter()
    origin.code_facts()
    origin.environment_facts()
    assert perf_counter() - start < 0.05
