"""What a lab came to, as one document: Markdown with pictures beside it, or a page that holds everything."""

from __future__ import annotations

import html
import math
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from epochal.errors import UsageError
from epochal.export.lab_pictures import LabPictures
from epochal.facts.lab import TrialState
from epochal.picture import replacing, save, svg, theme
from epochal.picture.numbers import number
from epochal.store.library import Library
from epochal.views.effects import measure_effects
from epochal.views.effects_design import value_text
from epochal.views.effects_facts import Effects
from epochal.views.effects_words import (
    comparison_text,
    effect_sentences,
    interaction_sentence,
    notes_of,
    spread_sentence,
)
from epochal.views.lab import LabFacts, best_trial, runs_by_id, varying_parameters

__all__ = ["REPORT_FORMATS", "LabReport", "report_lab", "write_report"]

REPORT_FORMATS = (".md", ".html")
_TRIALS_MOST = 200


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a part."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Listed:
    """Points one below the other."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Tabled:
    """A table; numbers stand on the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Pictured:
    """One of the pictures, by name."""

    name: str
    words: str


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Lines as they are, such as a traceback."""

    text: str


Part = Heading | Paragraph | Listed | Tabled | Pictured | Verbatim


@dataclass(frozen=True, slots=True, eq=False)
class LabReport:
    """What is said of a lab, part by part, and what is drawn of it."""

    facts: LabFacts
    effects: Effects
    pictures: LabPictures
    parts: Sequence[Part]


def report_lab(root: str | os.PathLike[str], facts: LabFacts, *, metric: str | None = None, skip: int = 5) -> LabReport:
    """Work out what a lab came to: effects on `metric`, means of curves after the first `skip` epochs."""
    effects = measure_effects(facts.info, facts.states, metric)
    runs = runs_by_id(Library(root).runs(), facts.info.project)
    pictures = LabPictures(facts, runs.get, skip=skip)
    return LabReport(facts, effects, pictures, _parts(facts, effects, pictures))


def _parts(facts: LabFacts, effects: Effects, pictures: LabPictures) -> list[Part]:
    info = facts.info
    counts = ", ".join(f"{count} {status}" for status, count in facts.counts.items() if count)
    what = " on ".join(part for part in (info.train or info.model, info.data) if part)
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(info.created))
    said = f"{what}, begun {began}. {len(facts.states)} trials: {counts}."
    parts: list[Part] = [Heading(f"Lab {info.name}", 1), Paragraph(said)]
    best = best_trial(facts, effects.objective) if effects.objective == info.objective else None
    if best is not None:
        value = number(best.metrics[info.objective])
        parts.append(
            Paragraph(f"The best is trial {best.trial.number}: {info.objective} {value} with {_settings(best)}.")
        )
    parts += _effect_parts(facts, effects)
    if pictures.curves:
        parts += [Heading("Curves"), Pictured("curves", "Curves of all trials")]
    if any(state.seconds is not None for state in facts.states):
        short = _short(facts, pictures)
        parts += [Heading("Time and means"), Pictured("bars", "Time and means of all trials, quickest first")]
        if short:
            parts.append(
                Paragraph(f"{short} of the trials are no longer than {pictures.skip} epochs and have no mean.")
            )
    parts += _trial_parts(facts, pictures)
    return parts


def _effect_parts(facts: LabFacts, effects: Effects) -> list[Part]:
    parts: list[Part] = [Heading("What each parameter did")]
    if effects.effects:
        parts.append(Pictured("effects", "Differences with their intervals"))
        parts.append(Listed(effect_sentences(effects)))
        head = ["parameter", "value", effects.objective, "trials", "configurations", "share of variance"]
        rows = [
            [
                effect.parameter if k == 0 else "",
                level.label,
                number(effect.means[k]),
                str(effect.trials[k]),
                str(effect.configurations[k]),
                "" if effect.share is None or k else f"{effect.share * 100:.1f} %",
            ]
            for effect in effects.effects
            for k, level in enumerate(effect.levels)
        ]
        parts.append(Tabled(head, rows))
        several = [e for e in effects.effects if len(e.comparisons) > 1]
        parts += [
            Paragraph(f"{e.parameter}: " + "; ".join(comparison_text(e, one, effects) for one in e.comparisons) + ".")
            for e in several
            if len(e.comparisons) <= 15
        ]
    elif effects.trials:
        parts.append(Paragraph("No parameter differs between finished trials."))
    clear = [one for one in effects.interactions if one.clear]
    if effects.interactions:
        parts.append(Heading("Two together"))
        parts.append(Listed([interaction_sentence(one, effects) for one in (clear or effects.interactions[:3])]))
    parts += [Heading("Choice or chance"), Paragraph(spread_sentence(effects) + ".")]
    parts += [Paragraph(note + ".") for note in notes_of(effects)]
    _, fixed = varying_parameters(facts.states)
    if fixed:
        same = ", ".join(f"{name} {value_text(value)}" for name, value in fixed.items())
        parts.append(Paragraph(f"The same in all trials: {same}."))
    return parts


def _trial_parts(facts: LabFacts, pictures: LabPictures) -> list[Part]:
    info = facts.info
    varying, _ = varying_parameters(facts.states)
    done = [state for state in facts.states if state.status == "finished"]
    worst = -math.inf if info.mode == "max" else math.inf
    done.sort(key=lambda s: _finite(s.metrics.get(info.objective), worst), reverse=info.mode == "max")
    head = ["trial", *varying, "seed", info.objective, *(f"mean {pair.name}" for pair in pictures.pairs), "time"]
    rows = [
        [
            str(state.trial.number),
            *(_value(state, name) for name in varying),
            str(state.trial.seed),
            _figure(state.metrics.get(info.objective)),
            *(_figure(pictures.mean(state, pair)) for pair in pictures.pairs),
            "" if state.seconds is None else f"{state.seconds:.1f} s",
        ]
        for state in done[:_TRIALS_MOST]
    ]
    parts: list[Part] = [Heading("Trials"), Tabled(head, rows)] if rows else []
    if len(done) > _TRIALS_MOST:
        parts.append(Paragraph(f"These are the best {_TRIALS_MOST} of {len(done)}."))
    wrong = [state for state in facts.states if state.status in ("failed", "stopped")]
    if wrong:
        parts.append(Heading("Failed and stopped trials"))
    for state in wrong[:_TRIALS_MOST]:
        words = f"Trial {state.trial.number} {state.status}: {state.error or 'it left no word'} ({_settings(state)})"
        parts.append(Paragraph(words))
        if state.traceback:
            parts.append(Verbatim(state.traceback))
    return parts


def _short(facts: LabFacts, pictures: LabPictures) -> int:
    if not pictures.pairs:
        return 0
    means = [pictures.mean(state, pictures.pairs[0]) for state in facts.states]
    return sum(mean is not None and not math.isfinite(mean) for mean in means)


def _finite(value: float | None, otherwise: float) -> float:
    return value if value is not None and math.isfinite(value) else otherwise


def _figure(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else number(value)


def _value(state: TrialState, name: str) -> str:
    given = state.trial.parameters
    return value_text(given[name]) if name in given else "not set"


def _settings(state: TrialState) -> str:
    return ", ".join(f"{name} {value_text(value)}" for name, value in state.trial.parameters.items())


def write_report(report: LabReport, to: str | os.PathLike[str]) -> list[Path]:
    """Write a report as Markdown, its pictures as PNG files beside it, or as one HTML page; what was written."""
    target = Path(to)
    if target.suffix.lower() not in REPORT_FORMATS:
        kind = repr(target.suffix) if target.suffix else "a file without a suffix"
        raise UsageError(f"A lab's report cannot be written as {kind}.", hint="Use .md or .html.")
    scenes = report.pictures.scenes(report.effects, theme("light"))
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix.lower() == ".html":
        drawn = {name: svg(scene, [0]) for name, scene in scenes.items()}
        _put(target, html_text(report, drawn))
        return [target]
    written = [save(scene, target.with_name(f"{target.stem}-{name}.png")) for name, scene in scenes.items()]
    names = {name: path.name for name, path in zip(scenes, written, strict=True)}
    _put(target, markdown_text(report, names))
    return [target, *written]


def _put(target: Path, text: str) -> None:
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def markdown_text(report: LabReport, pictures: Mapping[str, str]) -> str:
    """The report as Markdown; `pictures` says where each picture lies, others are left out."""
    return "\n\n".join(_markdown(part, pictures) for part in _with(report.parts, pictures)) + "\n"


def _with(parts: Sequence[Part], pictures: Iterable[str]) -> list[Part]:
    """The parts without pictures that are not there, and without titles that nothing is left below."""
    known = set(pictures)
    kept = [part for part in parts if not isinstance(part, Pictured) or part.name in known]
    after = [*kept[1:], Heading("")]
    empty = [
        isinstance(p, Heading) and p.level > 1 and isinstance(n, Heading) for p, n in zip(kept, after, strict=True)
    ]
    return [part for part, bare in zip(kept, empty, strict=True) if not bare]


def _markdown(part: Part, pictures: Mapping[str, str]) -> str:
    match part:
        case Heading(text, level):
            return f"{'#' * level} {_escaped(text)}"
        case Paragraph(text):
            return _escaped(text)
        case Listed(items):
            return "\n".join(f"- {_escaped(item)}" for item in items)
        case Tabled(head, rows):
            lines = [head, ["---"] * len(head), *rows]
            return "\n".join("| " + " | ".join(_cells(row)) + " |" for row in lines)
        case Pictured(name, words):
            return f"![{words}]({pictures[name]})"
        case Verbatim(text):
            fence = "```" if "```" not in text else "~~~~"
            return f"{fence}text\n{text.rstrip()}\n{fence}"


def _cells(row: Iterable[str]) -> list[str]:
    return [cell if cell == "---" else _escaped(cell).replace("|", "\\|").replace("\n", " ") for cell in row]


def _escaped(text: str) -> str:
    """Signs that Markdown would take for its own."""
    return re.sub(r"[\\`*<]|(?<!\w)_|_(?!\w)|(?<=\])\(", r"\\\g<0>", text)


_STYLE = """
body { margin: 32px auto; max-width: 1100px; padding: 0 20px; background: #faf9f7; color: #1d1c1a;
  font: 15px/1.5 Inter, system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 24px; } h2 { font-size: 18px; margin-top: 32px; }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto; }
