"""Values on the command line: listed, exported, swept."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import epochal as recorder
from tests.cli.command import epochal, json_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with recorder.init("p", dir=tmp_path / "runs", strict=True, system=False, console=False) as run:
        for step in range(3):
            pixels = np.full((6, 7), 40 * step, np.uint8)
            run.log({"loss": 1.0, "samples/x": [recorder.Image(pixels)] * 2, "one": recorder.Image(pixels)}, step=step)
            run.log({"voice\x1b[31m": recorder.Audio(np.zeros(10), 100)}, step=step)
    return tmp_path / "runs"


def test_show_lists_values_with_counts(folder: Path) -> None:
    text = epochal("show", "latest", "--dir", folder).stdout
    lines = [line.split() for line in text.splitlines()]
    assert ["samples/x", "image", "6", "0", "to", "2"] in lines
    assert ["one", "image", "3", "0", "to", "2"] in lines
    assert "\x1b" not in text, "names do not steer the terminal"
    told = json_of("show", "latest", "--dir", folder)
    assert told["media"]["samples/x"] == {"kinds": ["image"], "count": 6, "steps": 3}


def test_export_by_name(folder: Path, tmp_path: Path) -> None:
    for file, frames in (("a.gif", 3), ("a.png", 1)):
        told = json_of("export", "latest", "--what", "one", "--to", tmp_path / file, "--dir", folder)
        assert (told["what"], told["frames"]) == ("one", frames)
        with Image.open(tmp_path / file) as picture:
            assert getattr(picture, "n_frames", 1) == frames
    done = epochal("export", "latest", "--what", "onne", "--to", tmp_path / "b.png", "--dir", folder)
    assert done.returncode == 2
    assert "Did you mean one" in done.stderr


def test_gc_removes_what_no_value_names(folder: Path) -> None:
    (blobs,) = folder.glob("p/*/w/*/media/blobs")
    orphan = blobs / f"{hashlib.sha256(b'x').hexdigest()}.png"
    orphan.write_bytes(b"x")
    before = sorted(blobs.iterdir())
    dry = json_of("gc", "--dry-run", "--dir", folder)
    assert (dry["swept_files"], dry["swept_bytes"]) == (1, 1)
    assert sorted(blobs.iterdir()) == before
    assert "1 file that no logged value refers to removed" in epochal("gc", "--dir", folder).stdout
    assert sorted([*blobs.iterdir(), orphan]) == before
    assert json_of("gc", "--dir", folder)["swept_files"] == 0
    assert json_of("repair", "--dir", folder)[0]["damaged"] == 0
