"""Verbs on a recorded run, each in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from epochal.cli.main import main
from epochal.record import init
from epochal.store import Library
from epochal.wire.answer import Wire
from epochal.wire.documents import row_document
from tests.cli.command import environment, epochal, going, json_of
from tests.workspace.recording import Recorded, record


def test_ls_lists_newest_first_and_filters(recorded: Recorded) -> None:
    record(recorded.root, project="wine", name="second", epochs=2).writer.finish()
    rows = json_of("ls", "--dir", recorded.root)
    assert {row["project"] for row in rows} == {"iris", "wine"}
    assert [row["id"] for row in rows] == sorted(
        (row["id"] for row in rows), key=lambda i: i.split("/")[1], reverse=True
    )
    assert rows[0]["metrics"]["accuracy"]["better"] == "max"
    assert [row["name"] for row in json_of("ls", "project = wine", "--dir", recorded.root)] == ["second"]
    assert len(json_of("ls", "-n", "1", "--dir", recorded.root)) == 1
    text = epochal("ls", "--dir", recorded.root).stdout
    assert "iris-12" in text
    assert "val_loss 0.1000" in text
    assert "\x1b" not in text
    assert epochal("ls", "-n", "0", "--dir", recorded.root).returncode == 2


def test_ls_of_an_empty_folder_says_so(tmp_path: Path) -> None:
    done = epochal("ls", "--dir", tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "no runs" in done.stderr
    assert json_of("ls", "--dir", tmp_path) == []


def test_the_environment_names_the_folder(recorded: Recorded) -> None:
    assert len(json_of("ls", env=environment(EPOCHAL_DIR=str(recorded.root)))) == 1


def test_show_tells_parents_and_ranks(tmp_path: Path) -> None:
    for rank in (0, 1):
        with init("p", dir=tmp_path, id="first", rank=rank, world_size=2, system=False) as run:
            run.log({"loss": 1.0}, step=7)
    init("p", dir=tmp_path, name="second", fork="first@7", system=False).finish()
    told = json_of("show", "latest", "--dir", tmp_path)
    assert (told["parent"], told["parent_step"], told["ranks"]) == ("p/first", 7, 1)
    assert "\nparent p/first@7\n" in epochal("show", "latest", "--dir", tmp_path).stdout
    text = epochal("show", "first", "--dir", tmp_path).stdout
    assert " · 2 ranks" in text
    assert "\nparent " not in text
    (row,) = [r for r in Wire(Library(tmp_path)).table.refresh()[0] if r.info.parent]
    assert row_document(row)["parent_step"] == 7


def test_show_tells_last_best_and_where(recorded: Recorded) -> None:
    told = json_of("show", "latest", "--dir", recorded.root)
    assert told["run_id"] == recorded.writer.run_id
    assert told["path"] == str(recorded.writer.path)
    assert told["status"] == "finished"
    assert told["parameters"] == 99
    assert told["val_loss"] == 0.1
    assert told["best_val_loss"] == 0.1
    assert told["best_epoch"] == 4
    assert told["best_accuracy"] == 0.8
    assert told["metrics"]["val_loss"]["nan"] == 1
    assert told["metrics"]["loss"] == {
        "last": 0.2, "last_step": 40, "best": 0.2, "best_step": 40, "best_epoch": 4, "better": "min",
        "n": 5, "nan": 0, "inf": 0,
    }  # fmt: skip
    text = epochal("show", "iris/iris-12", "--dir", recorded.root).stdout
    assert "99 parameters" in text
    assert "2 not finite" in text
    assert str(recorded.writer.path) in text


def test_show_the_network(recorded: Recorded) -> None:
    told = json_of("show", "latest", "--network", "--dir", recorded.root)
    assert told["parameter_count"] == 99
    assert [layer["layer_id"] for layer in told["layers"]] == ["0", "2"]
    assert (told["bytes"], told["skips"], told["multiply_adds"]) == (4 * 99, [], None)
    text = epochal("show", "latest", "--network", "--dir", recorded.root).stdout
    assert "Linear" in text
    assert "99 parameters (396 B with buffers)" in text
    assert "multiply-adds" not in text, "they are not known of this network"


def test_the_table_of_a_network_has_its_totals(tmp_path: Path) -> None:
    json_of("demo", "iris", "--hidden", "12", "--epochs", "1", "--no-view", "--dir", tmp_path)
    told = json_of("show", "latest", "--network", "--dir", tmp_path)
    assert told["multiply_adds"] == 4 * 12 + 12 * 3
    lines = epochal("show", "latest", "--network", "--dir", tmp_path).stdout.splitlines()
    head = next(line for line in lines if "multiply-adds" in line)
    first = next(line for line in lines if "layers.0 " in line)
    at = head.index("multiply-adds") + len("multiply-adds")
    assert first[:at].split()[-2:] == ["60", "48"]
    assert "84 multiply-adds in the forward pass of one example" in lines


def test_a_run_that_is_not_there_names_near_ones(recorded: Recorded) -> None:
    done = epochal("show", "iris-13", "--dir", recorded.root)
    assert done.returncode == 1
    assert "iris-12" in done.stderr


def test_export_writes_the_file_and_says_what_is_in_it(recorded: Recorded, tmp_path: Path) -> None:
    told = json_of("export", "latest", "--to", tmp_path / "w.gif", "--steps", "0:40:20", "--dir", recorded.root)
    assert (told["what"], told["format"], told["frames"]) == ("weights", "gif", 3)
    with Image.open(told["path"]) as image:
        assert getattr(image, "n_frames", 1) == 3
    done = epochal("export", "latest", "--what", "scalars", "--to", tmp_path / "s.csv", "--dir", recorded.root)
    assert done.returncode == 0
    assert "scalars of iris-12" in done.stdout
    assert len(pd.read_csv(tmp_path / "s.csv")) == 15
    done = epochal("export", "latest", "--what", "scalars", "--to", tmp_path / "s.png", "--dir", recorded.root)
    assert "2 values are not finite" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "a.xyz"], "gif, mp4, png"),
        (["--to", "a.gif", "--steps", "sometimes"], "Allowed"),
        (["--to", "a.gif", "--layers", "nine"], "Layers: 0, 2"),
        (["--to", "a.gif", "--size", "large"], "800x600"),
        (["--to", "a.gif", "--what", "weight"], "Did you mean weights"),
        (["--to", "a.gif", "--cmap", "jet"], "diverging"),
        (["--to", "nowhere/a.gif"], "no folder"),
    ],
)
def test_export_names_what_is_allowed(
    recorded: Recorded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "latest", *options, "--dir", str(recorded.root)]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""
    assert not [p for p in tmp_path.iterdir() if p.is_file()]


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        body: bytes = answer.read()
        return body


def test_view_serves_until_interrupted(recorded: Recorded) -> None:
    with going("view", recorded.root, "--port", "0", "--no-open") as view:
        url = view.wait_for("Studio").split()[-1]
        assert url.startswith("http://127.0.0.1:")
        runs = json.loads(fetch(url + "api/v1/runs"))["runs"]
        assert [run["id"] for run in runs] == [recorded.id]
        assert view.interrupt() == 0
    assert not any("Traceback" in line for line in view.said)


def test_a_port_in_use_is_said_and_another_taken(recorded: Recorded) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with going("view", "--dir", recorded.root, "--port", str(port), "--no-open") as view:
            said = view.wait_for("is in use")
            url = view.wait_for("Studio").split()[-1]
            assert str(port) in said
            assert f":{port}/" not in url
            fetch(url + "api/v1/runs")
            view.interrupt()


def test_serve_beyond_this_machine_demands_a_token(recorded: Recorded) -> None:
    with going("serve", "--dir", recorded.root, "--host", "0.0.0.0", "--port", "0") as serve:
        url = serve.wait_for("Studio").split()[-1]
        assert "?token=" in url
        serve.interrupt()


@pytest.mark.parametrize(
    ("content", "words", "hint"),
    [
        ("garbage", "run.json is not JSON: Expecting value", "restore it from a copy, or delete the run"),
        ('{"format_version": 99}', "has format version 99, this Epochal reads up to 1", "upgrade it"),
        ("{}", "says format_version None", ""),
    ],
)
def test_repair_says_what_it_cannot_mend_and_leaves_it(tmp_path: Path, content: str, words: str, hint: str) -> None:
    for name in ("broken", "whole"):
        with init("p", dir=tmp_path, id=name, system=False) as run:
            run.log({"loss": 1.0})
    file = tmp_path / "p" / "broken" / "run.json"
    file.write_text(content)
    before = {path: path.read_bytes() for path in file.parent.rglob("*") if path.is_file()}
    done = epochal("repair", "--dir", tmp_path)
    assert (done.returncode, done.stdout) == (1, "1 run, nothing to mend.\n")
    assert "note: p/broken cannot be mended: " in done.stderr
    assert words in done.stderr
    assert done.stderr.count("hint:") == (1 if hint else 0)
    assert hint in done.stderr
    assert {path: path.read_bytes() for path in file.parent.rglob("*") if path.is_file()} == before
    listed = epochal("ls", "--dir", tmp_path).stderr
    assert words in listed
    assert listed.count("hint:") == (1 if hint else 0)
    done = epochal("repair", "p/broken", "--json", "--dir", tmp_path)
    assert done.returncode == 1
    assert words in json.loads(done.stdout)[0]["trouble"]


def test_a_run_that_says_it_began_at_no_time_at_all_is_listed_too(tmp_path: Path) -> None:
    for run_id, created in (("sound", 1e9), ("odd", 1e300)):
        (tmp_path / "p" / run_id).mkdir(parents=True)
        (tmp_path / "p" / run_id / "run.json").write_text(
            json.dumps({"format_version": 1, "id": run_id, "project": "p", "name": run_id, "created": created})
        )
    said = epochal("ls", "--dir", tmp_path)
    assert said.returncode == 0, said.stderr
    assert "sound" in said.stdout
    assert "odd" in said.stdout


def test_repair_mends_a_run_whose_process_was_killed(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from epochal.store import RunWriter\n"
        "w = RunWriter.create(sys.argv[1], project='p')\n"
        "for i in range(100): w.log({'loss': i}, i)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment(), check=False)
    assert json_of("ls", "--dir", tmp_path)[0]["status"] == "crashed"
    (told,) = json_of("repair", "--dir", tmp_path)
    assert told["folded"] > 0
    assert json_of("show", "latest", "--dir", tmp_path)["metrics"]["loss"]["n"] == 100
    assert "nothing to mend" in epochal("repair", "--dir", tmp_path).stdout


def test_gc_compacts_and_empties_the_trash_only_when_asked(recorded: Recorded) -> None:
    from epochal.store import Library

    victim = record(recorded.root, name="victim", epochs=2)
    victim.writer.finish()
    library = Library(recorded.root)
    library.delete(library.run("victim"))
    trash = recorded.root / ".trash" / "iris" / victim.writer.run_id
    dry = json_of("gc", "--trash", "--dry-run", "--dir", recorded.root)
    assert (dry["runs"], dry["trash"], dry["compacted"]) == (1, [victim.writer.run_id], 0)
    told = json_of("gc", "--dir", recorded.root)
    assert told["compacted"] == 1
    assert list(recorded.writer.path.glob("compact/*.parquet"))
    assert json_of("show", "latest", "--dir", recorded.root)["metrics"]["loss"]["n"] == 5
    assert trash.is_dir()
    assert json_of("gc", "--trash", "--older-than", "1", "--dir", recorded.root)["trash"] == []
    assert json_of("gc", "--trash", "--dir", recorded.root)["trash"] == [victim.writer.run_id]
    assert not trash.exists()
    assert epochal("gc", "--older-than", "3", "--dir", recorded.root).returncode == 2


def test_doctor_looks_at_everything(tmp_path: Path) -> None:
    done = epochal("doctor", "--json", "--dir", tmp_path)
    found = {f["name"]: f for f in json.loads(done.stdout)["findings"]}
    assert {"epochal", "python", "numpy", "studio", "folder", "disk", "port", "browser"} <= set(found)
    assert found["numpy"]["state"] == "good"
    assert json.loads(done.stdout)["healthy"] == (done.returncode == 0)
    assert "numpy" in epochal("doctor", "--dir", tmp_path).stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_doctor_finds_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = epochal("doctor", "--dir", tmp_path / "runs")
    assert done.returncode == 1
    assert "cannot be written" in done.stdout


def test_a_run_that_cannot_be_read_is_said_and_the_others_are_served(recorded: Recorded) -> None:
    damaged = record(recorded.root, project="wine", epochs=1)
    damaged.writer.finish()
    (Path(damaged.writer.path) / "run.json").write_text("garbage")
    done = epochal("ls", "--dir", recorded.root)
    assert (done.returncode, "iris-12" in done.stdout) == (0, True)
    assert "run.json is not JSON" in done.stderr
    done = epochal("gc", "--dir", recorded.root)
    assert done.returncode == 0
    assert "run.json is not JSON" in done.stderr


def test_a_damaged_graph_leaves_the_rest_readable(recorded: Recorded, tmp_path: Path) -> None:
    (graph,) = Path(recorded.writer.path).rglob("graph.json")
    graph.write_text("[1")
    assert "val_loss" in epochal("show", "latest", "--dir", recorded.root).stdout
    picture = tmp_path / "weights.png"
    assert epochal("export", "latest", "--to", picture, "--dir", recorded.root).returncode == 0
    assert picture.stat().st_size > 0
