"""`epochal lab show`, `epochal lab report` and `epochal lab best`."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from epochal.cli.options import add_dir, add_json, existing_root, within
from epochal.cli.terminal import Terminal, columns, duration, shorten
from epochal.errors import NotFoundError
from epochal.facts.lab import TrialState
from epochal.picture.numbers import number
from epochal.store.labs import read_lab
from epochal.store.remote import is_remote
from epochal.views.effects import measure_effects
from epochal.views.effects_design import value_text
from epochal.views.effects_words import effect_sentences, notes_of, spread_sentence
from epochal.views.lab import LabFacts, LabShelf, best_trial, varying_parameters

EXAMPLES = {
    "show": """
epochal lab show
epochal lab show mnist3d --all
epochal lab show latest --json
epochal lab show s3://team/runs
""",
    "report": """
epochal lab report
epochal lab report mnist3d --to report.html
epochal lab report --metric val_loss --skip 10 --to report.md
""",
    "best": """
epochal lab best
epochal lab best mnist3d --json
""",
}
_SHOWN = 20


def configure(verb: str, parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "lab",
        metavar="LAB",
        nargs="?",
        default="latest",
        help="a name or id (default: latest), or an s3:// address: its latest",
    )
    if verb == "show":
        parser.add_argument("--all", action="store_true", help=f"all trials, not the first {_SHOWN}")
    if verb == "report":
        parser.add_argument("--to", metavar="FILE", help="a .md or .html file; left out: Markdown is printed")
        parser.add_argument("--metric", metavar="NAME", help="what effects are told on (default: the lab's objective)")
        parser.add_argument(
            "--skip",
            type=within(int, 0, 10**6),
            default=5,
            metavar="K",
            help="epochs left out at the start of means (default: 5)",
        )
    add_dir(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Say how a lab stands, what its parameters did, or which trial is best."""
    if is_remote(args.lab):
        args.dir, args.lab = args.lab, "latest"
    root = existing_root(args.dir, heavy=False)
    info, _ = read_lab(root, args.lab)
    facts = LabShelf(root).get(info.project, info.id)
    match args.verb:
        case "show":
            return _show(facts, args, terminal)
        case "best":
            return _best(facts, args, terminal)
        case _:
            return _report(root, facts, args, terminal)


def _show(facts: LabFacts, args: argparse.Namespace, terminal: Terminal) -> int:
    if args.json:
        from epochal.wire.labs import lab_document

        document = lab_document(facts, [])
        terminal.json({key: value for key, value in document.items() if key != "curves"})
        return 0
    info = facts.info
    counts = ", ".join(f"{count} {status}" for status, count in facts.counts.items() if count)
    terminal.line(f"{terminal.style(info.name, 'bold')} · {facts.path} · {counts}")
    what = " on ".join(part for part in (info.train or info.model, info.data) if part)
    terminal.line(f"{what}, {info.objective} ({info.mode}), {info.repeats} repeats")
    terminal.line()
    varying, fixed = varying_parameters(facts.states)
    ordered = sorted(facts.states, key=lambda s: _rank(s, facts))
    shown = ordered if args.all else ordered[:_SHOWN]
    rows = [["trial", "status", info.objective, "time", "seed", *varying, ""]]
    for state in shown:
        given = state.trial.parameters
        rows.append(
            [
                str(state.trial.number),
                state.status,
                _figure(state.metrics.get(info.objective)),
                duration(state.seconds),
                str(state.trial.seed),
                *(shorten(value_text(given[name]), 24) if name in given else "" for name in varying),
                shorten((state.error or "").splitlines()[0], 60) if state.error else "",
            ]
        )
    for i, text in enumerate(columns(rows, right=(0, 2, 3, 4))):
        terminal.line(terminal.style(text, "soft") if i == 0 else text)
    if len(shown) < len(ordered):
        terminal.line(f"... and {len(ordered) - len(shown):,} more: --all")
    if fixed:
        terminal.line()
        terminal.line("all: " + shorten(" ".join(f"{k}={value_text(v)}" for k, v in fixed.items()), 110))
    return 0


def _rank(state: TrialState, facts: LabFacts) -> tuple[int, float, int]:
    """The best first, then those that train, wait, failed."""
    order = ("finished", "running", "waiting", "stopped", "failed").index(state.status)
    value = state.metrics.get(facts.info.objective, math.nan)
    signed = (-value if facts.info.mode == "max" else value) if math.isfinite(value) else math.inf
    return order, signed, state.trial.number


def _figure(value: float | None) -> str:
    return "" if value is None else number(value)


def _best(facts: LabFacts, args: argparse.Namespace, terminal: Terminal) -> int:
    best = best_trial(facts)
    if best is None:
        raise NotFoundError(
            f"No trial of lab {facts.path} has finished with {facts.info.objective}.",
            hint="epochal lab show says how they stand.",
        )
    if args.json:
        from epochal.wire.labs import lab_document

        document = lab_document(facts, [])
        found = next(trial for trial in document["trials"] if trial["trial"] == best.trial.number)
        terminal.json({"lab": facts.path, **found})
        return 0
    value = number(best.metrics[facts.info.objective])
    words = f"trial {best.trial.number}"
    terminal.line(f"{terminal.style(words, 'bold')} · {facts.info.objective} {value} · {duration(best.seconds)}")
    for name, given in best.trial.parameters.items():
        terminal.line(f"  {name} = {value_text(given)}")
    for name, number_of in best.metrics.items():
        terminal.line(f"  {name}  {number(number_of)}")
    terminal.line(f"run    {facts.info.project}/{best.run}")
    return 0


def _report(root: Path, facts: LabFacts, args: argparse.Namespace, terminal: Terminal) -> int:
    from epochal.export.lab_report import markdown_text, report_lab, write_report

    if args.json and not args.to:
        from epochal.wire.labs import effects_document

        terminal.json(effects_document(measure_effects(facts.info, facts.states, args.metric)))
        return 0
    report = report_lab(root, facts, metric=args.metric, skip=args.skip)
    if args.to is None:
        terminal.line(markdown_text(report, {}).rstrip())
        return 0
    written = write_report(report, args.to)
    if args.json:
        terminal.json({"lab": facts.path, "files": [str(path) for path in written]})
        return 0
    for sentence in effect_sentences(report.effects):
        terminal.line(sentence)
    terminal.line(spread_sentence(report.effects))
    for note in notes_of(report.effects):
        terminal.note(note)
    for path in written:
        terminal.line(str(path))
    return 0
