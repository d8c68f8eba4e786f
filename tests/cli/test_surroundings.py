"""What `epochal show` and `epochal ls` tell of what was around a training."""

from __future__ import annotations

import json
from pathlib import Path

import epochal as package
from tests.cli.command import epochal, json_of


def record(root: Path, *, training: bool) -> None:
    with package.init("p", name="first", dir=root, system=False) as run:
        print("loading\x1b[31m data")
        assert run._writer is not None
        run._writer.log(
            {"system/cpu": 40.0, "system/gpu0/power": 250.0, "a": 0.0} if training else {"system/cpu": 1.0}, 0
        )
        if training:
            run.log({"zeta": 3.0, "loss": 2.0}, step=5)
            run.alert("loss is high", "why?", level="warning")
        run._writer.log({"system/cpu": 60.0}, 9)


def test_show_tells_of_machine_and_alerts_behind_the_metrics(tmp_path: Path) -> None:
    record(tmp_path, training=True)
    lines = epochal("show", "latest", "--dir", tmp_path).stdout.splitlines()
    heads = [line.split()[0] for line in lines if line]
    assert heads.index("metric") < heads.index("zeta") < heads.index("machine") < heads.index("cpu")
    (cpu,) = [line.split() for line in lines if line.startswith("cpu ")]
    assert [float(word) for word in cpu[1:5]] == [60.0, 50.0, 40.0, 60.0]
    assert cpu[5] == "%"
    assert any(line.startswith("gpu0/power ") and line.endswith(" W") for line in lines)
    assert "alert  warning: loss is high (step 5)" in lines
    told = json_of("show", "latest", "--dir", tmp_path)
    assert set(told["metrics"]) == {"a", "zeta", "loss"}
    assert told["machine"]["system/cpu"] == {"unit": "%", "last": 60.0, "mean": 50.0, "min": 40.0, "max": 60.0, "n": 2}
    assert [(a["title"], a["text"], a["step"]) for a in told["alerts"]] == [("loss is high", "why?", 5)]
    assert told["last_step"] == 5
    assert not any("system" in key for key in told)
    assert "loss 2" in epochal("ls", "--dir", tmp_path).stdout


def test_a_run_of_the_machine_alone_has_logged_nothing(tmp_path: Path) -> None:
    record(tmp_path, training=False)
    assert "No numbers were logged." in epochal("show", "latest", "--dir", tmp_path).stdout
    (row,) = json_of("ls", "--dir", tmp_path)
    assert (row["metrics"], row["last_step"]) == ({}, None)
    assert "cpu" not in epochal("ls", "--dir", tmp_path).stdout


def test_show_the_console(tmp_path: Path) -> None:
    record(tmp_path, training=True)
    assert epochal("show", "latest", "--console", "--dir", tmp_path).stdout.splitlines() == [
        "loading data",
        "epochal warning: loss is high (step 5): why?",
    ]
    first = json_of("show", "latest", "--console", "--dir", tmp_path)[0]
    assert (first["stream"], first["text"], first["step"]) == ("stdout", "loading data", None)
    (file,) = tmp_path.glob("p/*/w/*/console.jsonl")
    file.write_text(json.dumps({"t": 1, "step": 0, "stream": "stdout", "text": "\x1b[2Jcleared"}) + "\n")
    assert "\x1b" not in epochal("show", "latest", "--console", "--dir", tmp_path).stdout
