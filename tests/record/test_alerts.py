"""Alerts: kept in the run, said in the terminal, sent to webhooks and functions; training never waits for them."""

from __future__ import annotations

import json
import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import epochal
from epochal.errors import RecordingWarning, UsageError
from epochal.facts import Alert
from epochal.record import Run, init
from epochal.record.alerts import Bucket
from epochal.store import StoredRun
from tests.record.scripts import only_run, script


class Receiver:
    """A webhook on this machine. `answers` are the statuses it gives, the last one for ever; None never answers."""

    def __init__(self, *answers: int | None) -> None:
        self.got: list[dict[str, Any]] = []
        self.kinds: list[str] = []
        self.paths: list[str] = []
        self.over = threading.Event()
        answers = answers or (200,)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = answers[min(len(receiver.got), len(answers) - 1)]
                receiver.paths.append(self.path)
                receiver.kinds.append(self.headers["Content-Type"])
                receiver.got.append(body)
                if status is None:
                    receiver.over.wait(60)
                    return
                self.send_response(status)
                if status in (301, 302, 307, 308):
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def do_GET(self) -> None:
                receiver.paths.append(f"GET {self.path}")
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}/hooks/T0KEN-1234"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    made: list[Receiver] = []

    def receiver(*answers: int | None) -> Receiver:
        made.append(Receiver(*answers))
        return made[-1]

    yield receiver
    for each in made:
        each.close()


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EPOCHAL_DIR", str(tmp_path / "runs"))
    monkeypatch.delenv("EPOCHAL_ALERT_WEBHOOK", raising=False)
    for proxy in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    return tmp_path / "runs"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short times of waiting."""
    monkeypatch.setattr("epochal.record.surroundings.Alerts", _quick_alerts)
    monkeypatch.setattr("epochal.record.webhook.PAUSE_SECS", 0.01)


def _quick_alerts(*given: Any, **options: Any) -> Any:
    from epochal.record.alerts import Alerts
    from epochal.record.webhook import Post

    alerts = Alerts(*given, **options)
    alerts._post = Post(
        options["targets"], about=options["about"], failed=alerts._undelivered, timeout_secs=0.3, close_secs=1.5
    )
    return alerts


def stored(run: Run) -> StoredRun:
    assert run.path is not None
    return StoredRun(run.path)


def undelivered(run: Run) -> int:
    return sum(notice.count for notice in stored(run).notices() if notice.code == "undelivered")


@contextmanager
def nothing_warned() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_an_alert_is_kept_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    with init("a", strict=True) as run:
        run.alert("starting")
        run.log({"loss": 1.0}, step=1200)
        before = time.time()
        run.alert("loss is high", "look at\nthe data", "warning")
        (first, second) = stored(run).alerts()
    assert (first.step, first.level, first.text) == (None, "info", "")
    assert before - 1e-3 <= second.t <= time.time()
    assert second == Alert(
        t=second.t, step=1200, title="loss is high", text="look at\nthe data", level="warning", rule="", rank=0
    )
    assert capsys.readouterr().err.splitlines() == [
        "epochal info: starting",
        "epochal warning: loss is high (step 1,200): look at",
        "the data",
    ]
    assert epochal.open().run(run.id).alerts() == [first, second]


def test_rules_raise_alerts_once_until_they_are_over(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[Alert] = []
    with init("a", strict=True, alerts=told.append) as run:
        run.define("loss", alert=["nan", "> 10"], better="min")
        run.define("acc", alert="stalled 3")
        for step, loss in enumerate([1.0, math.nan, math.nan, 11.0, 12.0]):
            run.log({"loss": loss, "acc": 0.5}, step=step, epoch=step, t=1000.0 + step)
    found = stored(run).alerts()
    assert [(a.title, a.rule, a.step, a.t, a.level) for a in found] == [
        ("loss is NaN", "loss: nan", 1, 1001.0, "error"),
        ("loss is 11, above 10", "loss: > 10", 3, 1003.0, "warning"),
        ("acc has had no value better than 0.5 for 3 steps", "acc: stalled 3", 3, 1003.0, "warning"),
    ]
    assert told == found
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert len(stored(run).scalars()["loss"].v) == 5
    state = json.loads(next((run.path or Path()).glob("w/*/state.json")).read_text())
    assert state["defines"] == {"loss": {"better": "min", "alert": ["nan", "> 10"]}, "acc": {"alert": ["stalled 3"]}}


def test_rules_see_numbers_of_any_kind_and_nested_names() -> None:
    import numpy as np

    with init("a", strict=True) as run:
        run.define("train/loss", alert="> 1")
        run.log({"train": {"loss": np.float32(2.0)}})
    assert [a.rule for a in stored(run).alerts()] == ["train/loss: > 1"]


def test_without_rules_logging_goes_straight_into_the_journal() -> None:
    with init("a") as run:
        assert run._writer is not None
        assert run._append is run._writer.append_many
        run.define("loss", better="min")
        assert run._append is run._writer.append_many
        run.define("loss", alert="nan")
        wrapped = run._append
        run.define("acc", alert="nan")
        assert run._append is wrapped is not run._writer.append_many


def test_what_is_no_alert_is_said_and_the_training_goes_on() -> None:
    with init("a", strict=True) as run:
        with pytest.raises(UsageError, match="level is 'bad'"):
            run.alert("x", level="bad")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="every is -1"):
            run.alert("x", every=-1)
        with pytest.raises(UsageError, match="alert is 'high'"):
            run.define("loss", alert="high")
    with init("a", strict=False) as run, pytest.warns(RecordingWarning, match=r"run.alert\(\) failed"):
        run.alert("x", level="bad")  # type: ignore[arg-type]


def test_every_holds_back_the_same_title() -> None:
    with init("a", strict=True) as run:
        for _ in range(3):
            run.alert("slow", every=3600)
            run.alert("other", every=0)
    assert [a.title for a in stored(run).alerts()] == ["slow", "other", "other", "other"]


def test_after_the_end_and_with_recording_off() -> None:
    run = init("a", strict=False)
    run.finish()
    with pytest.warns(RecordingWarning, match="was finished before"):
        run.alert("late")
    with nothing_warned(), init("a", mode="off", alerts="http://127.0.0.1:9/") as off:
        off.alert("nothing")
        off.define("x", alert="no rule at all")


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MY_TOKEN", "abcdef123")
    with init("a") as run:
        run.alert("token abcdef123", "see abcdef123")
    (alert,) = stored(run).alerts()
    assert (alert.title, alert.text) == ("token ***", "see ***")
    assert "abcdef" not in capsys.readouterr().err


def test_a_flood_is_kept_but_not_shouted(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[Alert] = []
    with init("a", strict=True, alerts=told.append) as run:
        for n in range(500):
            run.alert(f"alert {n}")
    assert len(stored(run).alerts()) == 500
    said = capsys.readouterr().err.splitlines()
    assert 20 <= len(said) <= 24
    assert len(told) == len([line for line in said if "alert " in line])
    assert undelivered(run) == 500 - len(told)


def test_a_bucket_fills_with_time() -> None:
    now = 0.0
    bucket = Bucket(2, 5.0, clock=lambda: now)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    now = 4.9
    assert not bucket.take()
    now = 5.1
    assert [bucket.take() for _ in range(2)] == [True, False]
    now = 1000.0
    assert [bucket.take() for _ in range(3)] == [True, True, False]


def test_a_webhook_gets_json_that_chats_understand(receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    with init("iris", name="first", strict=True, alerts=receiver.address) as run:
        run.log({"loss": 1.0}, step=42)
        run.alert("loss is high", "because", "warning")
    (body,) = receiver.got
    assert receiver.kinds == ["application/json"]
    assert body["text"] == "warning: loss is high\nbecause\niris/first, step 42"
    assert {k: body["epochal"][k] for k in ("project", "run", "name", "title", "level", "step")} == {
        "project": "iris",
        "run": run.id,
        "name": "first",
        "title": "loss is high",
        "level": "warning",
        "step": 42,
    }
    assert undelivered(run) == 0


def test_the_environment_names_a_webhook_and_several_targets_all_hear(
    receive: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = receive(), receive()
    told: list[Alert] = []
    monkeypatch.setenv("EPOCHAL_ALERT_WEBHOOK", two.address)
    with init("a", alerts=[one.address, told.append, one.address]) as run:
        run.alert("hello")
    assert [len(one.got), len(two.got), len(told)] == [1, 1, 1]
    assert undelivered(run) == 0


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("answers", "asked", "failed"), [((500, 200), 2, 0), ((500,), 2, 1), ((400, 200), 2, 0)])
def test_it_is_tried_once_more(
    receive: Callable[..., Receiver], answers: tuple[int, ...], asked: int, failed: int
) -> None:
    receiver = receive(*answers)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with init("a", alerts=receiver.address) as run:
            run.alert("hello")
    messages = ["an alert was not delivered: the webhook answered 500"] * failed
    assert [str(warning.message) for warning in told] == messages
    assert len(receiver.got) == asked
    assert undelivered(run) == failed
    assert ("epochal" in receiver.got[1]) == (answers[0] == 500), "a receiver that refuses is asked with the text alone"
    assert len(stored(run).alerts()) == 1


@pytest.mark.usefixtures("quick")
def test_a_redirection_is_a_failure_and_not_followed(receive: Callable[..., Receiver]) -> None:
    receiver = receive(302)
    with pytest.warns(RecordingWarning, match="answered 302"), init("a", alerts=receiver.address) as run:
        run.alert("hello")
    assert receiver.paths == ["/hooks/T0KEN-1234"] * 2
    assert undelivered(run) == 1


@pytest.mark.usefixtures("quick")
def test_a_webhook_that_hangs_holds_up_nothing(receive: Callable[..., Receiver]) -> None:
    receiver = receive(None)
    run = init("a", alerts=receiver.address)
    start = time.monotonic()
    for n in range(5):
        run.alert(f"alert {n}")
        run.log({"x": 1.0})
    assert time.monotonic() - start < 0.25
    with pytest.warns(RecordingWarning, match="an alert was not delivered: "):
        run.finish()
    assert time.monotonic() - start < 3.0
    assert undelivered(run) == 5
    assert len(stored(run).alerts()) == 5


@pytest.mark.usefixtures("quick")
def test_nobody_there(receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    receiver.close()
    run = init("a", alerts=receiver.address)
    run.alert("hello")
    with pytest.warns(RecordingWarning, match="the webhook: Connection refused"):
        run.finish()
    assert undelivered(run) == 1


@pytest.mark.usefixtures("quick")
def test_the_address_is_nowhere_in_the_run_and_in_no_message(
    receive: Callable[..., Receiver], capsys: pytest.CaptureFixture[str]
) -> None:
    receiver = receive(500)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with init("a", alerts=receiver.address) as run:
            run.alert(f"posting to {receiver.address}")
            print(receiver.address)
    assert run.path is not None
    written = b"".join(path.read_bytes() for path in run.path.rglob("*") if path.is_file())
    assert b"T0KEN" not in written
    assert not any("T0KEN" in str(warning.message) for warning in told)
    assert "T0KEN" not in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_functions_that_raise_or_hang_are_no_trouble() -> None:
    release = threading.Event()
    heard: list[str] = []

    def raises(alert: Alert) -> None:
        raise RuntimeError("odd")

    def hangs(alert: Alert) -> None:
        heard.append(alert.title)
        release.wait(30)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = init("a", alerts=[raises, hangs])
        start = time.monotonic()
        run.alert("one")
        run.alert("two")
        assert time.monotonic() - start < 0.25
        run.finish()
    release.set()
    messages = [str(warning.message) for warning in told]
    assert messages == ["an alert was not delivered: the function raised RuntimeError: odd"], "said once"
    assert heard == ["one"]
    assert undelivered(run) == 4, "one failed, one did not end, and the second alert came to neither"


@pytest.mark.parametrize(
    "wrong", ["ftp://x/y", "hooks.example", "http://", "file:///etc/passwd", "http://x:99999/", "http://a b/", 3, [3]]
)
def test_what_is_no_target_is_said_before_anything_is_made(root: Path, wrong: Any) -> None:
    with pytest.raises(UsageError) as told:
        init("a", alerts=wrong)
    assert "alerts" in told.value.message
    if isinstance(wrong, str):
        assert wrong not in str(told.value) or wrong == "http://", "it may hold a token"
    assert not root.exists()


def test_an_alert_of_a_script_that_fails_is_sent(root: Path, receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    done = script(
        """
        run = epochal.init("a")
        run.define("loss", alert="nan")
        run.log({"loss": float("nan")}, step=3)
        raise ValueError("diverged")
        """,
        root,
        env={"EPOCHAL_ALERT_WEBHOOK": receiver.address},
    )
    assert "epochal error: loss is NaN (step 3)" in done.stderr
    assert [body["text"].splitlines()[0] for body in receiver.got] == ["error: loss is NaN"]
    assert [a.title for a in only_run(root).alerts()] == ["loss is NaN"]
    assert only_run(root).console()[0].text == "epochal error: loss is NaN (step 3)"


def test_an_alert_survives_a_kill(root: Path) -> None:
    script("run = epochal.init('a')\nrun.alert('last words', level='error')\nos.kill(os.getpid(), 9)", root)
    assert [a.title for a in only_run(root).alerts()] == ["last words"]


def test_an_alert_at_the_very_end_of_the_process(root: Path, receive: Callable[..., Receiver]) -> None:
    receiver = receive()
    done = script(
        """
        import atexit
        run = None
        atexit.register(lambda: run.alert("goodbye"))  # runs before the recorder's own, which was registered later
        run = epochal.init("a")
        run.log({"x": 1.0})
        """,
        root,
        env={"EPOCHAL_ALERT_WEBHOOK": receiver.address},
    )
    # Handlers run from the last to the first: the run has ended by then, and that is said.
    assert done.returncode == 0
    assert "was finished before" in done.stderr
    assert receiver.got == []
