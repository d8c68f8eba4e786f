from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import epochal.workspace as reading
from tests.cli.command import environment, epochal, going, json_of

ENGINES = ["numpy", pytest.param("torch", marks=pytest.mark.torch)]


@pytest.mark.parametrize("engine", ENGINES)
def test_demo_prints_exactly_one_json_object(tmp_path: Path, engine: str) -> None:
    if engine == "torch":
        pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
    arguments: list[str | Path] = [
        "iris",
        "--hidden",
        "5",
        "4",
        "--epochs",
        "8",
        "--seed",
        "3",
        "--engine",
        engine,
        "--dir",
        tmp_path,
    ]
    done = epochal("demo", *arguments, "--no-view", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    told = json.loads(done.stdout)
    run = reading.open(tmp_path).run(told["run_id"])
    assert str(run.path) == told["path"]
    assert run.info.status == "finished"
    losses = run.film("val_loss")
    best = int(np.argmin(losses.frames))
    assert told["val_loss"] == losses.frames[-1]
    assert told["best_val_loss"] == losses.frames[best]
    assert losses.epochs is not None
    assert told["best_epoch"] == losses.epochs[best]
    assert told["metrics"]["val_loss"]["best"] == told["best_val_loss"]
    assert 0 <= told["test_accuracy"] <= 1
    assert told["parameters"] == (4 * 5 + 5) + (5 * 4 + 4) + (4 * 3 + 3)
    assert told["config"]["hidden"] == [5, 4]
    assert len(run.film("val_loss")) == len(run.steps("params")) == 9


def test_the_same_seed_is_the_same_training(tmp_path: Path) -> None:
    first, again, other = (
        json_of("demo", "--no-view", "--engine", "numpy", "--epochs", "5", "--seed", seed, "--dir", tmp_path)
        for seed in ("1", "1", "2")
    )
    assert first["val_loss"] == again["val_loss"] != other["val_loss"]
    assert first["run_id"] != again["run_id"]


def test_the_summary_for_people(tmp_path: Path) -> None:
    done = epochal("demo", "--no-view", "--engine", "numpy", "--epochs", "5", "--dir", tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("val_loss", "at epoch", "parameters", "finished", f"epochal view {tmp_path}", str(tmp_path)):
        assert words in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    rows = [f"{i % 7},{(i * 3) % 5},{'yes' if i % 2 else 'no'}" for i in range(60)]
    table = tmp_path / "t.csv"
    table.write_text("a,b,answer\n" + "\n".join(rows) + "\n")
    runs = tmp_path / "runs"
    told = json_of(
        "demo", "--data", table, "--target", "answer", "--no-view", "--epochs", "3", "--engine", "numpy", "--dir", runs
    )
    assert told["config"]["classes"] == ["no", "yes"]
    done = epochal("demo", "--data", table, "--target", "anwser", "--no-view", "--dir", tmp_path / "other")
    assert done.returncode == 2
    assert "answer" in done.stderr
    assert not (tmp_path / "other").exists()


def test_watching_serves_while_it_trains_and_stays_open(tmp_path: Path) -> None:
    options = ["--engine", "numpy", "--epochs", "20", "--pace", "0.1", "--no-open", "--port", "0"]
    with going("demo", *options, "--dir", tmp_path) as demo:
        url = demo.wait_for("Studio").split()[-1]
        base, _, place = url.partition("#")
        assert place.startswith("/weights?run=iris/")
        with urllib.request.urlopen(base + "api/v1/runs", timeout=20) as answer:
            (run,) = json.load(answer)["runs"]
        assert run["status"] == "running"
        assert run["id"] == place.partition("run=")[2]
        demo.wait_for("The Studio stays open")
        demo.wait_for("val_loss")
        with urllib.request.urlopen(base + "api/v1/runs", timeout=20) as answer:
            assert json.load(answer)["runs"][0]["status"] == "finished"
        assert demo.interrupt() == 0
    assert not any("Traceback" in line for line in demo.said)


def test_interrupting_the_training_keeps_what_was_recorded(tmp_path: Path) -> None:
    options = ["--engine", "numpy", "--epochs", "500", "--pace", "0.1", "--no-open", "--port", "0"]
    with going("demo", *options, "--dir", tmp_path) as demo:
        demo.wait_for("Studio")
        (run,) = reading.open(tmp_path).runs()
        until = time.monotonic() + 20
        while len(run.film("loss") if "loss" in run.series() else ()) < 3 and time.monotonic() < until:
            time.sleep(0.05)
        assert demo.interrupt() == 130
    assert any(str(run.path) in line for line in demo.said)
    assert not any("Traceback" in line for line in demo.said)
    assert run.info.status in ("stopped", "failed")
    assert len(run.film("loss")) >= 3


def test_the_default_pace_is_said(tmp_path: Path) -> None:
    with going("demo", "--engine", "numpy", "--epochs", "3", "--no-open", "--port", "0", "--dir", tmp_path) as demo:
        assert "slowed to about 2 s" in demo.wait_for("slowed")
        demo.wait_for("stays open")
        demo.interrupt()


@pytest.mark.torch
def test_volumes_made_of_digits_are_learnt(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    draw = np.random.default_rng(0)
    labels = draw.permutation(np.arange(72) % 3).astype(np.uint8)
    pictures = np.zeros((72, 28, 28), np.uint8)
    pictures[np.arange(72), 9 * labels.astype(int) + 4, 3:25] = 200
    np.savez(
        tmp_path / "mnist.npz", x_train=pictures[:60], y_train=labels[:60], x_test=pictures[60:], y_test=labels[60:]
    )
    arguments: list[str | Path] = [
        "mnist3d", "--filters", "3", "4", "--hidden", "8", "--epochs", "2", "--seed", "3", "--dir", tmp_path / "runs",
    ]  # fmt: skip
    home = environment(EPOCHAL_DATA=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    told, again = (json_of("demo", *arguments, "--no-view", env=home) for _ in range(2))
    assert (told["project"], told["name"]) == ("mnist3d", "mnist3d-3-4-8 seed 3")
    # (27 + 3) * 3 + (81 + 3) * 4 + (4 * 4**3 + 1) * 8 + 9 * 3
    assert told["parameters"] == 90 + 336 + 2056 + 27
    assert told["config"]["examples"] == {"training": 100, "validation": 20, "test": 24}
    assert told["val_accuracy"] == told["metrics"]["val/accuracy"]["last"]
    assert {"best_val_loss", "best_epoch", "test_accuracy", "train_loss"} <= set(told)
    assert told["val_loss"] == again["val_loss"]
    assert len(list((tmp_path / "cache" / "epochal").glob("mnist3d-*.npz"))) == 1
    run = reading.open(tmp_path / "runs").run(told["run_id"])
    assert run.network()(np.zeros((2, 16, 16, 16), np.float32)).shape == (2, 3)


@pytest.mark.torch
def test_volumes_of_the_original_file(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    h5py = pytest.importorskip("h5py", reason="needs h5py (epochal[h5])")
    draw = np.random.default_rng(0)
    with h5py.File(tmp_path / "full_dataset_vectors.h5", "w") as file:
        for part, n in (("train", 40), ("test", 10)):
            file[f"X_{part}"], file[f"y_{part}"] = draw.random((n, 4096)), np.arange(n) * 3 % 10
    short: list[str | Path] = ["--filters", "2", "--epochs", "1", "--no-view", "--dir", tmp_path / "runs"]
    told = json_of("demo", "mnist3d", "--data", tmp_path / "full_dataset_vectors.h5", *short)
    found = json_of("demo", "mnist3d", *short, env=environment(EPOCHAL_DATA=str(tmp_path)))
    assert told["config"]["data"] == found["config"]["data"] == str(tmp_path / "full_dataset_vectors.h5")
    assert told["config"]["examples"] == {"training": 34, "validation": 6, "test": 10}
    assert told["test_loss"] == found["test_loss"]


@pytest.mark.torch
@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["mnist3d", "--filters", "4", "4", "4", "4", "4"], "Stage 5 pools to nothing"),
        (["mnist3d", "--target", "y"], "--target is not an option of the demo 'mnist3d'"),
        (["mnist3d", "--activation", "rellu"], "Did you mean 'relu'"),
        (["iris", "--filters", "4"], "--filters is of the demo 'mnist3d'"),
        (["lab", "--hidden", "4"], "--hidden is not an option of the demo 'lab'"),
        (["lab", "--epochs", "0"], "epochs must be a whole number from 1"),
    ],
)
def test_what_volumes_cannot_be_learnt_with_is_said_first(options: list[str], why: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    digits = {f"{a}_{b}": np.zeros((9, 28, 28) if a == "x" else 9, np.uint8) for a in "xy" for b in ("train", "test")}
    np.savez(tmp_path / "mnist.npz", **(digits | {"y_train": np.arange(9).astype(np.uint8) % 2}))  # type: ignore[arg-type]
    home = environment(EPOCHAL_DATA=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    done = epochal("demo", *options, "--no-view", "--dir", tmp_path / "runs", env=home)
    assert done.returncode == 2, done.stderr
    assert why in done.stderr
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.slow
@pytest.mark.torch
def test_a_small_lab(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    pytest.importorskip("sklearn", reason="needs scikit-learn (epochal[sklearn])")
    draw = np.random.default_rng(0)
    labels = draw.permutation(np.arange(900) % 3).astype(np.uint8)
    pictures = np.zeros((900, 28, 28), np.uint8)
    pictures[np.arange(900), 9 * labels.astype(int) + 4, 3:25] = 200
    np.savez(
        tmp_path / "mnist.npz", x_train=pictures[:650], y_train=labels[:650], x_test=pictures[650:], y_test=labels[650:]
    )
    home = environment(EPOCHAL_DATA=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"), OMP_NUM_THREADS="1")
    told = json_of("demo", "lab", "--epochs", "1", "--no-view", "--dir", tmp_path / "runs", env=home)
    assert [trial["status"] for trial in told["trials"]] == ["finished"] * 8
    assert {trial["seed"] for trial in told["trials"]} == {0, 1}
    assert all(0 <= trial["metrics"]["val_accuracy"] <= 1 for trial in told["trials"])
    assert len(reading.open(tmp_path / "runs").runs()) == 8