th, td { padding: 3px 12px 3px 0; text-align: left; white-space: nowrap; border-bottom: 1px solid #e6e3de; }
th { color: #676359; font-weight: 500; }
pre { padding: 10px; overflow-x: auto; background: #f1eee9; border-radius: 6px; font-size: 12px; }
figure { margin: 12px 0; } svg { max-width: 100%; height: auto; }
"""


def html_text(report: LabReport, pictures: Mapping[str, str]) -> str:
    """The report as one page; `pictures` are SVG texts."""
    body = "\n".join(_html(part, pictures) for part in _with(report.parts, pictures))
    title = html.escape(f"Lab {report.facts.info.name}")
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n<style>{_STYLE}</style>\n'
        f"</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _html(part: Part, pictures: Mapping[str, str]) -> str:
    match part:
        case Heading(text, level):
            return f"<h{level}>{html.escape(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{html.escape(text)}</p>"
        case Listed(items):
            return "<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in items) + "</ul>"
        case Tabled(head, rows):
            top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
            lines = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows)
            return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"
        case Pictured(name, words):
            drawn = pictures[name]
            return f'<figure aria-label="{html.escape(words)}">{drawn[drawn.index("<svg") :]}</figure>'
        case Verbatim(text):
            return f"<details><summary>Traceback</summary><pre>{html.escape(text)}</pre></details>"
