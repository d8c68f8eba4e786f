from __future__ import annotations

import re
from pathlib import Path

import pytest

from epochal.errors import UsageError
from epochal.store.layout import RunFolder, WriterFolder, check_name, new_run_id, resolve_root, snapshot_step


def test_run_ids_sort_by_time_and_differ() -> None:
    ids = [new_run_id(1_700_000_000 + i) for i in range(50)]
    assert ids == sorted(ids)
    assert re.fullmatch(r"20231114-221320-[a-z2-7]{6}", ids[0])
    assert len({new_run_id(0.0) for _ in range(200)}) == 200


@pytest.mark.parametrize("name", ["iris", "a b", "ü-run", "x" * 120, "v1.2", "con_artist"])
def test_usable_names_pass(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        ("..", "begins or ends with a dot"),
        (".hidden", "begins or ends with a dot"),
        ("a/b", "contains '/'"),
        ("a\\b", r"contains '\\'"),
        ("a\x00b", r"contains '\x00'"),
        ("a\nb", r"contains '\n'"),
        ("tail ", "begins or ends"),
        ("NUL", "a name that Windows keeps"),
        ("com1.txt", "a name that Windows keeps"),
        ("x" * 121, "longer than 120"),
        ("\ud800", "contains"),
        (7, "is a int, not a string"),
    ],
)
def test_unusable_names_say_why(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match="project") as caught:
        check_name(name, what="project")
    assert reason in caught.value.message
    assert "iris-baseline" in caught.value.hint


def test_the_root_is_the_argument_then_the_environment_then_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EPOCHAL_DIR", raising=False)
    assert resolve_root() == tmp_path / "epochal-runs"
    monkeypatch.setenv("EPOCHAL_DIR", str(tmp_path / "env"))
    assert resolve_root() == tmp_path / "env"
    assert resolve_root("given") == tmp_path / "given"


def test_folders_know_their_parts(tmp_path: Path) -> None:
    run = RunFolder.of(tmp_path, "p", "r")
    assert (run.project, run.run_id) == ("p", "r")
    assert run.writers() == []
    for name in ("r012-abc234", "r000-zzz222", "other"):
        (run.writers_path / name).mkdir(parents=True)
    assert [(w.name, w.rank) for w in run.writers()] == [("r000-zzz222", 0), ("r012-abc234", 12)]
    assert snapshot_step(WriterFolder(tmp_path).snapshot("params", 120).name) == 120
    assert snapshot_step("step-abc.safetensors") is None
    assert snapshot_step(".step-0000000001.safetensors.99.tmp") is None
