"""Tables to classify: the UCI ones by name, or any CSV file; split and standardised so that nothing leaks."""

from __future__ import annotations

import csv
import difflib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import MissingExtraError, UsageError

__all__ = ["TABLES", "Part", "Split", "Table", "load_csv", "load_table", "split"]

TABLES = ("iris", "wine", "breast_cancer", "digits")
"""Tables known by name. Iris is part of this package, the others come with scikit-learn."""

LEAST_OF_A_CLASS = 3
MOST_CLASSES = 200
LARGEST_CELL = 1e100
"""Beyond it the squares that the deviation needs run over."""

Features = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Examples of several classes: `features` [n, d], `labels` [n] as indices into `classes`."""

    name: str
    features: Features
    labels: Labels
    columns: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a table: `features` [n, d] float32 as a network takes them, `labels` [n].

    `measured` [n, d] are the same rows as they were measured, None where that is what a network takes.
    """

    features: npt.NDArray[np.float32]
    labels: Labels
    measured: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A table in three parts, all standardised with mean and deviation of the training part."""

    training: Part
    validation: Part
    test: Part


def load_table(name: str) -> Table:
    """One of TABLES. Raises UsageError for another name, MissingExtraError where scikit-learn is needed."""
    if name == "iris":
        return load_csv(Path(__file__).with_name("iris.csv"), "species", name="iris")
    if name not in TABLES:
        near = difflib.get_close_matches(name, TABLES, 1)
        meant = f"Did you mean {near[0]!r}? " if near else ""
        raise UsageError(
            f"There is no table {name!r}.",
            hint=f"{meant}Known: {', '.join(TABLES)}; or give a CSV file with --data and --target.",
        )
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingExtraError(
            f"The table {name!r} comes with scikit-learn.",
            hint="Install it with `pip install 'epochal[sklearn]'`; `iris` is there without it.",
        ) from error
    loaders: dict[str, Callable[[], Any]] = {
        "wine": datasets.load_wine,
        "breast_cancer": datasets.load_breast_cancer,
        "digits": datasets.load_digits,
    }
    found = loaders[name]()
    return Table(
        name=name,
        features=np.asarray(found.data, dtype=np.float64),
        labels=np.asarray(found.target, dtype=np.int64),
        columns=tuple(str(column) for column in found.feature_names),
        classes=tuple(str(one) for one in found.target_names),
    )


def load_csv(path: str | Path, target: str, *, name: str = "") -> Table:
    """A table from a CSV file with a header: `target` is the column of classes, all others are numbers.

    Separated by commas, semicolons or tabs; lines that begin with # are skipped. Raises UsageError, with line and
    column, for whatever cannot be learnt from.
    """
    path = Path(path)
    lines = [(number, line) for number, line in enumerate(_text(path).splitlines(), 1) if not line.startswith("#")]
    try:
        rows = list(_rows(lines))
    except csv.Error as error:
        raise UsageError(f"{path} is not a CSV file that can be read: {error}.") from error
    if not rows:
        raise UsageError(f"{path} is empty.", hint="The first line must name the columns.")
    (_, header), *body = rows
    at = _target_column(path, header, target)
    if not body:
        raise UsageError(f"{path} has a header and no rows.")
    for number, row in body:
        if len(row) != len(header):
            raise UsageError(f"{path}, line {number}: {len(row)} cells, but the header names {len(header)} columns.")
    columns = tuple(column for i, column in enumerate(header) if i != at)
    if not columns:
        raise UsageError(f"{path} has no column besides {target!r}: there is nothing to learn from.")
    words = [row[at] for _, row in body]
    _check_words(path, words, target, [number for number, _ in body])
    features = _numbers(path, body, header, at)
    classes = tuple(sorted(set(words), key=_class_order))
    index = {word: i for i, word in enumerate(classes)}
    labels = np.array([index[word] for word in words], dtype=np.int64)
    table = Table(name=name or path.stem, features=features, labels=labels, columns=columns, classes=classes)
    _check_classes(str(path), table, target)
    return table


def split(table: Table, *, validation: float, test: float, seed: int) -> Split:
    """Draw three parts in which every class has its share; the same seed draws the same parts.

    `validation` and `test` are fractions of the table; each class has at least one example in each part.
    """
    for what, share in (("validation", validation), ("test", test)):
        if not 0 < share < 1:
            raise UsageError(f"The {what} part must be a fraction between 0 and 1; it is {share}.")
    if validation + test >= 1:
        raise UsageError(f"Validation ({validation}) and test ({test}) leave nothing to train on.")
    # A stream of its own: the parts do not hang on how the network and its batches are drawn from the same seed.
    random = np.random.default_rng((seed, 2))
    chosen: tuple[list[int], list[int], list[int]] = ([], [], [])
    for label in range(len(table.classes)):
        members = random.permutation(np.flatnonzero(table.labels == label))
        room = len(members) - 1  # at least one stays to train on
        n_test = min(max(1, round(len(members) * test)), room - 1)
        n_validation = min(max(1, round(len(members) * validation)), room - n_test)
        chosen[2].extend(members[:n_test])
        chosen[1].extend(members[n_test : n_test + n_validation])
        chosen[0].extend(members[n_test + n_validation :])
    training = table.features[np.sort(chosen[0])]
    mean, deviation = training.mean(axis=0), training.std(axis=0)
    deviation[deviation == 0] = 1  # a column that never changes says nothing, and must not become NaN

    def part(indices: Sequence[int]) -> Part:
        rows = np.sort(np.array(indices))
        measured = table.features[rows]
        return Part(
            features=((measured - mean) / deviation).astype(np.float32), labels=table.labels[rows], measured=measured
        )

    return Split(training=part(chosen[0]), validation=part(chosen[1]), test=part(chosen[2]))


def _text(path: Path) -> str:
    if not path.is_file():
        folder, near = path.parent, []
        if folder.is_dir():
            near = difflib.get_close_matches(path.name, [p.name for p in folder.iterdir() if p.is_file()], 1)
        kind = "is a folder" if path.is_dir() else "does not exist"
        raise UsageError(f"{path} {kind}.", hint=f"Did you mean {folder / near[0]}?" if near else "")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: byte {error.start} cannot be read.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _rows(lines: Sequence[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """Number of the line and cells of every row that is not blank."""
    first = next((line for _, line in lines if line.strip()), "")
    # The one that makes the most columns; counting characters would be misled by quoted cells.
    separator = max(",;\t", key=lambda one: len(next(csv.reader([first], delimiter=one), [])))
    # A quoted cell may hold line breaks, so the reader gets all lines; it says how many it has read.
    reader = csv.reader([line + "\n" for _, line in lines], delimiter=separator, skipinitialspace=True)
    before = 0
    for row in reader:
        number, before = lines[before][0], reader.line_num
        if any(cell.strip() for cell in row):
            yield number, [cell.strip() for cell in row]


def _target_column(path: Path, header: Sequence[str], target: str) -> int:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise UsageError(f"{path} names the column {twice[0]!r} more than once.")
    if target not in header:
        near = difflib.get_close_matches(target, header, 1) or [
            column for column in header if column.casefold() == target.casefold()
        ]
        shown = ", ".join(header[:20]) + (", ..." if len(header) > 20 else "")
        meant = f"Did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"{path} has no column {target!r}.", hint=f"{meant}Its columns: {shown}.")
    return header.index(target)


def _check_words(path: Path, words: Sequence[str], target: str, numbers: Sequence[int]) -> None:
    missing = [number for number, word in zip(numbers, words, strict=True) if not word]
    if missing:
        others = f" (and {len(missing) - 1} more rows)" if len(missing) > 1 else ""
        raise UsageError(f"{path}, line {missing[0]}: the class in column {target!r} is empty{others}.")


def _numbers(path: Path, body: Sequence[tuple[int, list[str]]], header: Sequence[str], at: int) -> Features:
    values = np.empty((len(body), len(header) - 1))
    wrong: list[tuple[int, str, str]] = []
    for i, (number, row) in enumerate(body):
        cells = [cell for j, cell in enumerate(row) if j != at]
        try:
            values[i] = [float(cell) for cell in cells]
            if (np.abs(values[i]) <= LARGEST_CELL).all():
                continue
        except ValueError:
            pass
        names = [column for j, column in enumerate(header) if j != at]
        wrong += [(number, column, cell) for column, cell in zip(names, cells, strict=True) if not _is_number(cell)]
    if wrong:
        number, column, cell = wrong[0]
        what = (
            f"{cell[:40]!r} is {'too large' if _is_finite(cell) else 'not a number'}" if cell else "the cell is empty"
        )
        others = f" ({len(wrong) - 1} more such cells)" if len(wrong) > 1 else ""
        raise UsageError(
            f"{path}, line {number}, column {column!r}: {what}{others}.",
            hint="Turn words into numbers or 0/1 columns, and fill or drop rows with gaps.",
        )
    return values


def _is_finite(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _is_number(cell: str) -> bool:
    return _is_finite(cell) and abs(float(cell)) <= LARGEST_CELL


def _class_order(word: str) -> tuple[int, float, str]:
    """Classes that are numbers go by their value, others by the alphabet."""
    return (0, float(word), word) if _is_number(word) else (1, 0.0, word)


def _check_classes(where: str, table: Table, target: str) -> None:
    if len(table.classes) == 1:
        raise UsageError(
            f"{where}: every row of {target!r} is {table.classes[0]!r}. With one class only there is nothing to learn."
        )
    counts = np.bincount(table.labels)
    rarest = int(counts.argmin())
    hint = (
        "This demo learns classes; a column of measured numbers has none."
        if len(counts) > len(table.labels) / 3
        else ""
    )
    if len(counts) > MOST_CLASSES:
        raise UsageError(f"{where}: column {target!r} has {len(counts)} classes, more than {MOST_CLASSES}.", hint=hint)
    if counts[rarest] < LEAST_OF_A_CLASS:
        raise UsageError(
            f"{where}: too few rows of class {table.classes[rarest]!r}: {counts[rarest]}. Training, validation and "
            f"test each need one, so {LEAST_OF_A_CLASS} is the least.",
            hint=hint,
        )
