from __future__ import annotations

import io
import json

import numpy as np
import pytest

from epochal.cli.terminal import Terminal, columns, duration, shorten, spark


def test_sparks_show_the_course_and_leave_gaps() -> None:
    assert spark([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert spark([5, 5]) == "▁▁"
    assert spark([0, float("nan"), 1]) == "▁ █"
    assert spark([]) == ""
    assert len(spark(list(range(1000)), width=24)) == 24


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (4.21, "4.2 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_columns_are_aligned() -> None:
    assert columns([["a", "1"], ["bbb", "22"]], right=(1,)) == ["a     1", "bbb  22"]
    assert columns([]) == []


def test_json_is_one_line_without_nan_and_streams_are_kept_apart() -> None:
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(out, err)
    terminal.json({"a": float("nan"), "b": np.float32(0.5), "c": [float("inf"), np.int64(3)], "d": "zażółć"})
    terminal.note("a note")
    assert json.loads(out.getvalue()) == {"a": None, "b": 0.5, "c": [None, 3], "d": "zażółć"}
    assert out.getvalue().count("\n") == 1
    assert err.getvalue() == "a note\n"


def test_nobody_watching_means_no_bar_and_no_colour() -> None:
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(out, err)
    with terminal.progress("Work") as update:
        update(1, 2, "note")
    assert err.getvalue() == ""
    assert terminal.style("x", "bold") == "x"


def test_letters_that_the_terminal_lacks_do_not_stop_it() -> None:
    raw = io.BytesIO()
    terminal = Terminal(io.TextIOWrapper(raw, encoding="ascii"), io.StringIO())
    terminal.line("▁█ −1")
    assert raw.getvalue() == b"?? ?1\n"


def test_json_keeps_every_letter_where_the_stream_lacks_it() -> None:
    raw = io.BytesIO()
    terminal = Terminal(io.TextIOWrapper(raw, encoding="ascii"), io.StringIO())
    terminal.json({"d": "zażółć \x85 \u202e"})
    assert json.loads(raw.getvalue()) == {"d": "zażółć \x85 \u202e"}


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x1b]0;title\x07", "\r", "\x9b1A", "\u202e", "\x08"])
def test_names_cannot_steer_the_terminal(hostile: str) -> None:
    out = _Screen()
    terminal = Terminal(out, io.StringIO())
    terminal.line(f"{terminal.style('red', 'red')} {hostile}run\tname\nnext")
    assert not set(hostile) & set("\x07\r\x9b\u202e\x08") & set(out.getvalue())
    assert "\x1b[2J" not in out.getvalue()
    assert "\x1b]" not in out.getvalue()
    assert out.getvalue().endswith("run\tname\nnext\n")


def test_a_pipe_gets_no_escapes_at_all() -> None:
    out = io.StringIO()
    Terminal(out, io.StringIO()).line("\x1b[31mred")
    assert out.getvalue() == "\ufffd[31mred\n"


def test_columns_stay_one_line_and_count_wide_letters() -> None:
    assert columns([["a\nb", "1"], ["日本", "2"], ["e\u0301", "3"]]) == ["a b   1", "日本  2", "e\u0301     3"]
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcd", 4) == "abcd"
