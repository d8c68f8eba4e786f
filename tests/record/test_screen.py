"""From what is written to a terminal to the lines that stand there."""

from __future__ import annotations

import io
import random
import time

import pytest

from epochal.record.screen import LINE_LIMIT, Screen


def lines(*texts: str) -> list[str]:
    screen = Screen()
    for place, text in enumerate(texts):
        screen.write(text, float(place), place)
    return [row.said(str) for row in screen.take(1e9, everything=True)]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("one\n\ntwo", ["one", "", "two"]),
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("10%\r50%\r100%\n", ["100%"]),
        ("long text\rby", ["byng text"]),
        ("long text\r\x1b[Kby", ["by"]),
        ("long text\r\x1b[2Kby", ["by"]),
        ("abc\b\bX\n", ["aXc"]),
        ("abc\b\b\b\b\b\bX\n", ["Xbc"]),
        ("\x1b[31mred\x1b[0m \x1b[1;38;5;4mblue\x1b[m\n", ["red blue"]),
        ("\x1b]0;title\x07text\n\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", ["text", "link"]),
        ("a\n\rb 1\x1b[A\ra 2\n\rb 2\x1b[A\n\n", ["a 2", "b 2"]),
        ("a\nb\nc\x1b[2A\rA\x1b[2B\rC\n", ["A", "b", "C"]),
        ("abc\x1b[3Dx\x1b[1Cy\x1b[10Gz\n", ["xby      z"]),
        ("a\tb\x07\x00\n", ["a\tb"]),
        ("trailing   \n", ["trailing"]),
        ("\x1b(Btext\x1b=\n", ["text"]),
        ("é漢\x1b[1mü\n", ["é漢ü"]),
        ("", []),
        ("\r", []),
        ("\x1b[99999999A\x1b[99999999Bx", [""] * 100 + ["x"]),
    ],
)
def test_what_stands_there_in_the_end(written: str, shown: list[str]) -> None:
    assert lines(written) == shown
    assert lines(*written) == shown, "the same, character by character"


def test_random_pieces_are_the_same_as_the_whole() -> None:
    rng = random.Random(3)
    parts = ["a", "bc", "\n", "\r", "\b", "\x1b[A", "\x1b[2K", "\x1b[31m", "\x1b[1;2", "é", "\x1b]0;t\x07", "\x1b[3C"]
    for _ in range(300):
        text = "".join(rng.choices(parts, k=40))
        cuts = sorted(rng.sample(range(len(text)), 5))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert lines(*pieces) == lines(text), repr(text)


def test_a_very_long_line_is_cut_and_says_so() -> None:
    (line,) = lines("x" * 5_000, "y" * 20_000, "\n")
    assert line == "x" * 5_000 + "y" * 3_000 + " … [17,000 more characters]"
    assert lines("z" * 20_000 + "\r\x1b[Kshort") == ["short"]


def test_a_secret_is_masked_also_where_the_line_is_cut() -> None:
    screen = Screen()
    screen.write("x" * (LINE_LIMIT - 3) + "secret" + "y" * 9_000 + "\n", 0.0, 0)
    (row,) = screen.take(1.0)
    assert "sec" not in row.said(lambda text: text.replace("secret", "***"))


def test_lines_are_done_when_the_cursor_has_left_them_for_a_while() -> None:
    screen = Screen(settle_secs=0.25)
    screen.write("a\nb", 10.0, 1)
    assert screen.take(10.1) == []
    assert screen.busy
    (row,) = screen.take(10.3)
    assert (row.text, row.t, row.step) == ("a", 10.0, 1)
    assert [screen.busy, screen.open and screen.open.text] == [False, "b"]
    screen.write("!\n", 11.0, 2)
    (row,) = screen.take(12.0)
    assert (row.text, row.t, row.step) == ("b!", 11.0, 2)
    assert screen.open is None


def test_lines_are_done_after_the_clock_was_set_back() -> None:
    screen = Screen(settle_secs=0.25)
    screen.write("a\n", 10_000.0, 1)
    assert [row.text for row in screen.take(10.0)] == ["a"]


def test_a_flood_is_not_held() -> None:
    screen = Screen()
    screen.write("x\n" * 10_000, 0.0, 0)
    assert len(screen.take(0.0)) == 9_900


def test_nested_bars_of_tqdm_are_two_lines() -> None:
    tqdm = pytest.importorskip("tqdm", reason="needs tqdm").tqdm
    stream = io.StringIO()
    outer = tqdm(total=3, file=stream, desc="outer", position=0, mininterval=0, ascii=True, ncols=60)
    for _ in range(3):
        inner = tqdm(total=20, file=stream, desc="inner", position=1, leave=False, mininterval=0, ascii=True, ncols=60)
        for _ in range(20):
            inner.update()
        inner.close()
        outer.update()
    outer.close()
    shown = [line for line in lines(stream.getvalue()) if line]
    assert len(shown) == 1
    assert shown[0].startswith("outer: 100%|####")
    assert "3/3" in shown[0]


def test_a_live_table_of_rich_is_what_it_came_to() -> None:
    from rich.console import Console
    from rich.progress import Progress

    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=70, legacy_windows=False)
    with Progress(console=console, refresh_per_second=1000) as progress:
        first, second = progress.add_task("first", total=5), progress.add_task("second", total=5)
        for _ in range(5):
            progress.advance(first)
            progress.advance(second, 0.5)
            progress.console.print("a word")
            time.sleep(0.003)
    shown = [line for line in lines(stream.getvalue()) if line]
    assert shown[:5] == ["a word"] * 5
    assert [line.split()[0] for line in shown[5:]] == ["first", "second"]
    assert "100%" in shown[5]
    assert "50%" in shown[6]
