"""The one gate before `torch.export.load`, which runs what a hostile file tells it to.

The file is read as a plain zip archive, every entry is checked against what a recorded network consists of, and a new
archive is written from what passed: PyTorch never sees a byte that was not looked at, nor the file's own zip
structure. `gate_program` lists what could run code, and where.
"""

from __future__ import annotations

import io
import json
import re
import stat
import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from epochal.errors import NetworkMissingError, UntrustedNetworkError
from epochal.network.gate_program import ITEM_BYTES, module_path, program, tensor_facts
from epochal.network.gate_rules import Refused, boolean, brief, mapping, nothing, optional, record, text

__all__ = ["pass_gate"]

MOST_BYTES = 64 << 30
MOST_ENTRIES = 100_000
MOST_DOCUMENT_BYTES = 256 << 20

_ROOT = "archive"
_PROGRAM = "models/model.json"
_SAMPLES = "data/sample_inputs/model.pt"
_TENSORS = {"weights": "weight_", "constants": "tensor_"}
_CONFIG = {kind: f"data/{kind}/model_{kind}_config.json" for kind in _TENSORS}
_FIXED = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}
_IGNORED = frozenset({".data/version", ".data/serialization_id", "version", ".format_version", ".storage_alignment"})
_KNOWN_DANGERS = {
    r".*\.pt": "a pickle, which can run anything when it is read",
    r".*\.pkl": "a pickle, which can run anything when it is read",
    r"data/aotinductor/.*": "compiled code",
    r"data/executorch/.*": "compiled code",
    r".*\.(so|dll|dylib|pyd|cubin|ptx)": "compiled code",
    r"data/constants/(custom|opaque)_obj_.*": "a pickled object",
    r"serialized_.*": "the format of PyTorch before 2.9, which is made of pickles",
    r"code/.*": "TorchScript code",
}

_no_pickle = nothing("a pickled value, which can run anything when it is read")


def _use_pickle(value: Any, where: str) -> bool:
    return bool(_no_pickle(value, where)) if boolean(value, where) else False


def pass_gate(source: Path | bytes, *, drop_samples: bool = False) -> bytes:
    """A fresh `.pt2` archive with only what was checked, safe to hand to `torch.export.load`.

    The pickled example inputs that `torch.export.save` puts into every file are a reason to refuse one of ours, which
    has none; with `drop_samples` they are left out unread, as of a file that something else wrote.

    Raises UntrustedNetworkError, naming the entry and the reason, when the file holds anything else.
    """
    try:
        return _checked_archive(source, drop_samples=drop_samples)
    except Refused as refused:
        raise UntrustedNetworkError(
            f"The recorded network was not loaded, as it could run code. {refused.where}: {refused.why}",
            hint="Only if you know who made this file: load it with trust=True, which may run code in it.",
        ) from None
    except (RecursionError, MemoryError) as error:
        raise UntrustedNetworkError(
            f"The recorded network is not loaded, since reading it would take too much: {type(error).__name__}."
        ) from error
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, ValueError) as error:
        raise NetworkMissingError(
            f"The recorded network is damaged and cannot be read: {error}",
            hint="The parameters at every snapshot are still readable as safetensors files.",
        ) from error


def _checked_archive(source: Path | bytes, *, drop_samples: bool) -> bytes:
    with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
        length = len(source) if isinstance(source, bytes) else source.stat().st_size
        entries = _entries(archive, length, drop_samples=drop_samples)
        content: dict[str, bytes] = {}
        for name, info in entries.items():
            if name in _FIXED and archive.read(info) != _FIXED[name]:
                raise Refused(name, f"{brief(archive.read(info))} in place of {_FIXED[name]!r}")
        document = _document(archive, entries, _PROGRAM)
        content[_PROGRAM] = json.dumps(program(document, _PROGRAM)).encode()
        for kind in _TENSORS:
            config, used = _tensor_config(archive, entries, kind)
            content[_CONFIG[kind]] = json.dumps(config).encode()
            content |= {name: archive.read(entries[name]) for name in used}
    content |= _FIXED | {_SAMPLES: b"", ".data/version": b"6\n"}
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as fresh:
        for name, data in content.items():
            fresh.writestr(zipfile.ZipInfo(f"{_ROOT}/{name}"), data)
    return written.getvalue()


