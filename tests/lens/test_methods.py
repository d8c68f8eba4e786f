"""The list of methods is true, and what they give becomes one picture."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from epochal.errors import NotFoundError, UsageError
from epochal.lens.methods import METHODS, look, method_named

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from epochal import lens  # noqa: E402
from epochal.lens.attribute.together import METHODS as ATTRIBUTIONS  # noqa: E402
from epochal.lens.showing import scene  # noqa: E402
from epochal.picture import pictures  # noqa: E402
from tests.lens.known import plain_cnn  # noqa: E402


def test_the_list_names_what_there_is_and_what_it_takes() -> None:
    assert {name for name, method in METHODS.items() if method.kind == "attribution"} == set(ATTRIBUTIONS)
    for name, method in METHODS.items():
        function: Any = getattr(lens, "maximizing" if name == "maximize" else name)
        assert method.takes <= set(inspect.signature(function).parameters), name
        assert method.needs <= method.takes
        assert method.words
        assert any(character.isdigit() for character in method.paper)
    assert method_named("Grad-CAM").name == "grad_cam"
    with pytest.raises(NotFoundError, match="Did you mean 'saliency'"):
        method_named("salience")


def test_several_methods_on_one_image_are_as_if_asked_alone() -> None:
    network, x = plain_cnn(), torch.rand(1, 28, 28)
    seen = look(
        network, x, ["grad_cam", "saliency", "feature_maps", "filters", "maximize"], target=3, layer="6",
        options={"maximize": {"size": (28, 28), "steps": 3}},
    )  # fmt: skip
    assert list(seen) == ["grad_cam", "saliency", "feature_maps", "filters", "maximize"]
    np.testing.assert_allclose(seen["saliency"].map, lens.saliency(network, x, target=3).map, rtol=1e-6)
    np.testing.assert_array_equal(seen["feature_maps"].array, lens.feature_maps(network, x, layer="6").array)
    assert seen["maximize"].what == "class 3"
    cases: list[tuple[list[str], dict[str, Any], str]] = [
        (["feature_maps"], {}, "feature_maps needs layer"),
        (["maximize"], {}, "maximize needs a target"),
        (["top_examples"], {"layer": "6"}, "top_examples needs data"),
    ]
    for names, how, words in cases:
        with pytest.raises(UsageError, match=words):
            look(network, x, names, **how)


def test_one_picture_shows_the_photo_and_all_methods() -> None:
    network = plain_cnn()
    x = torch.rand(1, 28, 28)
    photo = np.full((28, 28, 3), (1, 200, 99), np.uint8)
    names = ["saliency", "grad_cam", "feature_maps", "filters"]
    seen = [look(network, x, names, target=t, layer="3") for t in (1, 2)]
    results = {name: [one[name] for one in seen] for name in names}
    drawn = scene(results, photo, title="a title", captions=["step 1", "step 2"])
    assert [panel.title.partition(" ")[0] for panel in drawn.panels] == ["photo", *names]
    assert "Simonyan et al. 2013" in drawn.note
    assert "Selvaraju et al. 2017" in drawn.note
    frames = [np.asarray(frame) for frame in pictures(drawn)]
    assert len(frames) == 2
    assert not np.array_equal(frames[0], frames[1])
    assert all((frame == (1, 200, 99)).all(axis=-1).sum() >= 28 * 28 for frame in frames)
    alone = scene({"saliency": [seen[0]["saliency"]]}, photo, title="t", captions=[""])
    assert alone.scale is not None
    assert alone.note == seen[0]["saliency"].caption
    maps = scene({"feature_maps": [seen[0]["feature_maps"]]}, None, title="t", captions=[""])
    assert len(maps.panels) == 12


def test_no_file_hides_a_function_of_its_name() -> None:
    """A module that is imported becomes an attribute of its package: it would stand where the function was."""
    files = {path.stem for path in Path(lens.__file__).parent.glob("*.py")}
    assert not files & set(lens.__all__) - {"class_images"}  # that one is imported by the door itself
    assert callable(lens.class_images)
