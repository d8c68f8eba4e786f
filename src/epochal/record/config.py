"""From any configuration to what JSON can hold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np

from epochal.errors import UsageError

_DEPTH = 32
_REPR_LIMIT = 1000


def plain_config(config: object) -> tuple[dict[str, Any], list[str]]:
    """The configuration as JSON-able nested dictionaries, and the names of entries kept by their repr only.

    Takes a mapping, a dataclass or a namespace (argparse); raises UsageError for anything else.
    """
    if config is None:
        return {}, []
    source = _as_mapping(config)
    if source is None:
        raise UsageError(
            f"config is a {type(config).__name__}, not a mapping", hint="give a dict, such as config={'lr': 0.1}"
        )
    kept_by_repr: list[str] = []
    plain = {_text(k): _plain(v, _text(k), kept_by_repr, (id(config),)) for k, v in source.items()}
    return plain, kept_by_repr


def _as_mapping(value: object) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if type(value).__name__ in ("Namespace", "SimpleNamespace"):
        return vars(value)
    return None


def _plain(value: object, name: str, kept_by_repr: list[str], inside: tuple[int, ...]) -> Any:
    """`inside` are the ids of what the value lies in: a mapping may hold itself."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Enum):
        return _plain(value.value, name, kept_by_repr, inside)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and abs(value) < 2**63:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, PurePath):
        return str(value)
    if len(inside) < _DEPTH and id(value) not in inside:
        within = (*inside, id(value))
        if (inner := _as_mapping(value)) is not None:
            return {_text(k): _plain(v, f"{name}/{_text(k)}", kept_by_repr, within) for k, v in inner.items()}
        if isinstance(value, list | tuple | set | frozenset):
            items = sorted(value, key=_repr) if isinstance(value, set | frozenset) else value
            return [_plain(v, f"{name}/{i}", kept_by_repr, within) for i, v in enumerate(items)]
    kept_by_repr.append(name)
    return _repr(value)[:_REPR_LIMIT]


def _repr(value: object) -> str:
    return _text(value, repr)


def _text(value: object, show: Callable[[object], str] = str) -> str:
    try:
        return show(value)
    except Exception as error:  # noqa: BLE001 - of the user's class
        return f"<{type(value).__name__}, cannot be shown: {type(error).__name__}>"
