"""Photos: what a network takes of them, and files that mean harm."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from epochal.errors import DamagedError, MissingExtraError, NotFoundError, UsageError
from epochal.lens.photos import SAMPLES, open_photo, preparation_of, prepare, read_photo
from epochal.network import Network, Preparation


def png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_small_file_that_promises_a_huge_picture_is_refused(tmp_path: Path) -> None:
    for side, words in [(60_000, "too many pixels"), (9_000, "9,000 × 9,000 pixels")]:
        (tmp_path / "bomb.png").write_bytes(png(side, side, bytes(1 << 20)))
        with pytest.raises(UsageError, match=words):
            read_photo(tmp_path / "bomb.png")


def test_files_that_are_none_or_broken_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(whole, "PNG")
    with pytest.raises(DamagedError, match="cannot be read"):
        read_photo(whole.getvalue()[:60])
    with pytest.raises(UsageError, match="no picture that is read"):
        read_photo(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # Pillow would start another program
    with pytest.raises(UsageError, match="no picture that is read"):
        read_photo(b"<svg/>")
    with pytest.raises(NotFoundError, match="no picture nowhere"):
        read_photo("nowhere")
    monkeypatch.setattr("epochal.lens.photos.MOST_BYTES", 10)
    (tmp_path / "large.png").write_bytes(whole.getvalue())
    with pytest.raises(UsageError, match="pictures of up to 10 are read"):
        read_photo(tmp_path / "large.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_changed_bytes_give_a_picture_or_a_word_on_it(kind: str) -> None:
    whole = io.BytesIO()
    random = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8)).save(whole, kind, exif=exif)
    data = np.frombuffer(whole.getvalue(), np.uint8)
    refused = 0
    for _ in range(150):
        changed = data.copy()
        at = random.integers(0, min(len(data), 400), random.integers(1, 6))
        changed[at] = random.integers(0, 256, len(at))
        try:
            assert read_photo(changed[: random.integers(1, len(data) + 1)].tobytes()).dtype == np.uint8
        except (UsageError, DamagedError):
            refused += 1
    assert refused > 20


def test_pictures_for_networks_whose_channels_come_last() -> None:
    class Last(Network):
        input_shape = (8, 9, 3)

        def __call__(self, *_: object, **__: object) -> None: ...
        def state(self) -> dict[str, npt.NDArray[Any]]:
            return {}

        def _takes(self) -> str:
            return ""

    found, _ = preparation_of(Last(graph=None, step=None))
    assert (found.size, found.channels, found.channels_last) == ((8, 9), 3, True)


def test_pictures_are_turned_and_laid_on_white(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_photo(tmp_path / "turned.png"), np.rot90(pixels, -1))
    clear = np.zeros((2, 2, 4), np.uint8)
    clear[0, 0] = (10, 20, 30, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert read_photo(tmp_path / "clear.png").tolist() == [[[10, 20, 30], [255] * 3], [[255] * 3] * 2]
    Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert read_photo(tmp_path / "deep.png")[0, :, 0].tolist() == [0, 100, 255]


def test_the_middle_is_cut_out() -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 10:30] = 200
    array, shown = prepare(pixels, Preparation(size=(20, 20), shorter=20))
    assert (shown == 200).all()
    np.testing.assert_allclose(array, 200 / 255, rtol=1e-6)
    _, shown = prepare(pixels, Preparation(size=(10, 10), shorter=20))
    assert (shown == 200).all()
    _, shown = prepare(pixels, Preparation(size=(10, 10)))
    assert [int(shown[5, x, 0]) for x in (0, 4, 9)] == [0, 200, 0]


def flat_network(path: Path, inputs: int) -> Network:
    np.savez(path, **{"layers.0.weight": np.ones((2, inputs), np.float32)})  # type: ignore[arg-type]
    return Network.open(path)


def test_a_network_that_says_nothing_gets_colours_from_0_to_1(tmp_path: Path) -> None:
    network = flat_network(tmp_path / "n.npz", 784)
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    photo = open_photo(tmp_path / "digit.png", network)
    np.testing.assert_allclose(photo.array, pixels.ravel() / 255, atol=1e-6)
    assert photo.notes
    np.save(tmp_path / "digit.npy", pixels.astype(np.float64) / 7)
    given = open_photo(tmp_path / "digit.npy", network)
    np.testing.assert_allclose(given.array, pixels.ravel() / 7, rtol=1e-6)
    with pytest.raises(UsageError, match="photos do not fit"):
        open_photo(tmp_path / "digit.png", flat_network(tmp_path / "n.npz", 5))
    np.save(tmp_path / "evil.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DamagedError):
        open_photo(tmp_path / "evil.npy", network)


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_photos(name: str) -> None:
    try:
        pixels = read_photo(name)
    except MissingExtraError as error:
        pytest.skip(error.message)
    assert min(pixels.shape[:2]) >= 300
    assert pixels.std() > 20


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1)])
def test_the_middle_of_a_long_and_thin_photo_is_enlarged_alone(size: tuple[int, int]) -> None:
    """All of it, a pixel wide and 20,000 long, would take 4 GB."""
    resource = pytest.importorskip("resource", reason="needs POSIX")
    pixels = np.repeat(np.arange(20_000).reshape(size)[..., None] // 80, 3, axis=2).astype(np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    array, shown = prepare(pixels, Preparation(size=(224, 224), shorter=256, channels=3))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 1 << 20, f"{grown >> 10} MB"
    assert shown.shape == (224, 224, 3)
    assert array.shape == (3, 224, 224)
    assert abs(int(shown.mean()) - 125) <= 1
