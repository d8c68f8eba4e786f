"""The words of a run's tokens: where they are told, and inputs as people write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
from epochal.errors import UsageError
from epochal.store import StoredRun
from epochal.views.vocabulary import token_names, typed_input, vocabulary


def recorded(folder: Path, *, config: dict[str, Any] | None = None, file: Path | None = None) -> StoredRun:
    with epochal.init(project="words", dir=folder, config=config, strict=True) as run:
        run.log({"loss": 1.0}, step=0)
        if file is not None:
            run.keep_file(file)
    return epochal.open(folder).run("latest").stored


@pytest.mark.parametrize("told", [["a", "b"], "ab"])
def test_the_config_tells_them(tmp_path: Path, told: Any) -> None:
    assert vocabulary(recorded(tmp_path, config={"vocabulary": told})) == ("a", "b")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vocab.txt", "the\ncat\n\nsat"),
        ("vocab.json", json.dumps({"cat": 1, "the": 0, "sat": 3})),
        (
            "tokenizer.json",
            json.dumps({"model": {"vocab": {"the": 0, "cat": 1}}, "added_tokens": [{"id": 3, "content": "sat"}]}),
        ),
        ("tokenizer.json", json.dumps({"model": {"vocab": [["the", 0.0], ["cat", -1.5], [], ["sat", -2]]}})),
    ],
)  # fmt: skip
def test_a_kept_file_tells_them(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    run = recorded(tmp_path / "runs", file=tmp_path / name)
    assert vocabulary(run) == ("the", "cat", "", "sat")
    assert token_names(vocabulary(run), np.array([0, 2, 3, 9])) == ["the", "2", "sat", "9"]


@pytest.mark.parametrize(
    "text", ["no json", "[1, 2]", '{"model": {"vocab": {"a": -1, "b": "x"}}}', "\x00" * 20, "[" * 10_000]
)
def test_a_file_that_tells_nothing_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    assert vocabulary(recorded(tmp_path / "runs", file=tmp_path / "tokenizer.json")) == ()


def test_what_is_written_becomes_an_input() -> None:
    words = ("<pad>", "▁the", "cat", "5")
    np.testing.assert_array_equal(typed_input("the  cat\n<pad>", words, (3,)), [1, 2, 0])
    np.testing.assert_array_equal(typed_input("5 1 ▁the", words, (3,)), [3, 1, 1])  # a word comes before a number
    np.testing.assert_array_equal(typed_input("a b", ("a", "b", " "), (3,)), [0, 2, 1])
    np.testing.assert_array_equal(typed_input("1 0 2", ("a", "b", " "), (3,)), [1, 0, 2])
    np.testing.assert_array_equal(typed_input("1.5, -2 3 4", (), (2, 2)), [[1.5, -2], [3, 4]])
    for text, known, shape, said in (
        ("the dog", words, (2,), "'dog' is not in the vocabulary"), ("1 2", (), (3,), "takes 3 numbers or tokens"),
        ("one two", (), (2,), "no list of numbers"), ("nan 1", (), (2,), "finite"), ("", words, (2,), "these are 0"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            typed_input(text, known, shape)
