"""What a lab is asked to be: the same from a lab.toml and from Python, and checked in one place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from epochal.errors import UsageError
from epochal.facts import better_by_name
from epochal.facts.lab import Mode
from epochal.lab.space import Space, parse_space
from epochal.lab.words import bytes_of, quoted, seconds_of, suggestion
from epochal.store.layout import check_name
from epochal.store.remote import parse_address

__all__ = ["Budget", "LabSettings", "Machine", "Sampler", "settings_of"]

Sampler = Literal["grid", "random", "tpe", "gp", "nsgaii", "qmc"]
Pruner = Literal["median", "percentile", "halving", "hyperband"]
OPTUNA_SAMPLERS = ("tpe", "gp", "nsgaii", "qmc")
SEED_LIMIT = 2**32 - 1

_LAB: tuple[str, ...] = (
    "name",
    "project",
    "notes",
    "model",
    "data",
    "train",
    "validation",
    "repeats",
    "objective",
    "mode",
)
_LAB += ("store", "budget", "seed", "stop_on_nan", "sampler", "pruner")
_RUNNER = ("jobs", "cpus", "gpus", "memory", "retries", "ray", "resources", "working_dir")
_TABLES = ("lab", "parameters", "trials", "space", "runner")
_BUDGET = ("trials", "time", "trial_time")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*|.+\.py:[A-Za-z_]\w*")

Locate = Callable[..., str]
"""Says where a key stands, as words that begin an error: `lab.toml, line 3: `."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a lab may take: configurations out of its space, seconds in all, seconds of one trial; None: no bound."""

    trials: int | None = None
    seconds: float | None = None
    trial_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a trial gets and where it runs. `memory` is in bytes; `retries` counts restarts after a machine was lost."""

    jobs: int | None = None
    cpus: int | None = None
    gpus: float = 0.0
    memory: int | None = None
    retries: int = 3
    ray: str | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    working_dir: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSettings:
    """A lab before it is planned. `objectives` are metrics with the direction that is better; the first one leads."""

    name: str
    project: str
    model: str | None = None
    data: str | None = None
    train: str | None = None
    repeats: int = 1
    objectives: tuple[tuple[str, Mode], ...] = (("val_accuracy", "max"),)
    budget: Budget = field(default_factory=Budget)
    seed: int = 0
    stop_on_nan: bool = False
    sampler: Sampler | None = None
    pruner: Pruner | None = None
    validation: float | None = None
    notes: str = ""
    store: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    trials: tuple[Mapping[str, Any], ...] = ()
    space: Space = field(default_factory=lambda: Space({}))
    space_source: Mapping[str, Any] = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)
    source: str = ""


def settings_of(document: Mapping[str, Any], *, locate: Locate, source: str = "", name: str = "") -> LabSettings:
    """The settings that a document (the tables of a lab.toml) means.

    Raises UsageError that begins with where the trouble is. `name` is the lab's where the document has none.
    """
    _known(document, _TABLES, locate, "")
    lab = _table(document, "lab", locate)
    _known(lab, _LAB, locate, "lab")
    read = _Reader(lab, "lab", locate)
    title = check_name_at(read.text("name") or name, locate("lab", "name"))
    model, data, train = read.text("model"), read.text("data"), read.text("train")
    _check_sources(model, data, train, locate)
    sampler = read.one_of("sampler", get_args(Sampler))
    repeats = read.whole("repeats", 1, lo=1, hi=10_000)
    machine = _machine(_table(document, "runner", locate), locate)
    space_source = _table(document, "space", locate)
    try:
        space = parse_space(space_source)
    except UsageError as error:
        key = re.match(r"\[space\] (\S+?):? ", error.message + " ")
        raise UsageError(f"{locate('space', key[1] if key else '')}{error.message}", hint=error.hint) from None
    budget = _budget(lab.get("budget", {}), locate)
    trials = _trials(document, locate)
    parameters = _table(document, "parameters", locate)
    _no_seed(parameters, space_source, trials, locate)
    if not trials and not space.rules and not parameters:
        raise UsageError(
            f"{locate()}there is nothing to train: no [[trials]], no [space], no [parameters]",
            hint="list trials, or give each parameter its values below [space]",
        )
    if sampler != "grid" and (sampler or not space.finite) and space.rules and budget.trials is None:
        raise UsageError(
            f"{locate('space')}points are drawn from this space without an end",
            hint="say how many: budget = { trials = 20 } below [lab], or list all values and use a grid",
        )
    if sampler == "grid":
        try:
            next(space.grid(), None)
        except UsageError as error:
            raise UsageError(f"{locate('lab', 'sampler')}{error.message}", hint=error.hint) from None
    return LabSettings(
        name=title,
        project=check_name_at(read.text("project") or title, locate("lab", "project")),
        model=model,
        data=data,
        train=train,
        repeats=repeats,
        objectives=_objectives(lab, locate),
        budget=budget,
        seed=read.whole("seed", 0, lo=0, hi=SEED_LIMIT),
        stop_on_nan=read.flag("stop_on_nan"),
        sampler=sampler,
        pruner=read.one_of("pruner", get_args(Pruner)),
        validation=read.number("validation", None, lo=0.0),
        notes=read.text("notes") or "",
        store=_store(read),
        parameters=dict(parameters),
        trials=trials,
        space=space,
        space_source=dict(space_source),
        machine=machine,
        source=source,
    )


def check_name_at(name: str, where: str) -> str:
    """A name that can be a folder's, or an error that says where it stands."""
    if not name:
        raise UsageError(f"{where}the lab has no name", hint='write name = "my-lab" below [lab]')
    try:
        return check_name(name)
    except UsageError as error:
        raise UsageError(f"{where}{error.message}", hint=error.hint) from None


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the keys of a table, each of its type."""

    table: Mapping[str, Any]
    title: str
    locate: Locate

    def refuse(self, key: str, expected: str) -> UsageError:
        return UsageError(f"{self.locate(self.title, key)}{key} is {self.table[key]!r}, expected {expected}")

    def text(self, key: str) -> str | None:
        value = self.table.get(key)
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        raise self.refuse(key, "a text")

    def flag(self, key: str) -> bool:
        value = self.table.get(key, False)
        if isinstance(value, bool):
            return value
        raise self.refuse(key, "true or false")

    def whole(self, key: str, default: Any, *, lo: int, hi: int) -> Any:
        value = self.table.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not lo <= value <= hi:
            raise self.refuse(key, f"a whole number from {lo} to {hi}")
        return value

    def number(self, key: str, default: Any, *, lo: float) -> Any:
        value = self.table.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= lo:
            raise self.refuse(key, f"a number from {lo:g} on")
        return float(value)

    def one_of(self, key: str, known: Sequence[str]) -> Any:
        value = self.table.get(key)
        if value is None or value in known:
            return value
        hint = suggestion(str(value), known)
        raise UsageError(
            f"{self.locate(self.title, key)}{key} is {value!r}, expected one of {quoted(known)}", hint=hint
        )


def _store(read: _Reader) -> str | None:
    """Where runs lie: a folder, or the address of an object store."""
    place = read.text("store")
    if place is None or "://" not in place:
        return place
    try:
        parse_address(place)
    except UsageError as error:
        raise UsageError(f"{read.locate(read.title, 'store')}{error.message}", hint=error.hint) from None
    return place


def _known(table: Mapping[str, Any], known: Sequence[str], locate: Locate, title: str) -> None:
    for key in table:
        if key not in known:
            where = f"[{title}]" if title else "a lab"
            if not title and key in _LAB:
                hint = f"it belongs below [lab]: [lab] {key} = ..."
            else:
                hint = suggestion(str(key), known)
            raise UsageError(f"{locate(title or key, key if title else '')}{where} has no {key!r}", hint=hint)


def _table(document: Mapping[str, Any], key: str, locate: Locate) -> Mapping[str, Any]:
    found = document.get(key, {})
    if not isinstance(found, Mapping):
        raise UsageError(f"{locate(key)}{key!r} is a {type(found).__name__}, expected a table [{key}]")
    return found


def _check_sources(model: str | None, data: str | None, train: str | None, locate: Locate) -> None:
    if train is not None:
        if model is not None or data is not None:
            key = "model" if model is not None else "data"
            raise UsageError(
                f"{locate('lab', key)}{key} stands beside train",
                hint="a train function makes its own model and data: give either model and data, or train",
            )
        if not _FUNCTION.fullmatch(train):
            raise UsageError(
                f"{locate('lab', 'train')}train is {train!r}", hint='write train = "package.module:function"'
            )
        return
    if model is None or data is None:
        lacking = " and ".join(key for key, value in (("model", model), ("data", data)) if value is None)
        raise UsageError(
            f"{locate('lab')}[lab] lacks {lacking}",
            hint='such as model = "epochal:convnet3d", data = "epochal:mnist3d"; or train = "package.module:function"',
        )
    if not _FUNCTION.fullmatch(model):
        raise UsageError(
            f"{locate('lab', 'model')}model is {model!r}",
            hint='write model = "package.module:factory" or "epochal:convnet3d"',
        )


def _objectives(lab: Mapping[str, Any], locate: Locate) -> tuple[tuple[str, Mode], ...]:
    given = lab.get("objective", "val_accuracy")
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list | tuple) or not names or not all(isinstance(n, str) and n for n in names):
        raise UsageError(f"{locate('lab', 'objective')}objective is {given!r}, expected the name of a metric")
    modes = lab.get("mode")
    modes = [modes] * len(names) if modes is None or isinstance(modes, str) else list(modes)
    if len(modes) != len(names):
        raise UsageError(f"{locate('lab', 'mode')}mode has {len(modes)} directions for {len(names)} objectives")
    found: list[tuple[str, Mode]] = []
    for name, mode in zip(names, modes, strict=True):
        if mode not in ("min", "max", None):
            raise UsageError(f"{locate('lab', 'mode')}mode is {mode!r}", hint="use 'min' or 'max'")
        found.append((name.replace("/", "_"), mode or better_by_name(name)))
    return tuple(found)


def _budget(given: Any, locate: Locate) -> Budget:
    where = locate("lab", "budget")
    if not isinstance(given, Mapping):
        raise UsageError(f"{where}budget is {given!r}", hint='write budget = { trials = 20, time = "2h" }')
    if unknown := [key for key in given if key not in _BUDGET]:
        raise UsageError(f"{where}budget has no {unknown[0]!r}", hint=suggestion(unknown[0], _BUDGET))
    trials = given.get("trials")
    if trials is not None and (isinstance(trials, bool) or not isinstance(trials, int) or trials < 1):
        raise UsageError(f"{where}trials of the budget is {trials!r}, expected a whole number from 1 on")
    try:
        seconds = {key: seconds_of(given[key], what=key) for key in ("time", "trial_time") if key in given}
    except UsageError as error:
        raise UsageError(f"{where}{error.message}", hint=error.hint) from None
    return Budget(trials=trials, seconds=seconds.get("time"), trial_seconds=seconds.get("trial_time"))


def _trials(document: Mapping[str, Any], locate: Locate) -> tuple[Mapping[str, Any], ...]:
    given = document.get("trials", ())
    if not isinstance(given, list | tuple) or not all(isinstance(trial, Mapping) for trial in given):
        raise UsageError(f"{locate('trials')}trials is no list of tables", hint="write [[trials]] before each")
    return tuple(dict(trial) for trial in given)


def _no_seed(
    parameters: Mapping[str, Any], space: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], locate: Locate
) -> None:
    for title, table in (("parameters", parameters), ("space", space), *(("trials", trial) for trial in trials)):
        if "seed" in table:
            raise UsageError(
                f"{locate(title, 'seed')}seed is no parameter: each repeat has a seed of its own",
                hint="below [lab], seed = 7 sets the first one, and repeats = 5 how many there are",
            )


def _machine(given: Mapping[str, Any], locate: Locate) -> Machine:
    _known(given, _RUNNER, locate, "runner")
    read = _Reader(given, "runner", locate)
    resources = given.get("resources", {})
    numbers = isinstance(resources, Mapping) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in resources.values()
    )
    if not numbers:
        raise read.refuse("resources", "a table of numbers above 0")
    memory = None
    if "memory" in given:
        try:
            memory = bytes_of(given["memory"], what="memory")
        except UsageError as error:
            raise UsageError(f"{locate('runner', 'memory')}{error.message}", hint=error.hint) from None
    return Machine(
        jobs=read.whole("jobs", None, lo=1, hi=10_000),
        cpus=read.whole("cpus", None, lo=1, hi=10_000),
        gpus=read.number("gpus", 0.0, lo=0.0),
        memory=memory,
        retries=read.whole("retries", 3, lo=0, hi=1_000),
        ray=read.text("ray"),
        resources=dict(resources),
        working_dir=read.text("working_dir"),
    )
