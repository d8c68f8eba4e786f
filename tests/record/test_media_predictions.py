"""Predictions and embeddings: what a reader needs of each example, and nothing twice."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load as load_tensors

from epochal.errors import UsageError
from epochal.record.media import Embedding, Encoded, Image, Predictions
from epochal.record.media.pictured import ExampleBatch, are_pictures, examples_of
from epochal.record.media.value import Blob

RNG = np.random.default_rng(3)


def shares(n: int, classes: int) -> Any:
    return RNG.dirichlet(np.ones(classes), n)


def metadata(encoded: Encoded | Blob, tmp_path: Any) -> dict[str, str]:
    path = tmp_path / "x.safetensors"
    path.write_bytes(encoded.data)
    with safe_open(path, "np") as file:
        return dict(file.metadata())


def test_everything_is_in_the_file(tmp_path: Any) -> None:
    p = shares(5, 3)
    labels = [0, 2, 1, 1, 0]
    encoded = Predictions(
        RNG.random((5, 4)), labels=labels, probabilities=p, class_names=["a", "b", "c"], ids=["i1", "i2", "3", "4", "5"]
    ).encode()
    np.testing.assert_array_equal(load_tensors(encoded.data)["probabilities"], p.astype(np.float32))
    truth, inputs = encoded.blobs
    assert encoded.meta["truth_blob"] == truth.name
    assert load_tensors(truth.data)["labels"].tolist() == labels
    said = metadata(truth, tmp_path)
    assert json.loads(said["class_names"]) == ["a", "b", "c"]
    assert json.loads(said["ids"]) == ["i1", "i2", "3", "4", "5"]
    assert encoded.meta["examples"] == 5
    assert encoded.meta["accuracy"] == np.mean(p.argmax(axis=1) == labels)
    assert encoded.meta["inputs"] == "numbers"
    assert encoded.meta["inputs_blob"] == inputs.name
    assert load_tensors(inputs.data)["inputs"].dtype == np.float32


def test_the_same_inputs_are_the_same_blob() -> None:
    x = RNG.random((5, 28, 28))
    first = Predictions(x, labels=None, probabilities=shares(5, 3)).encode()
    second = Predictions(x.copy(), labels=None, probabilities=shares(5, 3)).encode()
    assert first.blobs[0].name == second.blobs[0].name
    assert first.data != second.data


def test_what_stays_the_same_is_written_once() -> None:
    """The right answers are a file of their own, which two steps share; nothing of it is in a step's file."""
    first = Predictions(labels=[0, 1, 2], probabilities=shares(3, 3), class_names=list("abc"), ids=[7, 8, 9]).encode()
    second = Predictions(labels=[0, 1, 2], probabilities=shares(3, 3), class_names=list("abc"), ids=[7, 8, 9]).encode()
    other = Predictions(labels=[0, 2, 2], probabilities=shares(3, 3), class_names=list("abc"), ids=[7, 8, 9]).encode()
    assert first.meta["truth_blob"] == second.meta["truth_blob"] != other.meta["truth_blob"]
    assert list(load_tensors(first.data)) == ["probabilities"]
    assert load_tensors(first.blobs[0].data)["ids"].tolist() == [7, 8, 9]
    assert Predictions(probabilities=shares(3, 3)).encode().blobs == ()


def test_the_same_examples_are_recognised_value_by_value() -> None:
    x = RNG.random((5, 8, 8)).astype(np.float32)
    x[0, 0, 0] = np.nan
    batch = examples_of(x, 5, "inputs")
    assert batch.same(x)
    assert batch.same(x.copy())
    assert examples_of(x.copy(), 5, "inputs", known=batch) is batch
    assert not batch.same(x.astype(np.float64))
    assert not batch.same(x[:4])
    assert not batch.same(["a"] * 5)
    before = batch.pack()[0]
    assert batch.pack()[0] is before
    assert batch.waiting_nbytes == 0
    x[1, 2, 3] += 1  # what is recorded is a copy
    assert not batch.same(x)
    again = examples_of(x, 5, "inputs", known=batch)
    assert again is not batch
    assert again.pack()[0].name != before.name
    with pytest.raises(UsageError, match="inputs are 5, expected 4"):
        examples_of(batch, 4, "inputs")


