"""Streams are heard and stay what they are."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from epochal.record.tap import leave, listen


class Ears:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def __call__(self, name: str, text: str) -> None:
        self.heard.append((name, text))

    def text(self, name: str = "stdout") -> str:
        return "".join(text for each, text in self.heard if each == name)


@pytest.fixture
def ears() -> Iterator[Ears]:
    ears = Ears()
    listen(ears)
    yield ears
    leave(ears)


def test_what_is_printed_is_heard_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    ears = Ears()
    listen(ears)
    print("one", 2)
    print("late", end="", file=sys.stderr)
    sys.stdout.writelines(["a\n", "b\n"])
    leave(ears)
    assert ears.text() == "one 2\na\nb\n"
    assert ears.text("stderr") == "late"
    assert capsys.readouterr() == ("one 2\na\nb\n", "late")


def test_the_stream_is_the_same_object_and_given_back() -> None:
    before = [(stream, "write" in vars(stream)) for stream in (sys.stdout, sys.stderr)]
    ears = Ears()
    listen(ears)
    assert [stream for stream, _ in before] == [sys.stdout, sys.stderr]
    assert "write" in vars(sys.stdout)
    leave(ears)
    assert [("write" in vars(stream)) for stream, _ in before] == [own for _, own in before]
    print("unheard")
    assert ears.heard == []


def test_a_handler_that_took_the_stream_before_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler()
    logger = logging.getLogger("epochal-test-tap")
    logger.propagate = False
    logger.addHandler(handler)
    ears = Ears()
    listen(ears)
    logger.warning("careful")
    leave(ears)
    logger.removeHandler(handler)
    assert ears.text("stderr") == "careful\n"
    assert capsys.readouterr().err == "careful\n"


def test_write_returns_and_raises_what_the_stream_does(ears: Ears) -> None:
    assert sys.stdout.write("four") == 4
    with pytest.raises(TypeError):
        sys.stdout.write(b"bytes")  # type: ignore[arg-type]
    assert ears.text() == "four"


def test_a_listener_that_fails_is_no_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    def bad(name: str, text: str) -> None:
        raise RuntimeError("odd")

    ears = Ears()
    listen(bad)
    listen(ears)
    print("fine")
    leave(bad)
    leave(ears)
    assert ears.text() == "fine\n"
    assert capsys.readouterr().out == "fine\n"


@pytest.mark.parametrize("first_to_leave", [0, 1])
def test_nested_listeners_may_leave_in_any_order(first_to_leave: int) -> None:
    both = [Ears(), Ears()]
    for ears in both:
        listen(ears)
    print("both")
    leave(both[first_to_leave])
    print("one")
    leave(both[1 - first_to_leave])
    print("none")
    assert both[first_to_leave].text() == "both\n"
    assert both[1 - first_to_leave].text() == "both\none\n"
    assert "write" not in vars(sys.stdout)


def test_what_somebody_put_over_it_meanwhile_stays(capsys: pytest.CaptureFixture[str]) -> None:
    ears = Ears()
    listen(ears)
    ours = sys.stdout.write

    def theirs(text: str) -> int:
        return ours(text.upper())

    stream: Any = sys.stdout
    stream.write = theirs
    print("loud")
    leave(ears)
    assert stream.write is theirs
    print("still loud")
    del stream.write
    assert ears.text() == "LOUD\n"
    assert capsys.readouterr().out == "LOUD\nSTILL LOUD\n"


def test_a_replaced_stream_is_left_alone(ears: Ears) -> None:
    elsewhere = io.StringIO()
    with contextlib.redirect_stdout(elsewhere):
        print("not for the console")
    print("for the console")
    assert elsewhere.getvalue() == "not for the console\n"
    assert ears.text() == "for the console\n"


def test_a_stream_replaced_by_one_that_passes_on(ears: Ears, monkeypatch: pytest.MonkeyPatch) -> None:
    class Both:
        def __init__(self, stream: Any) -> None:
            self.stream, self.kept = stream, io.StringIO()

        def write(self, text: str) -> int:
            self.kept.write(text)
            return int(self.stream.write(text))

        def flush(self) -> None:
            self.stream.flush()

    both = Both(sys.stdout)
    monkeypatch.setattr(sys, "stdout", both)
    print("twice")
    assert (both.kept.getvalue(), ears.text()) == ("twice\n", "twice\n")


class Slotted:
    """A stream whose `write` cannot be replaced."""

    __slots__ = ("closed", "errors", "written")
    errors: str
    encoding = "latin-1"

    def __init__(self) -> None:
        self.written: list[str] = []
        self.closed = False

    def write(self, text: str) -> int:
        self.written += [text] if text else []
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        raise AssertionError("what is written this way would not be heard")

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 77

    def __iter__(self) -> Iterator[str]:
        return iter(self.written)


def test_a_stream_that_cannot_be_changed_gets_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Slotted()
    monkeypatch.setattr(sys, "stdout", stream)
    ears, other = Ears(), Ears()
    listen(ears)
    listen(other)
    proxy: Any = sys.stdout
    print("text", end="")
    proxy.writelines(["a", "b"])
    proxy.errors = "strict"
    facts = (proxy.isatty(), proxy.fileno(), proxy.encoding, proxy.closed, stream.errors, list(proxy))
    assert facts == (True, 77, "latin-1", False, "strict", ["text", "a", "b"])
    assert ears.text() == other.text() == "textab"
    leave(ears)
    assert sys.stdout is proxy
    leave(other)
    assert sys.stdout is stream


def test_a_proxy_that_was_replaced_is_not_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Slotted())
    ears = Ears()
    listen(ears)
    newer = io.StringIO()
    monkeypatch.setattr(sys, "stdout", newer)
    leave(ears)
    assert sys.stdout is newer


def test_no_console_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    ears = Ears()
    listen(ears)
    leave(ears)


def test_one_stream_under_both_names_is_heard_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    ears = Ears()
    listen(ears)
    print("x")
    print("y", file=sys.stderr)
    leave(ears)
    assert ears.text() == "x\ny\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_not_heard_and_has_its_streams_back(ears: Ears) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        sys.stdout.write("")
        os.write(write, repr(("write" in vars(sys.stdout), ears.heard)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    assert os.read(read, 1000) == b"(False, [])"
    os.close(read)
    assert "write" in vars(sys.stdout)
