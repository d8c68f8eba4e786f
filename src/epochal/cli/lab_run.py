"""`epochal lab run` and `epochal lab rerun`."""

from __future__ import annotations

import argparse
import math
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epochal.cli.options import add_dir, add_json, existing_root, within
from epochal.cli.terminal import Terminal, columns, duration, shorten
from epochal.picture.numbers import number
from epochal.store import read_lab

if TYPE_CHECKING:
    from epochal.facts import TrialState
    from epochal.lab import Lab, LabResult, Progress

EXAMPLES = {
    "run": """
epochal lab run lab.toml
epochal lab run lab.toml --jobs 2 --json
epochal lab run lab.toml --resume
epochal lab run lab.toml --only 0,4-7
epochal lab run lab.toml --ray head:6379
epochal lab run lab.toml --store s3://team/runs
""",
    "rerun": """
epochal lab rerun
epochal lab rerun mnist3d 3,5
epochal lab rerun latest stopped --jobs 2
""",
}
_SHOWN = 12
_INTERRUPTED = 130


def configure(verb: str, parser: argparse.ArgumentParser) -> None:
    """Options."""
    if verb == "run":
        parser.add_argument("file", metavar="LAB.TOML", help="what to try; docs/lab.md says what stands in it")
        parser.add_argument(
            "--resume",
            action="store_true",
            help="go on with the newest lab of this name: finished trials stay, broken ones go on from their snapshot",
        )
        parser.add_argument("--only", metavar="TRIALS", action="append", default=[], help="numbers, such as 0,4-7")
        parser.add_argument("--plan", action="store_true", help="say what would be trained, and train nothing")
    else:
        parser.add_argument("lab", metavar="LAB", nargs="?", default="latest", help="a name or id (default: latest)")
        parser.add_argument(
            "trials", metavar="TRIALS", nargs="*", help="numbers such as 3,5-8, or failed, stopped (default: failed)"
        )
    parser.add_argument(
        "--jobs", type=within(int, 1, 10_000), metavar="N", help="trials at once; the cores are divided (default: 1)"
    )
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="train on the Ray cluster at host:port, ray://host:port or auto"
    )
    parser.add_argument(
        "--store", metavar="S3", help="put all into s3://bucket/prefix while it is recorded; --dir is then a copy here"
    )
    add_dir(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Train, keep people informed, and say what came of it."""
    from epochal.lab import Lab, rerun
    from epochal.lab.api import run_settings

    began = time.monotonic()
    if args.verb == "run":
        lab = Lab.read(args.file)
        if args.plan:
            return _plan(lab, args, terminal)
        with watched(terminal, lab.settings.objectives[0][0]) as progress:
            result = run_settings(
                lab.settings,
                dir=args.dir,
                store=args.store,
                jobs=args.jobs,
                ray=args.ray,
                resume=args.resume,
                only=args.only,
                folder=Path(args.file).resolve().parent,
                on_progress=progress,
                say=terminal.note,
            )
    else:
        root = existing_root(args.store or args.dir, heavy=False)
        with watched(terminal, read_lab(root, args.lab)[0].objective) as progress:
            result = rerun(
                args.lab,
                args.trials or ("failed",),
                dir=args.dir,
                store=args.store,
                jobs=args.jobs,
                ray=args.ray,
                on_progress=progress,
                say=terminal.note,
            )
    if args.json:
        terminal.json(result.document())
    else:
        say_result(result, args, terminal, time.monotonic() - began)
    if result.interrupted:
        terminal.note("Stopped. Go on with: " + _again(args, result))
        return _INTERRUPTED
    return 0 if any(state.status == "finished" for state in result.trials) else 1


def _plan(lab: Lab, args: argparse.Namespace, terminal: Terminal) -> int:
    info = lab.plan()
    if args.json:
        fields = ("number", "configuration", "repeat", "seed")
        trials = [
            {**{name: getattr(trial, name) for name in fields}, "parameters": dict(trial.parameters)}
            for trial in info.trials
        ]
        terminal.json({"name": info.name, "trials": trials})
        return 0
    rows = [["trial", "seed", "parameters"]]
    equal = _equal([t.parameters for t in info.trials])
    own = [{k: v for k, v in t.parameters.items() if k not in equal} for t in info.trials]
    rows += [[str(t.number), str(t.seed), _parameters(each)] for t, each in zip(info.trials, own, strict=True)]
    _table(rows, terminal, right=(0, 1))
    if equal:
        terminal.line(f"all    {_parameters(equal)}")
    if info.settings.get("sampler") and (info.settings.get("budget") or {}).get("trials"):
        terminal.line(f"The sampler {info.settings['sampler']} chooses among the points of the space.")
    return 0


@contextmanager
def watched(terminal: Terminal, objective: str) -> Iterator[Callable[[Progress], None]]:
    """A bar where somebody watches, otherwise a line for each trial that ends."""
    with terminal.progress("Trials", unit="trials") as update:

        def progress(at: Progress) -> None:
            words = [f"{at.running} running"]
            if at.failed:
                words.append(f"{at.failed} failed")
            if at.best is not None:
                words.append(f"best {number(at.best)}")
            left = None if at.seconds_left is None or at.done == at.total else duration(at.seconds_left)
            if left is not None:
                words.append(f"about {left} left")
            update(at.done, at.total, " · ".join(words))
            if at.ended is not None and not terminal.watched:
                state = at.ended
                value = state.metrics.get(objective)
                said = [f"trial {state.trial.number} {state.status} after {duration(state.seconds)}"]
                said += [f"{objective} {number(value)}"] if value is not None else []
                said += [_first(state.error)] if state.error else []
                said += [f"{at.done} of {at.total}" + (f", about {left} left" if left else "")]
                terminal.note(" · ".join(said))

        yield progress


def say_result(result: LabResult, args: argparse.Namespace, terminal: Terminal, seconds: float) -> None:
    """What came of a lab, for people: the best trials, those that went wrong, and where it lies."""
    info, states = result.info, result.trials
    counts = {s: sum(state.status == s for state in states) for s in ("finished", "failed", "stopped", "waiting")}
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    terminal.line(f"{terminal.style(info.name, 'bold')} · {said} · {duration(seconds)}")
    known = [s for s in states if math.isfinite(s.metrics.get(info.objective, math.nan)) and s.status == "finished"]
    known.sort(key=lambda s: s.metrics[info.objective], reverse=info.mode == "max")
    if known:
        terminal.line()
        equal = _equal([state.trial.parameters for state in states])
        rows = [["trial", info.objective, "time", "seed", "parameters"]]
        rows += [_row(state, info.objective, equal) for state in known]
        _table(rows[: _SHOWN + 1], terminal, right=(0, 1, 2, 3))
        if len(known) > _SHOWN:
            terminal.line(f"... and {len(known) - _SHOWN:,} more: epochal lab show {info.id}")
    wrong = [state for state in states if state.status in ("failed", "stopped") and state.error]
    if wrong:
        terminal.line()
    for state in wrong[:_SHOWN]:
        terminal.line(f"trial {state.trial.number} {state.status}: {_first(state.error)}")
    if len(wrong) > _SHOWN:
        terminal.line(f"... and {len(wrong) - _SHOWN:,} more")
    terminal.line()
    terminal.line(f"lab    {info.project}/{info.id}")
    place = result.info.settings.get("store") or args.dir
    terminal.line(f"view   epochal view{f' {shlex.quote(place)}' if place else ''}")


def _row(state: TrialState, objective: str, equal: Mapping[str, Any]) -> list[str]:
    parameters = _parameters({k: v for k, v in state.trial.parameters.items() if k not in equal})
    value = number(state.metrics[objective])
    return [str(state.trial.number), value, duration(state.seconds), str(state.trial.seed), parameters]


def _table(rows: list[list[str]], terminal: Terminal, *, right: tuple[int, ...]) -> None:
    for i, text in enumerate(columns(rows, right=right)):
        terminal.line(terminal.style(text, "soft") if i == 0 else text)


def _equal(parameters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Those parameters that are the same in all trials: they tell none from another."""
    first = parameters[0] if len(parameters) > 1 else {}
    return {k: v for k, v in first.items() if all(k in other and other[k] == v for other in parameters)}


def _parameters(parameters: Mapping[str, Any]) -> str:
    said = (f"{k}={f'{v:.4g}' if isinstance(v, float) else v}" for k, v in parameters.items())
    return shorten(" ".join(said), 110)


def _first(error: str | None) -> str:
    return shorten((error or "").strip().splitlines()[0] if error and error.strip() else "", 200)


def _again(args: argparse.Namespace, result: LabResult) -> str:
    place = f" --dir {shlex.quote(args.dir)}" if args.dir else ""
    place += f" --store {shlex.quote(args.store)}" if getattr(args, "store", None) else ""
    if args.verb == "run":
        return f"epochal lab run {shlex.quote(args.file)} --resume{place}"
    return f"epochal lab rerun {result.info.id} stopped{place}"
