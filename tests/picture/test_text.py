from __future__ import annotations

import numpy as np
import pytest

from epochal.picture import text


@pytest.mark.parametrize("size", [11, 12, 13, 15, 22])
def test_figures_have_one_width_so_that_numbers_do_not_dance(size: int) -> None:
    assert len({text.width(d, size) for d in "0123456789"}) == 1


@pytest.mark.parametrize("sign", "−→×")
def test_signs_that_the_font_lacks_are_drawn(sign: str) -> None:
    mask, left, baseline = text.mask(sign, 14, bold=False)
    ink = np.asarray(mask) > 60
    rows, columns = np.nonzero(ink)
    assert ink.any()
    # Inside the line: above the baseline, below the height of a capital letter, within its own width.
    assert baseline - 14 < rows.min() <= rows.max() <= baseline
    assert left <= columns.min() <= columns.max() <= left + text.width(sign, 14) + 1


def test_a_minus_is_wider_than_high_and_bold_is_darker() -> None:
    ink = np.asarray(text.mask("−", 14, bold=False)[0]) > 60
    rows, columns = np.nonzero(ink)
    assert np.ptp(columns) > 2 * np.ptp(rows)
    plain, bold = (np.asarray(text.mask("layers", 14, bold=b)[0]).sum() for b in (False, True))
    assert bold > plain * 1.05


def test_long_names_lose_their_middle_and_keep_both_ends() -> None:
    short = text.shorten("encoder.blocks.11.attention.query.weight", 12, 120)
    assert text.width(short, 12) <= 120
    assert short.startswith("encod")
    assert short.endswith("ight")
    assert "…" in short
    assert text.shorten("fc", 12, 120) == "fc"


def test_any_letters_can_be_drawn() -> None:
    for words in ("zażółć gęślą jaźń", "学習率", "a\tb", "emoji 🙂", ""):
        text.mask(words, 13, bold=False)
