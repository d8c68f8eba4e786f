"""From any configuration to what JSON can hold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
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
    plain = {str(k): _plain(v, str(k), kept_by_repr, _DEPTH) for k, v in source.items()}
    return plain, kept_by_repr


def _as_mapping(value: object) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if type(value).__name__ in ("Namespace", "SimpleNamespace"):
        return vars(value)
    return None


def _plain(value: object, name: str, kept_by_repr: list[str], depth: int) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Enum):
        return _plain(value.value, name, kept_by_repr, depth)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and abs(value) < 2**63:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, PurePath):
        return str(value)
    if depth > 0:
        if (inner := _as_mapping(value)) is not None:
            return {str(k): _plain(v, f"{name}/{k}", kept_by_repr, depth - 1) for k, v in inner.items()}
        if isinstance(value, list | tuple | set | frozenset):
            items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
            return [_plain(v, f"{name}/{i}", kept_by_repr, depth - 1) for i, v in enumerate(items)]
    kept_by_repr.append(name)
    return repr(value)[:_REPR_LIMIT]