def _entries(archive: zipfile.ZipFile, length: int, *, drop_samples: bool) -> dict[str, zipfile.ZipInfo]:
    """The entries under their names inside the archive's one folder, when each is one that a network consists of."""
    infos = archive.infolist()
    if len(infos) > MOST_ENTRIES:
        raise Refused("(archive)", f"{len(infos):,} entries, more than {MOST_ENTRIES:,}")
    entries: dict[str, zipfile.ZipInfo] = {}
    roots: set[str] = set()
    seen: set[str] = set()
    for info in infos:
        shown = brief(info.filename)
        root, slash, name = info.filename.partition("/")
        parts = name.split("/")
        # The name as it stands in the file: zipfile itself cuts it at a NUL.
        if (
            not slash
            or info.orig_filename != info.filename
            or not re.fullmatch(r"[\w\-]+", root)
            or (any(part in ("", ".", "..") for part in parts) or not re.fullmatch(r"[\w.\-/]+", name))
        ):
            raise Refused(shown, "a name that is no plain path inside of one folder")
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise Refused(shown, "a link or another special file")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise Refused(
                shown, "compressed data, though PyTorch keeps networks uncompressed: it may unpack without end"
            )
        if info.flag_bits & 0x1:
            raise Refused(shown, "encrypted data")
        if name.lower() in seen:
            raise Refused(shown, "a second entry of the same name")
        seen.add(name.lower())
        roots.add(root)
        entries[name] = info
        if not (drop_samples and name == _SAMPLES):
            _known(name, info)
    if len(roots) > 1:
        raise Refused("(archive)", f"more than one folder: {', '.join(sorted(map(brief, roots)))}")
    if (total := sum(info.file_size for info in infos)) > min(length, MOST_BYTES):
        raise Refused("(archive)", f"{total:,} bytes of content in a file of {length:,}")
    return entries


def _known(name: str, info: zipfile.ZipInfo) -> None:
    if name in (_PROGRAM, *_CONFIG.values(), *_FIXED) or name in _IGNORED:
        return
    if name == _SAMPLES and not info.file_size:
        return  # example inputs that were left out
    if re.fullmatch(r"data/(weights/weight|constants/tensor)_\d{1,9}", name):
        return
    for pattern, what in _KNOWN_DANGERS.items():
        if re.fullmatch(pattern, name):
            raise Refused(name, what)
    raise Refused(name, "nothing that a recorded network consists of")


def _document(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], name: str) -> Any:
    if name not in entries:
        raise NetworkMissingError(f"The recorded network is not complete: it has no {name}.")
    if entries[name].file_size > MOST_DOCUMENT_BYTES:
        raise Refused(name, f"{entries[name].file_size:,} bytes, too large for a description of a network")
    try:
        return json.loads(archive.read(entries[name]).decode("utf-8"))
    except ValueError as error:
        raise Refused(name, f"no JSON document ({error})") from error


def _tensor_config(
    archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], kind: str
) -> tuple[dict[str, Any], set[str]]:
    """The checked list of tensors of a kind, and which entries hold them."""
    where = _CONFIG[kind]
    path = text(rf"{_TENSORS[kind]}\d{{1,9}}", what=f"the name of a tensor's file ({_TENSORS[kind]}0, ...)")
    payload = record(
        {"use_pickle": _use_pickle, "path_name": path, "is_param": boolean, "tensor_meta": optional(tensor_facts)},
        needed=("path_name", "is_param", "use_pickle", "tensor_meta"),
    )
    config = record({"config": mapping(module_path, payload)}, needed=("config",))(
        _document(archive, entries, where), where
    )
    kinds: dict[str, int] = {}
    for tensor, facts in config["config"].items():
        at, name = f"{where}.{tensor}", f"data/{kind}/{facts['path_name']}"
        if name not in entries:
            raise Refused(at, f"the file {facts['path_name']}, which is not there")
        if facts["tensor_meta"] is None:
            raise Refused(at, "a tensor without shape and type")
        _fits(facts["tensor_meta"], entries[name].file_size, at)
        if kinds.setdefault(name, facts["tensor_meta"]["dtype"]) != facts["tensor_meta"]["dtype"]:
            raise Refused(at, "a tensor that shares its values with one of another type")
    return config, set(kinds)


def _fits(facts: Mapping[str, Any], stored: int, where: str) -> None:
    """A tensor must lie within the bytes that are there: no reading beyond, no memory out of nothing."""
    sizes, strides, (offset,) = (
        [size.get("as_int", -1) for size in listed]
        for listed in (facts["sizes"], facts["strides"], [facts["storage_offset"]])
    )
    if len(sizes) != len(strides) or any(n < 0 for n in (*sizes, *strides, offset)):
        raise Refused(where, "a shape that is not made of plain sizes")
    item = ITEM_BYTES[facts["dtype"]]
    reach = 0 if 0 in sizes else (offset + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True)) + 1) * item
    if reach > stored or prod(sizes) * item > stored or stored % item:
        raise Refused(where, f"a tensor of shape {sizes} in a file of {stored:,} bytes")
