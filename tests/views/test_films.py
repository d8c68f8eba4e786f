from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from epochal.errors import NotFoundError
from epochal.views import films
from epochal.views.films import Extremes, make_film


class Kept:
    """Frames in memory, which remembers what was read of it."""

    def __init__(self, frames: npt.NDArray[Any], steps: Sequence[int] | None = None) -> None:
        self.frames = frames
        self.steps = list(range(0, 10 * len(frames), 10)) if steps is None else list(steps)
        self.asked: list[int] = []

    @property
    def shape(self) -> tuple[int, ...]:
        return self.frames.shape[1:]

    def read(self, steps: Sequence[int]) -> npt.NDArray[Any]:
        self.asked += steps
        return self.frames[[self.steps.index(s) for s in steps]]


STACKS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5),
    elements=st.one_of(st.floats(-1e3, 1e3, width=32), st.sampled_from([np.nan, np.inf, -np.inf, 1e-44, 3e38])),
)


def reference(frames: npt.NDArray[Any], mode: str) -> npt.NDArray[np.float32]:
    with np.errstate(all="ignore"):
        if mode == "change":
            return np.asarray(frames - np.concatenate([frames[:1], frames[:-1]]), np.float32)
        return np.asarray(frames - frames[:1] if mode == "since" else frames, np.float32)


@given(frames=STACKS, mode=st.sampled_from(["value", "change", "since"]))
def test_f4_is_exact_and_the_facts_are_numpys(frames: npt.NDArray[Any], mode: films.Mode) -> None:
    expected = reference(frames, mode)
    film = make_film(Kept(frames), mode=mode)
    assert film.encoding == "f4"
    np.testing.assert_array_equal(film.frames.view(np.uint32), expected.view(np.uint32)) if mode == "value" else (
        np.testing.assert_array_equal(film.frames, expected)
    )
    finite = expected[np.isfinite(expected)].astype(np.float64)
    assert film.nonfinite == expected.size - finite.size
    if finite.size:
        assert (film.lo, film.hi, film.limit) == (finite.min(), finite.max(), np.abs(finite).max())
    else:
        assert film.limit == 0.0
        assert np.isnan(film.lo)
        assert np.isnan(film.hi)


@given(frames=STACKS, mode=st.sampled_from(["value", "change", "since"]))
def test_bytes_stand_for_values_within_half_a_step(frames: npt.NDArray[Any], mode: films.Mode) -> None:
    expected = reference(frames, mode).astype(np.float64)
    film = make_film(Kept(frames), mode=mode, encoding="u1")
    assert film.frames.dtype == np.uint8
    np.testing.assert_array_equal(film.frames == 0, ~np.isfinite(expected))
    decoded = (film.frames.astype(np.float64) - 128) / 127 * film.limit
    good = np.isfinite(expected)
    assert np.all(np.abs(decoded[good] - expected[good]) <= film.limit / 127 * 0.5001)
    assert not good.any() or film.limit == 0 or set(film.frames[good & (np.abs(expected) == film.limit)]) <= {1, 255}


def test_zero_is_exactly_the_middle_and_the_scale_is_symmetric() -> None:
    film = make_film(Kept(np.array([[-1.0, 0.0, 4.0]], np.float32)), encoding="u1")
    assert film.frames.tolist() == [[96, 128, 255]]
    assert make_film(Kept(np.zeros((2, 3), np.float32)), encoding="u1").frames.tolist() == [[128] * 3] * 2


def test_a_part_of_a_film_has_the_scale_of_the_whole() -> None:
    frames = np.arange(12, dtype=np.float32).reshape(6, 2)
    film = make_film(Kept(frames), start=10, end=29, encoding="u1")
    assert film.steps.tolist() == [10, 20]
    assert (film.limit, film.lo, film.hi, film.total, film.stride) == (11.0, 0.0, 11.0, 2, 1)
    whole = make_film(Kept(frames), encoding="u1")
    np.testing.assert_array_equal(film.frames, whole.frames[1:3])
    change = make_film(Kept(frames), start=30, mode="change")
    np.testing.assert_array_equal(change.frames, np.full((3, 2), 2.0, np.float32))


def test_no_step_in_the_stretch_is_an_empty_film_and_no_frame_an_error() -> None:
    film = make_film(Kept(np.ones((3, 2), np.float32)), start=100)
    assert film.frames.shape == (0, 2)
    assert film.limit == 1.0
    with pytest.raises(NotFoundError):
        make_film(Kept(np.ones((0, 2), np.float32)))


def test_a_film_that_grew_is_measured_from_where_it_was() -> None:
    frames = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    known = Extremes()
    make_film(Kept(frames[:49]), extremes=known, encoding="u1")
    grown = Kept(frames)
    film = make_film(grown, extremes=known, start=490, encoding="u1")
    assert grown.asked == [490]
    assert film.limit == np.abs(frames).max()


def test_large_films_are_bytes_and_very_large_ones_skip_frames_but_never_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames = np.random.default_rng(0).normal(size=(101, 30)).astype(np.float32)
    monkeypatch.setattr(films, "_SENT_AS_F4", 4 * 30 * 100)
    assert make_film(Kept(frames[:100])).encoding == "f4"
    assert make_film(Kept(frames)).encoding == "u1"
    monkeypatch.setattr(films, "_SENT_AT_MOST", 30 * 30)
    for held in (128 << 20, 0):
        monkeypatch.setattr(films, "_HELD_AT_MOST", held)
        film = make_film(Kept(frames), mode="change")
        assert (film.stride, film.total, film.steps[-1]) == (4, 101, 1000)
        assert np.all(np.diff(film.steps) == 40)
        # A change is still from the frame before, not from the one shown before.
        decoded = (film.frames.astype(np.float64) - 128) / 127 * film.limit
        np.testing.assert_allclose(decoded[-1], frames[100] - frames[99], atol=film.limit / 250)


def test_half_precision_and_integers_become_float32() -> None:
    for dtype in (np.float16, np.float64, np.int64):
        film = make_film(Kept(np.array([[1, 2], [3, 4]], dtype)))
        assert film.frames.dtype == np.float32
        assert film.frames.tolist() == [[1, 2], [3, 4]]
    assert make_film(Kept(np.array([[3 + 4j]], np.complex64))).frames.tolist() == [[5.0]]
