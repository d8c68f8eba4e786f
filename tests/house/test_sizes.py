"""Files stay small, and broad handlers stay few."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.rooms import PACKAGE

ROOT = PACKAGE.parents[1]
HARD_LIMIT = 500
LONG_FILES: dict[str, str] = {}
"""Files that may be longer, each with the reason."""

BROAD_LIMIT = 50


def sources() -> list[Path]:
    web = [p for p in (ROOT / "web" / "src").rglob("*") if p.suffix in {".ts", ".svelte"} and p.name != "types.ts"]
    return sorted([*PACKAGE.rglob("*.py"), *web])


@pytest.mark.parametrize("path", sources(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_file_becomes_an_attic(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= HARD_LIMIT or path.relative_to(ROOT).as_posix() in LONG_FILES, f"{lines} lines: split it"


def test_every_broad_handler_says_why() -> None:
    without_reason, count = [], 0
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            names = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {"Exception"}
            passes_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if names & {"Exception", "BaseException"} and not passes_on:
                count += 1
                around = "\n".join(lines[max(0, node.lineno - 3) : node.lineno + 2])
                if "#" not in around:
                    without_reason.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert not without_reason, f"a broad handler needs its reason beside it: {without_reason}"
    assert count <= BROAD_LIMIT, f"{count} broad handlers; each one hides mistakes"
