"""Reading a lab.toml: what it says, and at which line it says what cannot be."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from epochal.errors import NotFoundError, UsageError
from epochal.lab.settings import LabSettings, settings_of

__all__ = ["parse_lab", "read_lab_file"]

SIZE_LIMIT = 16_000_000


def read_lab_file(path: str | os.PathLike[str]) -> LabSettings:
    """The settings of a lab.toml. Raises NotFoundError, and UsageError that names the file and the line."""
    file = Path(path)
    try:
        if file.stat().st_size > SIZE_LIMIT:
            raise UsageError(f"{file} is larger than {SIZE_LIMIT // 1_000_000} MB: that is no lab.toml")
        text = file.read_text(encoding="utf-8")
    except IsADirectoryError:
        raise UsageError(f"{file} is a folder", hint=f"name the file in it: {file / 'lab.toml'}") from None
    except FileNotFoundError:
        near = sorted(p.name for p in file.parent.glob("*.toml")) if file.parent.is_dir() else []
        hint = f"there is: {', '.join(near[:6])}" if near else "epochal lab run --help shows one"
        raise NotFoundError(f"There is no file {file}", hint=hint) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is no text: {error.reason} at byte {error.start}") from None
    return parse_lab(text, name=str(file))


def parse_lab(text: str, *, name: str = "lab.toml") -> LabSettings:
    """The settings in the text of a lab.toml; `name` is the file that errors name."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name}: {error}", hint="texts stand in quotes, tables begin with [name]") from None
    stem = Path(name).stem
    return settings_of(document, locate=_locator(text, name), source=text, name="" if stem == "lab" else stem)


def _locator(text: str, name: str) -> Callable[..., str]:
    lines = text.splitlines()

    def locate(table: str = "", key: str = "") -> str:
        number = _line_of(lines, table, key)
        return f"{name}, line {number}: " if number else f"{name}: "

    return locate


def _line_of(lines: list[str], table: str, key: str) -> int | None:
    """The line of a key below its table's header, otherwise of the header; None where neither is found."""
    if not table:
        return None
    own = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]") if key else None
    # A table may also be written in one line, `space = { ... }`, or key by key, `lab.name = ...`.
    short = re.compile(rf"\s*[\"']?{re.escape(table)}[\"']?\s*(?:=|\.\s*{re.escape(key)}\s*=)")
    inside, header = False, None
    for number, line in enumerate(lines, start=1):
        if found := re.match(r"\s*\[{1,2}\s*([^\[\]]+?)\s*\]{1,2}\s*(?:#.*)?$", line):
            title = found[1].strip("\"' ")
            if key and title == f"{table}.{key}":
                return number
            inside = title == table
            header = number if inside and header is None else header
        elif (inside and own and own.match(line)) or (not inside and header is None and short.match(line)):
            return number
    return header
