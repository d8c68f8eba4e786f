"""Rooms import one way only, function-level imports counted; heavy libraries stay where they belong."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.house.rooms import ARROWS, HEAVY, PACKAGE


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Every module a file imports, wherever the import stands; relative ones made absolute."""
    package = ("epochal", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(p for p in (base, node.module or "") if p)
            if module == "epochal":
                yield from ((node.lineno, f"epochal.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def python_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_the_list_of_rooms_is_the_folders() -> None:
    rooms = {room_of(path) for path in python_files()}
    assert rooms == set(ARROWS)


def test_the_allowed_arrows_have_no_circle() -> None:
    assert list(TopologicalSorter(ARROWS).static_order())


@pytest.mark.parametrize("path", python_files(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_arrows_go_one_way(path: Path) -> None:
    room = room_of(path)
    wrong = []
    for line, module in imported(path):
        parts = module.split(".")
        if parts[0] != "epochal" or len(parts) < 2 or parts[1] in {room, "_version", "__version__"}:
            continue
        if parts[1] not in ARROWS[room]:
            wrong.append(f"line {line}: {room} may not import {module}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", python_files(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_heavy_libraries_stay_in_their_files(path: Path) -> None:
    where = path.relative_to(PACKAGE).as_posix()
    wrong = [
        f"line {line}: {module} belongs to {', '.join(HEAVY[module.split('.')[0]])}"
        for line, module in imported(path)
        if module.split(".")[0] in HEAVY and not where.startswith(HEAVY[module.split(".")[0]])
    ]
    assert not wrong, "\n".join(wrong)


def test_this_test_sees_function_level_and_type_only_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.house.test_arrows.PACKAGE", tmp_path)
    file = tmp_path / "facts" / "x.py"
    file.parent.mkdir()
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from epochal.store import a\n"
        "def f():\n    from ..record import b\n    import epochal.cli.main\n    from epochal import wire\n"
    )
    found = {module for _, module in imported(file)}
    assert {"epochal.store", "epochal.record", "epochal.cli.main", "epochal.wire"} <= found
