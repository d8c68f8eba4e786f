"""What the wire says of labs, held against its own description and against what the lab is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal.errors import UsageError
from epochal.facts.lab import LabInfo
from epochal.store.library import Library
from epochal.wire import frames
from epochal.wire.answer import Wire
from epochal.wire.paths import path_of
from epochal.wire.schema_lab import EffectsDocument, ImportanceDocument, LabCurvesHeader, LabDocument, LabTable
from tests.labs import TRACEBACK, make_lab


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Wire, LabInfo, str]:
    root: Path = tmp_path_factory.mktemp("labs")
    info = make_lab(root)
    return Wire(Library(root)), info, f"{info.project}/{info.id}"


def ask(wire: Wire, path: str) -> Any:
    return json.loads(wire.answer(*[*path.split("?"), ""][:2]).body)


def test_the_list_of_labs(asked: tuple[Wire, LabInfo, str]) -> None:
    wire, info, path = asked
    document = ask(wire, path_of("labs"))
    LabTable.model_validate(document)
    (row,) = document["labs"]
    assert (row["id"], row["trials"], row["counts"]["finished"], row["objective"]) == (path, 16, 15, info.objective)
    assert row["best"] == pytest.approx(0.92, abs=0.01)


def test_a_lab_with_its_trials(asked: tuple[Wire, LabInfo, str]) -> None:
    wire, _, path = asked
    document = ask(wire, path_of("lab", path))
    LabDocument.model_validate(document)
    assert document["parameters"] == ["dropout", "filters", "lr"]
    assert document["curves"][0] == {"name": "accuracy", "train": "train/accuracy", "validation": "val/accuracy"}
    first, last = document["trials"][0], document["trials"][-1]
    assert first["run"].startswith("small/")
    assert first["parameters"] == {"dropout": 0.2, "filters": [8, 16], "lr": 0.1}
    assert (last["status"], last["traceback"]) == ("failed", TRACEBACK)
    assert wire.answer(path_of("run", first["run"])).body


def test_effects_with_their_sentences(asked: tuple[Wire, LabInfo, str]) -> None:
    wire, _, path = asked
    document = ask(wire, path_of("lab/effects", path))
    EffectsDocument.model_validate(document)
    found = {effect["parameter"]: effect for effect in document["effects"]}
    assert list(found) == ["lr", "dropout", "filters"]
    assert found["dropout"]["largest"]["estimate"] == pytest.approx(0.04, abs=0.008)
    assert found["dropout"]["sentence"].startswith("dropout 0.5 → 0.2: +")
    assert "95 % CI [" in found["dropout"]["sentence"]
    assert document["notes"] == ["1 trial failed: left out here"]
    assert document["spread"]["share"] > 0.9
    of_loss = ask(wire, path_of("lab/effects", path, metric="val_loss"))
    assert of_loss["mode"] == "min"
    assert {e["parameter"]: e for e in of_loss["effects"]}["lr"]["largest"]["estimate"] < 0
    with pytest.raises(UsageError, match="has the metric 'nothing'"):
        ask(wire, path_of("lab/effects", path, metric="nothing"))


def test_a_second_opinion(asked: tuple[Wire, LabInfo, str]) -> None:
    pytest.importorskip("optuna", reason="Optuna is the second opinion")
    pytest.importorskip("sklearn", reason="its evaluators need scikit-learn")
    wire, _, path = asked
    document = ask(wire, path_of("lab/importance", path))
    ImportanceDocument.model_validate(document)
    assert next(iter(document["importance"])) == "lr"


def test_curves_of_all_trials(asked: tuple[Wire, LabInfo, str]) -> None:
    wire, _, path = asked
    names = ("train/loss", "val/loss")
    found = wire.answer(*path_of("lab/curves", path, name=names).split("?"))
    header, arrays = frames.decode(found.body)
    LabCurvesHeader.model_validate(header)
    assert header["names"] == list(names)
    assert arrays["length"].tolist() == [8] * 30 + [2] * 2
    assert len(arrays["values"]) == arrays["length"].sum()
    assert np.array_equal(arrays["epochs"][:8], np.arange(1, 9))
    some = frames.decode(wire.answer(*path_of("lab/curves", path, name=names, first=14, count=5).split("?")).body)[1]
    # A number too large to count to is answered as what there is, at once.
    every = wire.answer(*path_of("lab/curves", path, name=names, first=0, count=2**62).split("?"))
    assert every.body == found.body
    assert sorted(set(some["trial"].tolist())) == [14, 15]


def test_what_is_known_already_is_not_sent_again(asked: tuple[Wire, LabInfo, str]) -> None:
    wire, _, path = asked
    first = wire.answer(path_of("lab", path))
    again = wire.answer(path_of("lab", path), known_etags=first.etag)
    assert again.unchanged
    assert again.body == b""
