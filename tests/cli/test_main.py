from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from epochal._version import __version__
from epochal.cli.main import VERBS, main, verb
from epochal.cli.terminal import Terminal
from tests.cli.command import COMMAND, environment, epochal
from tests.workspace.recording import Recorded


def test_help_names_every_verb_and_answers_at_once() -> None:
    best = 9.0
    for _ in range(3):
        began = time.monotonic()
        done = epochal("--help")
        best = min(best, time.monotonic() - began)
    assert done.returncode == 0
    assert all(f"\n  {name}" in done.stdout for name in VERBS)
    assert best < 1.0  # 0.07 s where nothing else runs


def test_help_reads_no_heavy_library() -> None:
    code = (
        "import sys, epochal.cli.main as m; m.main(['--help'])\n"
        "assert not {'numpy', 'pyarrow', 'fastapi', 'torch', 'rich', 'PIL'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment())


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help_with_examples(name: str) -> None:
    done = epochal(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"usage: epochal {name}" in done.stdout
    examples = [line.strip() for line in verb(name).EXAMPLES.strip().splitlines()]
    assert examples
    for line in examples:
        assert line.startswith(f"epochal {name}")
        assert line in done.stdout


def test_version() -> None:
    assert epochal("--version").stdout == f"epochal {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, ""),
        (["exprot"], 2, "Did you mean 'export'?"),
        (["zzz"], 2, "Use one of: demo"),
        (["ls", "--nope"], 2, "--nope"),
        (["export", "latest"], 2, "--to"),
        (["show"], 2, "RUN"),
        (["view", "--port", "99999"], 2, "between 0 and 65535"),
        (["view", "--port", "many"], 2, "not a whole number"),
        (["ls", "--dir", "/no/such/place"], 1, "does not exist"),
        (["view", "/no/such/place"], 1, "epochal demo"),
        (["show", "latest", "--dir", "/no/such/place"], 1, "does not exist"),
        (["demo", "--no-view", "--hidden", "12", "iris"], 2, "name the table first"),
        (["demo", "roses", "--no-view"], 2, "iris"),
        (["demo", "iris", "--data", "x.csv"], 2, "Name one"),
        (["demo", "--no-view", "--epochs", "0"], 2, "epochs"),
        (["demo", "--no-view", "--optimizer", "adma"], 2, "Did you mean 'adam'"),
    ],
)
def test_mistakes_are_said_in_words_with_the_right_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    said = capsys.readouterr()
    assert words in said.err
    if arguments:
        assert said.out == ""
        assert said.err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_in_a_process_of_its_own_is_no_traceback(tmp_path: Path) -> None:
    done = epochal("show", "latest", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    done = epochal("ls", "--dir", tmp_path / "f")
    assert done.returncode == 1
    assert "is a file" in done.stderr


def test_debug_shows_where_it_failed(tmp_path: Path) -> None:
    done = epochal("ls", "--dir", tmp_path / "none", env=environment(EPOCHAL_DEBUG="1"))
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_reader_that_goes_away_is_no_failure(recorded: Recorded) -> None:
    process = subprocess.Popen(
        [*COMMAND, "ls", "--json", "--dir", str(recorded.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    process.stdout.close()
    _, error = process.communicate(timeout=60)
    assert "Traceback" not in error
    assert "Broken" not in error
    assert process.returncode == 0


def test_the_entry_point_returns_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert main(["nonsense"]) == 2
    assert "usage: epochal" in capsys.readouterr().out


def test_interrupt_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_arguments: list[str], _terminal: Terminal) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("epochal.cli.main._dispatch", interrupted)
    assert main(["ls"]) == 130
    assert "Interrupted" in capsys.readouterr().err
