"""Pictures: whatever they are made of, the pixels that come out are the right ones, bit for bit."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from epochal.errors import UsageError
from epochal.record.media import Blob, Encoded, Image
from epochal.record.media.png import encode_png

RNG = np.random.default_rng(0)


def shown(image: Image | Encoded) -> npt.NDArray[np.uint8]:
    """The pixels that Pillow finds in the file."""
    encoded = image.encode() if isinstance(image, Image) else image
    return np.asarray(PIL.Image.open(io.BytesIO(encoded.data)))


def noise(*shape: int) -> npt.NDArray[np.uint8]:
    return RNG.integers(0, 256, shape, np.uint8)


@given(
    st.sampled_from([(), (3,), (4,)]).flatmap(
        lambda c: hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)).map(lambda s: (*s, *c)))
    ),
    st.integers(0, 9),
)
@settings(max_examples=80, deadline=None)
def test_pillow_reads_what_the_png_writer_wrote(pixels: npt.NDArray[np.uint8], level: int) -> None:
    data = encode_png(pixels, level=level)
    with PIL.Image.open(io.BytesIO(data)) as picture:
        picture.verify()
    found = np.asarray(PIL.Image.open(io.BytesIO(data)))
    assert found.tobytes() == pixels.tobytes()
    assert data == encode_png(pixels, level=level), "the same pixels are the same bytes"


@pytest.mark.parametrize("shape", [(224, 224, 3), (300, 5), (5, 30_000), (1, 1), (700, 700, 4)])
def test_large_and_odd_shapes_too(shape: tuple[int, ...]) -> None:
    smooth = np.cumsum(np.cumsum(noise(*shape), axis=0), axis=1).astype(np.uint8)
    for pixels in (noise(*shape), smooth, np.zeros(shape, np.uint8)):
        assert np.asarray(PIL.Image.open(io.BytesIO(encode_png(pixels)))).tobytes() == pixels.tobytes()


def test_rows_are_packed_in_the_smaller_of_two_ways() -> None:
    y, x = np.mgrid[:256, :256]
    photo = ((x + 3 * y) % 256).astype(np.uint8)  # each row the one above and 3
    flags = np.repeat(noise(1, 256), 256, axis=0)
    import zlib

    for pixels in (photo, flags, (noise(256, 256) > 250).astype(np.uint8)):
        plain = zlib.compress(np.concatenate([np.zeros((256, 1), np.uint8), pixels], axis=1).tobytes(), 1)
        assert len(encode_png(pixels)) <= len(plain) + 60


@pytest.mark.parametrize(
    ("shape", "dataformat", "axis"),
    [
        ((6, 7), None, None),
        ((6, 7), "HW", None),
        ((6, 7, 1), None, "last"),
        ((1, 6, 7), None, "first"),
        ((6, 7, 3), None, "last"),
        ((3, 6, 7), None, "first"),
        ((4, 6, 7), None, "first"),
        ((6, 7, 4), None, "last"),
        ((3, 6, 3), "CHW", "first"),
        ((3, 6, 3), "HWC", "last"),
        ((3, 6, 3), "hwc", "last"),
        ((1, 3, 6, 7), None, "batch first"),
        ((1, 6, 7, 3), None, "batch last"),
    ],
)
def test_axes_are_understood(shape: tuple[int, ...], dataformat: str | None, axis: str | None) -> None:
    data = noise(*shape)
    expected = data[0] if axis and axis.startswith("batch") else data
    if axis and axis.endswith("first"):
        expected = expected.transpose(1, 2, 0)
    if expected.ndim == 3 and expected.shape[2] == 1:
        expected = expected[..., 0]
    image = Image(data, dataformat=dataformat)
    assert shown(image).tobytes() == expected.tobytes()
    assert image.size == (expected.shape[1], expected.shape[0])


@pytest.mark.parametrize(
    ("shape", "dataformat", "message"),
    [
        ((3, 4, 4), None, r"either of its ends could be the channels.*\n.*dataformat='CHW' or 'HWC'"),
        ((1, 28, 1), None, "either of its ends"),
        ((28, 28, 2), None, "neither of its ends is 1, 3 or 4"),
        ((28,), None, r"this array has shape \(28,\)"),
        ((5, 3, 28, 28), None, "Image.batch"),
        ((2, 2, 2, 2, 2), None, "2 or 3 axes"),
        ((28, 28, 3), "CHW", "this one has 28 as CHW"),
        ((28, 28), "HWC", "dataformat HWC is for 3 axes"),
        ((28, 28), "WH", "use one of: HW, HWC, CHW"),
        ((0, 28), None, "no pixels"),
        ((28, 28, 0), "HWC", "this one has 0"),
    ],
)
def test_axes_that_cannot_be_told_are_refused_with_what_to_give(
    shape: tuple[int, ...], dataformat: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Image(np.zeros(shape, np.uint8), dataformat=dataformat)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_floats_lie_between_0_and_1(kind: str) -> None:
    values = RNG.random((9, 11)).astype(kind)
    values[0, :3] = [0, 1, 0.5]
    encoded = Image(values).encode()
    # Single precision may round a value that lies half-way between two bytes the other way.
    exact = values.astype(np.float64) * 255 + 0.5
    found = shown(encoded).astype(int)
    assert (np.abs(found - np.floor(exact)) <= (np.abs(exact - np.round(exact)) < 1e-4)).all()
    assert found[0, :3].tolist() == [0, 255, 128]
    assert encoded.altered == {"pixels": 0}
    assert encoded.meta["range"] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("values", "limits", "expected"),
    [
        ([-1, 0, 1], (-1, 1), [0, 128, 255]),
        ([0, 100, 200], (0, 200), [0, 128, 255]),
        (np.array([0, 32768, 65535], np.uint16), (0, 65535), [0, 128, 255]),
        (np.array([-5, 0, 5], np.int64), (-5, 5), [0, 128, 255]),
        (np.array([0, 10, 20], np.uint8), (0, 20), [0, 128, 255]),
        (np.array([False, True, True]), None, [0, 255, 255]),
        (np.array([0, 7, 255], np.uint8), None, [0, 7, 255]),
        (np.array([0, 2.0**40, 2.0**41]), (0, 2.0**41), [0, 128, 255]),
    ],
)
def test_a_stated_range_becomes_0_to_255(values: Any, limits: tuple[float, float] | None, expected: list[int]) -> None:
    data = np.asarray(values)[None, :]
    image = Image(data, range=limits)
    assert shown(image)[0].tolist() == expected


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint16, np.int32, np.int64, np.uint64])
def test_other_integers_need_a_range(kind: Any) -> None:
    with pytest.raises(UsageError, match=r"does not say what is black.*\n.*range=\(0, 255\)"):
        Image(np.array([[0, 100]], kind))


@pytest.mark.parametrize("limits", [(1, 0), (0, 0), (0, float("nan")), (0, float("inf")), (1,), 5, "01"])
def test_a_range_must_be_one(limits: Any) -> None:
    with pytest.raises(UsageError, match="range is"):
        Image(np.zeros((2, 2)), range=limits)


def test_what_lies_outside_is_clamped_counted_and_said() -> None:
    values = np.array([[-0.5, 0.0, 0.25], [1.0, 3.5, np.nan], [np.inf, -np.inf, 0.75]])
    encoded = Image(values).encode()
    assert shown(encoded).tolist() == [[0, 0, 64], [255, 255, 0], [255, 0, 191]]
    assert encoded.altered == {"pixels": 5}
    assert (encoded.meta["clamped"], encoded.meta["nonfinite"]) == (2, 3)
    assert encoded.meta["found"] == [-0.5, 3.5]
    assert "5 pixels are not finite or lie outside the range (0, 1)" in encoded.told
    assert "values from -0.5 to 3.5" in encoded.told
    assert Image(np.full((2, 2), np.nan)).encode().meta["nonfinite"] == 4


def test_colours_keep_their_places() -> None:
    data = np.zeros((3, 5, 6))
    data[0, 0, 0] = data[1, 1, 1] = data[2, 2, 2] = 1
    pixels = shown(Image(data))
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[1, 1].tolist() == [0, 255, 0]
    assert pixels[2, 2].tolist() == [0, 0, 255]


def test_what_it_is_made_of_may_change_afterwards() -> None:
    data = noise(5, 6, 3)
    kept = data.copy()
    image = Image(data)
    data[:] = 0
    assert shown(image).tobytes() == kept.tobytes()
    assert image.pixels().tobytes() == kept.tobytes()


def test_a_batch_becomes_one_image_each() -> None:
    data = noise(4, 3, 6, 7)
    images = Image.batch(data, captions=["a", "b", "c", "d"])
    assert [i.caption for i in images] == ["a", "b", "c", "d"]
    for image, one in zip(images, data, strict=True):
        assert shown(image).tobytes() == one.transpose(1, 2, 0).tobytes()
    assert len(Image.batch(noise(2, 6, 7))) == 2
    assert shown(Image.batch(noise(2, 6, 7, 4))[1]).shape == (6, 7, 4)
    assert shown(Image.batch(noise(3, 3, 6, 3), dataformat="NHWC")[0]).shape == (3, 6, 3)
    assert shown(Image.batch(noise(3, 3, 6, 4), dataformat="CHW")[0]).shape == (6, 4, 3)
    assert len(Image.batch(np.zeros((0, 4, 5)))) == 0
    for wrong, message in (
        (noise(3, 3, 6, 3), "either of its ends"),
        (noise(6, 6), "3 or 4 axes"),
        (noise(2, 5, 6, 2), "neither"),
    ):
        with pytest.raises(UsageError, match=message):
            Image.batch(wrong)
    with pytest.raises(UsageError, match="1 captions for 2 images"):
        Image.batch(noise(2, 6, 7), captions=["x"])


@pytest.mark.parametrize("suffix", ["png", "jpeg", "gif", "webp", "bmp"])
def test_files_and_their_bytes_are_kept_as_they_are(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    PIL.Image.fromarray(noise(8, 9, 3)).save(path)
    data = path.read_bytes()
    for given_ in (path, str(path), data, bytearray(data), memoryview(data)):
        image = Image(given_)
        encoded = image.encode()
        assert encoded.data == data
        assert encoded.extension == {"jpeg": "jpg"}.get(suffix, suffix)
        assert (encoded.meta["width"], encoded.meta["height"]) == image.size == (9, 8)
    assert Image(path).pixels().shape[:2] == (8, 9)


def test_files_that_are_no_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        Image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(UsageError, match=r"these 5 bytes of a \.png file are no picture"):
        Image(tmp_path / "text.png")
    with pytest.raises(UsageError, match="cannot be opened"):
        Image(b"\x89PNG\r\n\x1a\n" + bytes(40))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV"])
def test_pillow_images_of_any_mode(mode: str) -> None:
    picture = PIL.Image.fromarray(noise(6, 7, 4)).convert(mode)
    expected = {"1": "L", "P": "RGB", "LA": "RGBA"}.get(mode, mode if mode in ("L", "RGBA") else "RGB")
    found = shown(Image(picture))
    assert found.tobytes() == np.asarray(picture.convert(expected)).tobytes()


def test_pillow_images_without_a_range_of_their_own_are_refused() -> None:
    with pytest.raises(UsageError, match="mode F"):
        Image(PIL.Image.fromarray(RNG.random((4, 4)).astype(np.float32)))
    with pytest.raises(UsageError, match="mode I;16"):
        Image(PIL.Image.fromarray(np.zeros((4, 4), np.uint16)))


def test_a_mode_converts() -> None:
    data = noise(6, 7, 3)
    grey = np.asarray(PIL.Image.fromarray(data).convert("L"))
    assert shown(Image(data, mode="L")).tobytes() == grey.tobytes()
    assert shown(Image(PIL.Image.fromarray(data), mode="RGBA")).shape == (6, 7, 4)
    assert shown(Image(noise(6, 7), mode="RGB")).shape == (6, 7, 3)
    with pytest.raises(UsageError, match="mode is 'XYZ'"):
        Image(data, mode="XYZ")


def test_lists_and_anything_with_an_array_interface() -> None:
    class Foreign:
        def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[np.uint8]:
            return np.full((2, 2), 9, np.uint8)

    assert shown(Image([[0.0, 1.0], [1.0, 0.0]])).tolist() == [[0, 255], [255, 0]]
    assert shown(Image(Foreign())).tolist() == [[9, 9], [9, 9]]
    for wrong in ([["a"]], {"a": 1}, object(), [[1, 2], [3]], None, np.array([[1j]])):
        with pytest.raises(UsageError, match="an image"):
            Image(wrong)


@pytest.mark.torch
def test_tensors() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    data = torch.rand(3, 6, 7)
    expected = np.floor(data.numpy().transpose(1, 2, 0) * 255 + 0.5)
    for tensor in (data, data.clone().requires_grad_(), torch.nn.Parameter(data), data.double()):
        assert np.abs(shown(Image(tensor)).astype(int) - expected).max() <= 1
    assert shown(Image(data.half())).shape == (6, 7, 3)
    assert np.abs(shown(Image(data.bfloat16())).astype(int) - expected).max() <= 2
    assert shown(Image(torch.zeros(4, 5, dtype=torch.bool))).tolist() == np.zeros((4, 5)).tolist()
    data.zero_()
    with pytest.raises(UsageError, match="an image"):
        Image(torch.zeros(3, 6, 7, device="meta"))
    sliced = torch.rand(10, 10)[::2, ::3]
    assert shown(Image(sliced)).shape == (5, 4)
    assert shown(Image.batch(torch.rand(2, 1, 5, 6))[0]).shape == (5, 6)


def test_boxes_masks_and_classes_are_kept_beside_the_picture() -> None:
    mask = RNG.integers(0, 3, (6, 7))
    boxes: Any = {"found": [{"box": (5, 1, 2, 4), "label": 1, "score": np.float32(0.5)}, (0, 0, 1, 1)]}
    image = Image(
        noise(6, 7),
        boxes=boxes,
        masks={"truth": mask},
        classes={0: "sky", 1: "cat", 2: "dog"},
    )
    encoded = image.encode()
    assert encoded.meta["boxes"] == {
        "found": [{"box": [2.0, 1.0, 5.0, 4.0], "class": 1, "score": 0.5}, {"box": [0.0, 0.0, 1.0, 1.0]}]
    }
    assert encoded.meta["classes"] == {"0": "sky", "1": "cat", "2": "dog"}
    (blob,) = encoded.blobs
    assert isinstance(blob, Blob)
    assert encoded.meta["masks"] == {"truth": blob.name}
    assert np.asarray(PIL.Image.open(io.BytesIO(blob.data))).tolist() == mask.tolist()
    assert Image(noise(6, 7), boxes=[{"box": [0, 0, 2, 2], "label": "cat"}]).encode().meta["boxes"] == {
        "boxes": [{"box": [0.0, 0.0, 2.0, 2.0], "label": "cat"}]
    }
    assert Image(noise(6, 7), classes=["a", "b"]).encode().meta["classes"] == {"0": "a", "1": "b"}
    with pytest.raises(UsageError, match="classes are"):
        Image(noise(6, 7), classes={"cat": "a"})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boxes": [{"label": "cat"}]}, "a box is"),
        ({"boxes": [(1, 2, 3)]}, "a box is"),
        ({"boxes": [{"box": (0, 0, float("nan"), 1)}]}, "a box is"),
        ({"boxes": [{"box": (0, 0, 1, 1), "colour": "red"}]}, "a box has 'colour'"),
        ({"masks": np.zeros((7, 6), int)}, "mask 'mask' has shape"),
        ({"masks": {"m": np.full((6, 7), 300)}}, "300"),
        ({"masks": {"m": np.full((6, 7), 0.5)}}, "float64"),
    ],
)
def test_marks_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Image(np.zeros((6, 7), np.uint8), **options)


def test_matplotlib_figures_become_pictures() -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="needs matplotlib")
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1), dpi=50)
    figure.subplots().plot([1, 2, 3])
    image = Image(figure)
    assert image.size == (100, 50)
    assert shown(image).shape[:2] == (50, 100)
    assert image.encode().data == Image(figure).encode().data