def test_texts_are_kept_as_texts() -> None:
    words = ["good", "bad \u2603 & <b>", ""]
    encoded = Predictions(words, labels=[0, 1, 1], probabilities=shares(3, 2)).encode()
    inputs = encoded.blobs[-1]
    assert json.loads(inputs.data) == words
    assert inputs.name == encoded.meta["inputs_blob"]
    assert inputs.name.endswith(".json")
    assert encoded.meta["inputs"] == "texts"
    assert isinstance(examples_of(np.array(words), 3, "inputs"), ExampleBatch)
    with pytest.raises(UsageError, match="are 3 texts, expected 2"):
        Predictions(words, labels=[0, 1], probabilities=shares(2, 2))


def test_columns_have_names() -> None:
    encoded = Predictions(RNG.random((3, 2)), probabilities=shares(3, 2), feature_names=("length", "width")).encode()
    assert encoded.meta["feature_names"] == ["length", "width"]
    for inputs in (RNG.random((3, 4)), RNG.random((3, 2, 2)), None):
        with pytest.raises(UsageError, match="2 feature names for inputs"):
            Predictions(inputs, probabilities=shares(3, 2), feature_names=["length", "width"])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 28, 28), (5, 28, 28, 1)),
        ((5, 3, 8, 9), (5, 8, 9, 3)),
        ((5, 8, 9, 3), (5, 8, 9, 3)),
        ((5, 1, 8, 9), (5, 8, 9, 1)),
        ((5, 784), None),
        ((5,), None),
        ((5, 3, 2), None),
        ((5, 7, 8, 9), None),
        ((5, 2, 3, 8, 9), None),
        ((5, 3, 4, 3), None),
    ],
)
def test_pictures_are_told_from_other_inputs(shape: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    x = RNG.random(shape).astype(np.float32)
    assert are_pictures(x) == (expected is not None)
    encoded = Predictions(x, labels=None, probabilities=shares(5, 2)).encode()
    found = load_tensors(encoded.blobs[0].data)["inputs"]
    if expected is None:
        np.testing.assert_array_equal(found, x)
        assert encoded.meta["inputs"] == "numbers"
    else:
        assert found.shape == expected
        assert found.dtype == np.uint8
        laid = x[..., None] if x.ndim == 3 else x if shape[-1] == expected[-1] else x.transpose(0, 2, 3, 1)
        assert np.abs(found / 255 - laid).max() <= 0.5 / 255 + 1e-6
        assert encoded.meta["range"] == [0.0, 1.0]


def test_the_scale_of_pictures_is_kept() -> None:
    def made(x: Any) -> tuple[Any, Any]:
        encoded = Predictions(x, labels=None, probabilities=shares(len(x), 2)).encode()
        return load_tensors(encoded.blobs[0].data)["inputs"][..., 0], encoded.meta.get("range")

    pixels, scale = made(RNG.integers(0, 256, (3, 8, 8), np.uint8))
    assert scale is None
    normal = RNG.normal(size=(3, 8, 8))
    normal[0, 0, 0] = np.nan
    pixels, scale = made(normal)
    assert scale == pytest.approx([np.nanmin(normal), np.nanmax(normal)])
    back = pixels / 255 * (scale[1] - scale[0]) + scale[0]
    assert np.nanmax(np.abs(back - normal)) <= (scale[1] - scale[0]) / 255
    assert made(RNG.integers(0, 256, (3, 8, 8)).astype(np.int64))[1] == [0.0, 255.0]
    assert made(RNG.random((3, 8, 8)) > 0.5)[1] == [0.0, 1.0]
    assert made(np.full((3, 8, 8), 7.0))[0].max() == 0


def test_two_classes_may_be_given_as_one_number() -> None:
    for p in (np.array([0.25, 1.0]), np.array([[0.25], [1.0]])):
        found = load_tensors(Predictions(labels=[0, 1], probabilities=p).encode().data)
        assert found["probabilities"].tolist() == [[0.75, 0.25], [0.0, 1.0]]


def test_labels_may_be_names_or_one_hot() -> None:
    p = shares(3, 3)

    def labels_of(**more: Any) -> list[int]:
        truth = Predictions(probabilities=p, **more).encode().blobs[0]
        found: list[int] = load_tensors(truth.data)["labels"].tolist()
        return found

    assert labels_of(labels=["c", "a", "b"], class_names=["b", "a", "c"]) == [2, 1, 0]
    assert labels_of(labels=np.array(["c", "a", "b"])) == [2, 0, 1]
    assert labels_of(labels=np.eye(3)[[2, 0, 1]]) == [2, 0, 1]
    assert labels_of(labels=np.array([[2], [0], [1]])) == [2, 0, 1]
    assert labels_of(labels=[2.0, 0.0, 1.0]) == [2, 0, 1]


def test_rows_that_are_not_finite_are_kept_and_counted() -> None:
    p = shares(4, 3)
    p[1, 0] = np.nan
    encoded = Predictions(labels=p.argmax(axis=1), probabilities=p).encode()
    assert encoded.meta["nonfinite"] == 1
    assert encoded.meta["accuracy"] == 0.75
    assert np.isnan(load_tensors(encoded.data)["probabilities"][1, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probabilities": [[2.0, 3.0]]}, r"no probabilities(.|\n)*softmax"),
        ({"probabilities": [[-0.5, 1.5]]}, "no probabilities"),
        ({"probabilities": np.zeros((2, 2, 2))}, "probabilities have shape"),
        ({"probabilities": shares(3, 2), "labels": [0, 1]}, "expected one for each of 3"),
        ({"probabilities": shares(3, 2), "labels": [0, 1, 2]}, "labels are 0 to 2, there are 2 classes"),
        ({"probabilities": shares(3, 2), "labels": [0, 1, -1]}, "labels are -1"),
        ({"probabilities": shares(3, 2), "labels": ["a", "b", "c"], "class_names": ["a", "b"]}, "none of the class"),
        ({"probabilities": shares(3, 2), "labels": ["a", "a", "a"]}, "1 names, there are 2 classes"),
        ({"probabilities": shares(3, 2), "class_names": ["a"]}, "1 class names for 2"),
        ({"probabilities": shares(3, 2), "ids": [1, 2]}, "2 ids for 3"),
        ({"probabilities": shares(3, 2), "ids": [0.5, 1, 2]}, "ids are of"),
        ({"probabilities": shares(3, 2), "inputs": np.zeros((2, 4))}, "expected 3"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Predictions(**arguments)


def test_embeddings(tmp_path: Any) -> None:
    vectors = RNG.normal(size=(4, 6))
    pictures = RNG.integers(0, 256, (4, 5, 6, 3), np.uint8)
    encoded = Embedding(
        vectors, labels=["b", "a", "b", "b"], metadata={"n": [1, 2, 3, 4], "w": list("xyzw")}, images=pictures
    ).encode()
    found = load_tensors(encoded.data)
    np.testing.assert_array_equal(found["vectors"], vectors.astype(np.float32))
    assert found["labels"].tolist() == [1, 0, 1, 1]
    assert encoded.meta["class_names"] == ["a", "b"]
    blobs = {blob.name: blob for blob in encoded.blobs}
    table = json.loads(blobs[str(encoded.meta["metadata_blob"])].data)
    assert (table["columns"], table["rows"][2]) == (["n", "w"], [3, "z"])
    np.testing.assert_array_equal(load_tensors(blobs[str(encoded.meta["images_blob"])].data)["inputs"], pictures)
    listed = Embedding(vectors, images=[Image(p) for p in pictures]).encode()
    assert listed.blobs[0].name == encoded.meta["images_blob"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vectors": np.zeros(4)}, r"give \[N, D\]"),
        ({"vectors": np.zeros((0, 4))}, r"give \[N, D\]"),
        ({"vectors": np.zeros((3, 4)), "labels": [1, 2]}, "expected one for each of 3"),
        ({"vectors": np.zeros((3, 4)), "metadata": {"a": [1]}}, "metadata has 1 rows for 3"),
        ({"vectors": np.zeros((3, 4)), "images": np.zeros((2, 8, 8))}, "expected 3"),
        ({"vectors": np.zeros((3, 4)), "images": np.zeros((3, 8))}, "images have shape"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Embedding(**arguments)
