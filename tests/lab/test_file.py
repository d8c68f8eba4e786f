from __future__ import annotations

from pathlib import Path

import pytest

from epochal.errors import NotFoundError, UsageError
from epochal.facts import Trial
from epochal.lab.file import parse_lab, read_lab_file
from epochal.lab.plan import choose, plan
from epochal.lab.words import bytes_of, seconds_of

HEAD = '[lab]\nname = "rates"\ntrain = "mine:train"\n'
WHOLE = """
[lab]
name = "mnist3d"
project = "digits"
model = "epochal:convnet3d"
data = "epochal:mnist3d"
repeats = 2
objective = "val/loss"
seed = 5
stop_on_nan = true
budget = { trials = 3, time = "1h 30min", trial_time = 90 }

[parameters]
epochs = 3

[[trials]]
filters = [8, 16]
kernel_sizes = [3, 3]

[[trials]]
filters = [8]
epochs = 5

[space]
learning_rate = { log_uniform = [1e-4, 1e-1] }

[runner]
jobs = 2
memory = "2GB"
"""


def test_all_of_it_is_read() -> None:
    settings = parse_lab(WHOLE)
    assert (settings.name, settings.project, settings.model) == ("mnist3d", "digits", "epochal:convnet3d")
    assert settings.objectives == (("val_loss", "min"),)
    assert (settings.budget.trials, settings.budget.seconds, settings.budget.trial_seconds) == (3, 5400.0, 90.0)
    assert (settings.machine.jobs, settings.machine.memory) == (2, 2_000_000_000)
    trials = plan(settings)
    assert [(t.number, t.configuration, t.repeat, t.seed) for t in trials[:6]] == [
        (0, 0, 0, 5),
        (1, 1, 0, 5),
        (2, 2, 0, 5),
        (3, 3, 0, 5),
        (4, 4, 0, 5),
        (5, 0, 1, 6),
    ]
    assert len(trials) == 10
    assert trials[0].parameters == {"epochs": 3, "filters": [8, 16], "kernel_sizes": [3, 3]}
    assert trials[1].parameters == {"epochs": 5, "filters": [8]}
    assert set(trials[2].parameters) == {"epochs", "learning_rate"}
    assert trials[7].parameters == trials[2].parameters


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + "repeat = 2\n", "lab.toml, line 4: [lab] has no 'repeat'\n  hint: did you mean 'repeats'?"),
        (HEAD + "[parametrs]\na = 1\n", "line 4: a lab has no 'parametrs'\n  hint: did you mean 'parameters'?"),
        ("repeats = 3\n" + HEAD, "line 1: a lab has no 'repeats'\n  hint: it belongs below [lab]"),
        (HEAD + "\n[space]\n\nrate = { uniform = [1, 0] }\n", "line 7: [space] rate: uniform goes from 1 to 0"),
        (HEAD + 'budget = { tim = "2h" }\n', "line 4: budget has no 'tim'\n  hint: did you mean 'time'?"),
        (HEAD + 'budget = { time = "soon" }\n', "line 4: time is 'soon', not a time"),
        (HEAD + 'sampler = "tpee"\n', "line 4: sampler is 'tpee'"),
        (HEAD + "repeats = 0\n", "line 4: repeats is 0, expected a whole number from 1"),
        (HEAD + "[space]\nseed = [1, 2]\n", "line 5: seed is no parameter"),
        (HEAD + "[space]\nrate = { uniform = [0, 1] }\n", "points are drawn from this space without an end"),
        (HEAD, "there is nothing to train"),
        ('[lab]\nname = "a"\nmodel = "epochal:convnet3d"\n', "line 1: [lab] lacks data"),
        (HEAD + 'model = "a:b"\n', "line 4: model stands beside train"),
        ('[lab]\nname = "a"\ntrain = "mine"\n', "line 3: train is 'mine'"),
        ('[lab]\nname = "a/b"\ntrain = "m:f"\n[parameters]\na = 1\n', "line 2: name 'a/b' contains '/'"),
        ('[lab]\nname = "a\n', "lab.toml: Illegal character"),
        (HEAD + '[runner]\nmemory = "lots"\n', "line 5: memory is 'lots'"),
        (HEAD + "trials = 3\n", "[lab] has no 'trials'"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_lab(text)
    assert words in str(caught.value)


def test_a_file_without_a_name_lends_its_own(tmp_path: Path) -> None:
    (tmp_path / "rates.toml").write_text('[lab]\ntrain = "m:f"\n[parameters]\na = 1\n')
    assert read_lab_file(tmp_path / "rates.toml").name == "rates"
    (tmp_path / "lab.toml").write_text('[lab]\ntrain = "m:f"\n[parameters]\na = 1\n')
    with pytest.raises(UsageError, match="the lab has no name"):
        read_lab_file(tmp_path / "lab.toml")


def test_a_file_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "other.toml").touch()
    with pytest.raises(NotFoundError, match=r"(?s)no file.*there is: other.toml"):
        read_lab_file(tmp_path / "lab.toml")
    with pytest.raises(UsageError, match="is a folder"):
        read_lab_file(tmp_path)


def test_trials_are_chosen_by_number_or_by_how_they_stand() -> None:
    trials = [Trial(number=n, configuration=n, repeat=0, seed=0) for n in range(6)]
    assert choose(trials, ["0,3-4", "5"], {}) == {0, 3, 4, 5}
    assert choose(trials, ["failed"], {1: "failed", 2: "finished"}) == {1}
    with pytest.raises(UsageError, match=r"(?s)no trial 4-9.*trials 0 to 5"):
        choose(trials, ["4-9"], {})
    with pytest.raises(UsageError, match="names no trials"):
        choose(trials, ["best"], {})


@pytest.mark.parametrize(("text", "seconds"), [(5, 5.0), ("90 s", 90.0), ("2h", 7200.0), ("1h 30min", 5400.0)])
def test_times(text: object, seconds: float) -> None:
    assert seconds_of(text, what="time") == seconds


@pytest.mark.parametrize(("text", "size"), [(7, 7), ("500MB", 500_000_000), ("2 GiB", 2 << 30), ("1.5kb", 1500)])
def test_sizes(text: object, size: int) -> None:
    assert bytes_of(text, what="memory") == size


@pytest.mark.parametrize("text", ["", "x", -1, True, None, "5 parsecs", float("nan")])
def test_what_is_no_time_or_size(text: object) -> None:
    for read in (seconds_of, bytes_of):
        with pytest.raises(UsageError):
            read(text, what="it")


def test_a_store_is_a_folder_or_an_address() -> None:
    lab = '[lab]\nname = "kept"\ntrain = "m:f"\nstore = "{}"\n[parameters]\nrate = 1\n'
    for place in ("runs/shared", "s3://team/runs"):
        assert parse_lab(lab.format(place)).store == place
    for wrong in ("s3://", "s3://team/../other", "gs://team/runs"):
        with pytest.raises(UsageError, match=r"lab\.toml, line 4: .*s3://|lab\.toml, line 4: .*gs://"):
            parse_lab(lab.format(wrong))
