"""What the tokens of a network are called, as its run tells: in its config, or by a tokenizer's file that it keeps."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.facts import Shape
from epochal.store import StoredRun

__all__ = ["token_names", "typed_input", "vocabulary"]

_CONFIG = ("vocabulary", "vocab")
_FILES = ("tokenizer.json", "vocab.json", "vocab.txt")
_MOST_BYTES = 64 << 20
_MOST_WORDS = 1 << 20
_SPACES = str.maketrans({"Ġ": "▁", " ": "▁", "\n": "↵", "\t": "⇥"})
"""How a space is shown: byte-level tokenizers write Ġ, SentencePiece ▁."""
_HINT = "Words are known of a run with config={'vocabulary': [...]}, or run.keep_file('tokenizer.json')."


def vocabulary(run: StoredRun) -> tuple[str, ...]:
    """The words of a run's tokens by their numbers, empty where nobody told; a number without a word has "".

    The config's `vocabulary` (a list, or a text whose letters are tokens), otherwise a file that `run.keep_file` kept:
    `tokenizer.json` of Hugging Face, `vocab.json` (word: number), or `vocab.txt` (a word in each line).
    """
    config = run.info().config
    for key in _CONFIG:
        told = config.get(key)
        if isinstance(told, str) and told:
            return tuple(told)
        if isinstance(told, list) and told and all(isinstance(one, str) for one in told):
            return tuple(told)
    for name in _FILES:
        for path in sorted(run.path.glob(f"w/*/files/**/{name}"), reverse=True):
            if found := _read(path):
                return found
    return ()


def token_names(words: Sequence[str], tokens: npt.NDArray[Any]) -> list[str]:
    """A name for each of `tokens` [T]: its word with spaces that can be seen, or its number."""
    names = []
    for token in np.asarray(tokens).reshape(-1):
        number = int(token)
        word = words[number] if 0 <= number < len(words) else ""
        names.append(word.translate(_SPACES) if word else str(number))
    return names


def typed_input(text: str, words: Sequence[str], shape: Shape) -> npt.NDArray[Any]:
    """What somebody typed as one input of a network: numbers, or words of the vocabulary.

    Where every word is one letter, each letter typed is a token. Raises UsageError for what is in no vocabulary, and
    for another count than the network takes.
    """
    size, parts = math.prod(shape), text.replace(",", " ").split()
    numbers = _numbers(parts)
    if not words:
        if numbers is None:
            raise UsageError("This is no list of numbers.", hint=_HINT)
        return _sized(numbers, shape, size)
    letters = all(len(word) <= 1 for word in words)
    if letters and numbers is not None and len(numbers) == size != len(text):
        return _sized(numbers, shape, size)
    known: dict[str, int] = {}
    for number, word in enumerate(words):
        known.setdefault(word.translate(_SPACES), number)
    found = []
    for piece in text.translate(_SPACES) if letters else text.split():
        number = known.get(piece, known.get(f"▁{piece}", -1))
        if number < 0 and not re.fullmatch(r"\d{1,7}", piece):
            raise UsageError(f"{piece!r} is not in the vocabulary of this run.", hint="Tokens can be numbers as well.")
        found.append(number if number >= 0 else int(piece))
    return _sized(np.array(found, np.float64), shape, size)


def _numbers(parts: Sequence[str]) -> npt.NDArray[Any] | None:
    try:
        return np.array([float(part) for part in parts])
    except ValueError:
        return None


def _sized(values: npt.NDArray[Any], shape: Shape, size: int) -> npt.NDArray[Any]:
    if len(values) != size:
        raise UsageError(f"The network takes {size:,} numbers or tokens at once; these are {len(values):,}.")
    if not np.isfinite(values).all():
        raise UsageError("An input is made of finite numbers.")
    return values.reshape(shape)


def _read(path: Path) -> tuple[str, ...]:
    """The words of a tokenizer's file; empty where it is none that is known here."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return ()
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".txt":
            return tuple(text.splitlines())
        found = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return ()
    if not isinstance(found, Mapping):
        return ()
    model = found.get("model")
    told: Any = model.get("vocab") if isinstance(model, Mapping) else found
    if isinstance(told, list):  # a unigram tokenizer: [[word, score], ...]
        return tuple(str(one[0]) if isinstance(one, list) and one else "" for one in told[:_MOST_WORDS])
    if not isinstance(told, Mapping):
        return ()
    words = {number: word for word, number in told.items() if isinstance(number, int) and 0 <= number < _MOST_WORDS}
    added = found.get("added_tokens")
    for one in added if isinstance(added, list) else []:
        if isinstance(one, Mapping) and isinstance(one.get("id"), int) and 0 <= one["id"] < _MOST_WORDS:
            words.setdefault(one["id"], str(one.get("content", "")))
    return tuple(words.get(number, "") for number in range(max(words, default=-1) + 1))
