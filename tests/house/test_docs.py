"""No public name, route, verb or setting is undocumented, and the map shows the real rooms."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

import epochal
from tests.house.rooms import ARROWS, PACKAGE

ROOT = PACKAGE.parents[1]


def read(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def test_every_public_name_is_documented() -> None:
    text = read("docs", "python.md")
    assert [name for name in epochal.__all__ if f"`epochal.{name}" not in text and f"`{name}" not in text] == []


def test_every_public_name_has_a_docstring() -> None:
    undocumented = [n for n in epochal.__all__ if callable(getattr(epochal, n)) and not getattr(epochal, n).__doc__]
    assert undocumented == []


def test_every_route_is_documented() -> None:
    routes = json.loads(read("web", "src", "wire", "openapi.json"))["paths"]
    text = read("docs", "server.md")
    missing = [
        f"{method.upper()} {path}"
        for path, methods in routes.items()
        for method in methods
        if f"{method.upper()} {path}" not in text
    ]
    assert missing == []


def help_text(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "epochal", *words, "--help"], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    "verb", ["demo", "view", "serve", "ls", "show", "lens", "lab", "export", "push", "repair", "gc", "doctor"]
)
def test_every_verb_is_documented_and_its_help_has_an_example(verb: str) -> None:
    assert re.search(rf"^## epochal {verb}\b", read("docs", "cli.md"), re.MULTILINE)
    text = help_text(verb)
    assert f"epochal {verb}" in text
    assert "xample" in text
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--help", "--version"}
    section = re.split(r"^## ", read("docs", "cli.md"), flags=re.MULTILINE)
    ours = next(s for s in section if s.startswith(f"epochal {verb}"))
    undocumented = sorted(o for o in options if o not in ours and o.replace("--no-", "--") not in ours)
    assert undocumented == []


def test_the_list_of_verbs_is_whole() -> None:
    listed = set(re.findall(r"^## epochal (\w+)", read("docs", "cli.md"), re.MULTILINE))
    text = help_text()
    assert {verb for verb in listed if not re.search(rf"\b{verb}\b", text)} == set()


def test_every_environment_variable_is_documented() -> None:
    used = {
        name
        for path in PACKAGE.rglob("*.py")
        for name in re.findall(r"[\"'](EPOCHAL_[A-Z_]+)[\"']", path.read_text(encoding="utf-8"))
    }
    docs = read("docs", "cli.md") + read("docs", "python.md")
    assert {name for name in used if name not in docs} == set()


def test_the_map_shows_the_rooms() -> None:
    rows = re.findall(r"^\| `([\w_]+)` \|.*\| ([^|]+) \|$", read("ARCHITECTURE.md"), re.MULTILINE)
    mapped = {room: {r.strip() for r in arrows.split(",")} - {"-"} for room, arrows in rows}
    rooms = set(ARROWS) - {"_version", "__main__"}
    assert set(mapped) == rooms
    for room in rooms - {"cli"}:
        assert mapped[room] | {"errors"} == ARROWS[room] | {"errors"}, room


def test_links_in_the_documents_lead_somewhere() -> None:
    broken = []
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "web" / "README.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
            if "://" not in target and not (document.parent / target).exists():
                broken.append(f"{document.relative_to(ROOT)}: {target}")
    assert broken == []


def test_the_python_in_the_documents_is_python() -> None:
    for document in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for block in re.findall(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
            compile(block, str(document), "exec")
