from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.errors import UsageError
from epochal.views.query import And, Comparison, Not, Or, Word, parse_query


def test_words_and_comparisons_join_as_written() -> None:
    assert parse_query("iris lr>0.01 and val_loss<=0.3") == And(
        (Word("iris"), Comparison("lr", ">", "0.01"), Comparison("val_loss", "<=", "0.3"))
    )
    assert parse_query("a or b c") == Or((Word("a"), And((Word("b"), Word("c")))))
    assert parse_query("(a or b) not c") == And((Or((Word("a"), Word("b"))), Not(Word("c"))))
    assert parse_query("NOT (a AND b)") == Not(And((Word("a"), Word("b"))))


def test_operators_have_one_spelling() -> None:
    assert parse_query("a == 1") == parse_query("a=1") == Comparison("a", "=", "1")
    assert parse_query("tag~best") == parse_query("tag:best") == Comparison("tag", ":", "best")
    assert parse_query("a!=b") == Comparison("a", "!=", "b")


def test_quotes_hold_spaces_operators_and_keywords() -> None:
    assert parse_query('"train/acc 1">0.5') == Comparison("train/acc 1", ">", "0.5")
    assert parse_query('\'or\' "say \\"hi\\""') == And((Word("or"), Word('say "hi"')))
    assert parse_query("lr=-1e-3") == Comparison("lr", "=", "-1e-3")


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_nothing_means_all(text: str) -> None:
    assert parse_query(text) == And(())


@pytest.mark.parametrize(
    ("text", "why", "place"),
    [
        ("lr>", "a value is missing after '>'", 3),
        ("lr > and x", "a value is missing after '>'", 5),
        ("(a or b", "a ')' is missing", 7),
        ("a)", "this closes nothing", 1),
        ("a or", "a word or a comparison is missing", 4),
        ("= 3", "a word or a comparison is missing", 0),
        ("a 'never", "this quotation never ends", 2),
        ("a !", "this cannot be read", 2),
        ("a < < b", "a value is missing after '<'", 4),
    ],
)
def test_an_error_points_at_the_place(text: str, why: str, place: int) -> None:
    with pytest.raises(UsageError) as caught:
        parse_query(text)
    _, shown, arrow = caught.value.message.split("\n")
    assert why in caught.value.message
    assert shown == f"    {text}"
    assert arrow == " " * (place + 4) + "^"


def test_deep_nesting_and_long_texts_are_refused() -> None:
    for text in ("(" * 1000 + "a" + ")" * 1000, "not " * 1000 + "a"):
        with pytest.raises(UsageError, match="nested"):
            parse_query(text)
    with pytest.raises(UsageError, match="10,000 characters"):
        parse_query("a" * 10_001)
    assert len(parse_query("(a) " * 2000).queries) == 2000  # type: ignore[union-attr]


@given(st.text(alphabet="ab1.<>=!:~()'\"\\ \tandornot&|/é", max_size=40))
def test_any_text_is_read_or_refused_in_our_words(text: str) -> None:
    with contextlib.suppress(UsageError):  # anything else, such as an IndexError, fails
        parse_query(text)
