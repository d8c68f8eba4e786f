from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.command import environment, epochal

ROOT = Path(__file__).parents[2]
LAB = '[lab]\nname = "rates"\ntrain = "mine:train"\n[parameters]\nepochs = 2\n[space]\nrate = [0.5, 0.25]\n'
TRAINING = """
def train(run, parameters, seed):
    if parameters["rate"] == 0:
        raise ValueError("a rate of nothing")
    for epoch in range(parameters["epochs"]):
        run.log({"train/loss": 1.0, "val/accuracy": parameters["rate"]}, step=epoch, epoch=epoch)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lab.toml").write_text(LAB)
    (tmp_path / "mine.py").write_text(TRAINING)
    return tmp_path


def test_a_lab_is_run_from_anywhere_and_told_as_json(folder: Path) -> None:
    done = epochal("lab", "run", folder / "lab.toml", "--dir", folder / "runs", "--json", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document) == {"lab", "trials"}
    keys = {"trial", "run", "status", "error", "seed", "parameters", "metrics", "seconds"}
    assert [set(trial) for trial in document["trials"]] == [keys] * 2
    assert document["trials"][0]["parameters"] == {"epochs": 2, "rate": 0.5}
    assert document["trials"][0]["metrics"]["val_accuracy"] == 0.5
    assert re.search(r"trial 0 finished after .* · val_accuracy 0.5000 · 1 of 2", done.stderr)


def test_people_are_told_the_best_and_what_failed(folder: Path) -> None:
    (folder / "lab.toml").write_text(LAB.replace("[0.5, 0.25]", "[0.25, 0, 0.5]"))
    done = epochal("lab", "run", "lab.toml", "--dir", "runs", cwd=folder)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("rates · 2 finished, 1 failed")
    assert [line.split()[0] for line in lines[3:5]] == ["2", "0"]
    assert lines[3].endswith("rate=0.5")
    assert "trial 1 failed: ValueError: a rate of nothing" in lines
    again = epochal("lab", "rerun", "rates", "failed", "--dir", "runs", "--json", cwd=folder)
    assert again.returncode == 0
    assert [trial["status"] for trial in json.loads(again.stdout)["trials"]] == ["finished", "failed", "finished"]
    assert "1 of 1" in again.stderr


def test_exit_codes(folder: Path) -> None:
    (folder / "bad.toml").write_text(LAB.replace("[0.5, 0.25]", "[0]"))
    assert epochal("lab", "run", "bad.toml", "--dir", "runs", cwd=folder).returncode == 1
    (folder / "wrong.toml").write_text(LAB.replace("name", "nmae"))
    done = epochal("lab", "run", "wrong.toml", cwd=folder)
    assert done.returncode == 2
    assert "wrong.toml, line 2: [lab] has no 'nmae'" in done.stderr
    assert "did you mean 'name'?" in done.stderr
    assert epochal("lab", "run", "nowhere.toml", cwd=folder).returncode == 1
    assert epochal("lab", "run", "lab.toml", "--only", "7", cwd=folder).returncode == 2
    assert epochal("lab", "rerun", "--dir", folder, cwd=folder).returncode == 1
    assert epochal("lab", cwd=folder).returncode == 2


def test_a_plan_trains_nothing(folder: Path) -> None:
    done = epochal("lab", "run", "lab.toml", "--plan", cwd=folder)
    assert done.stdout.splitlines()[1:] == ["    0     0  rate=0.5", "    1     0  rate=0.25", "all    epochs=2"]
    document = json.loads(epochal("lab", "run", "lab.toml", "--plan", "--json", cwd=folder).stdout)
    assert [trial["parameters"]["rate"] for trial in document["trials"]] == [0.5, 0.25]
    assert not (folder / "epochal-runs").exists()


@pytest.mark.parametrize("verb", ["run", "rerun"])
def test_every_option_is_documented_and_help_has_an_example(verb: str) -> None:
    text = epochal("lab", verb, "--help", env=environment(COLUMNS="100")).stdout
    assert f"epochal lab {verb}" in text
    assert "examples:" in text
    section = (ROOT / "docs" / "cli.md").read_text().split("## epochal lab")[1].split("\n## ")[0]
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--help"}
    assert {option for option in options if option not in section} == set()
