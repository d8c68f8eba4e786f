from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.errors import UsageError
from epochal.export import choose_layers, choose_steps
from epochal.export.choose import thin

KEPT = [0, 4, 8, 12, 16, 20]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (None, KEPT),
        ("all", KEPT),
        ("first", [0]),
        ("last", [20]),
        ("8", [8]),
        ("16, 4,4", [4, 16]),
        ("4:12", [4, 8, 12]),
        ("4-12", [4, 8, 12]),
        (":7", [0, 4]),
        ("9:", [12, 16, 20]),
        ("0:20:10", [0, 12, 20]),
        ("3:20:8", [4, 12, 20]),
        ("::8", [0, 8, 16]),
        ("every:2", [0, 8, 16]),
        ("first,last", [0, 20]),
        ([4, 8], [4, 8]),
    ],
)
def test_steps_mean_what_they_say(text: str | list[int] | None, steps: list[int]) -> None:
    assert choose_steps(text, KEPT) == steps


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("9", "nothing recorded at step 9", "Nearest: 4, 8, 12"),
        ("1:3", "nothing recorded at the steps", "from 0 to 20"),
        ("often", "'often' cannot be read", "every:5"),
        ("0:20:0", "stride", ""),
        ("every:0", "at least 1", ""),
        ("", "No steps", "last"),
    ],
)
def test_steps_that_cannot_be_say_what_can(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        choose_steps(text, KEPT)
    assert hint in caught.value.hint


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=60, unique=True),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.integers(1, 50),
)
def test_a_stride_takes_the_first_of_each_stretch(kept: list[int], lo: int, hi: int, stride: int) -> None:
    kept = sorted(kept)
    inside = [s for s in kept if lo <= s <= hi]
    if not inside:
        with pytest.raises(UsageError):
            choose_steps(f"{lo}:{hi}:{stride}", kept)
        return
    found = choose_steps(f"{lo}:{hi}:{stride}", kept)
    firsts: dict[int, int] = {}
    for step in inside:
        firsts.setdefault((step - lo) // stride, step)
    assert found == sorted(firsts.values())


@given(st.lists(st.integers(), min_size=1, unique=True), st.integers(2, 40))
def test_thinning_keeps_both_ends_and_the_order(steps: list[int], most: int) -> None:
    kept = thin(sorted(steps), most)
    assert len(kept) <= most
    assert kept == sorted(set(kept))
    assert (kept[0], kept[-1]) == (min(steps), max(steps))


def test_layers_by_name_pattern_and_prefix() -> None:
    names = ["encoder.0", "encoder.1", "encoder2", "head"]
    assert choose_layers(None, names) == names
    assert choose_layers("head,encoder", names) == ["encoder.0", "encoder.1", "head"]
    assert choose_layers(["enc*"], names) == names[:3]
    with pytest.raises(UsageError, match="no layer 'tail'") as caught:
        choose_layers("tail", names)
    assert "head" in caught.value.hint
