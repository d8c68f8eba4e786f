from __future__ import annotations

import contextlib
import io
import json
import os
import re
import stat
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs PyTorch")

import torch

from epochal.errors import NetworkMissingError, UntrustedNetworkError
from epochal.frameworks.torch_graph import export_network
from epochal.network import gate
from epochal.network.gate import pass_gate
from tests.frameworks.torch_networks import Convolutional, Grouped, Mlp, Residual, Shared
from tests.network.attacks import (
    AT_LOAD,
    CONSTANTS,
    LATER,
    PROGRAM,
    SAMPLES,
    WEIGHTS,
    Attack,
    Entries,
    edit,
    first_node,
    honest,
    packed,
    saved,
)

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def good() -> Entries:
    return honest()


def loaded(data: bytes) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch 2.13 warns of its own use of what it deprecates
        return torch.export.unflatten(torch.export.load(io.BytesIO(pass_gate(data))))


def load_and_call(data: bytes) -> None:
    """What an unwary program does with a network file."""
    module = torch.export.load(io.BytesIO(data)).module()
    module(torch.zeros(2, 4))


# --- attacks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", [*AT_LOAD, *LATER], ids=lambda attack: attack.__name__)
def test_an_attack_works_on_pytorch_and_not_on_the_gate(
    attack: Attack, good: Entries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "epochal_evil", raising=False)
    marker = tmp_path / "marker"
    entries = dict(good)
    attack(entries, marker)
    data = packed(entries)

    with pytest.raises(UntrustedNetworkError) as refused:
        load_and_call(pass_gate(data))
    assert not marker.exists(), "the gate let it run"
    assert "could run code" in refused.value.message
    assert "trust=True" in refused.value.hint

    monkeypatch.delitem(sys.modules, "epochal_evil", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(Exception):  # what it ends with does not matter
            load_and_call(data)
    assert marker.exists(), "this attack does nothing: the test proves nothing"


def test_the_old_format_is_refused_before_its_pickles_are_read(good: Entries) -> None:
    old = {
        "version": b"8.20", "serialized_exported_program.json": good[PROGRAM], "serialized_state_dict.pt": saved({}),
        "serialized_constants.pt": saved({}), "serialized_example_inputs.pt": saved(()),
    }  # fmt: skip
    with pytest.raises(UntrustedNetworkError, match="no plain path inside of one folder"):
        pass_gate(packed(old, root=""))
    with pytest.raises(UntrustedNetworkError, match=r"before 2\.9, which is made of pickles"):
        pass_gate(packed({"serialized_exported_program.json": good[PROGRAM]}))


# --- operators ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("torch.os.system", "none of PyTorch's tensor operators"),
        ("torch.load", "none of PyTorch's tensor operators"),
        ("torch.hub.load", "none of PyTorch's tensor operators"),
        ("_operator.methodcaller", "none of PyTorch's tensor operators"),
        ("_operator.attrgetter", "none of PyTorch's tensor operators"),
        ("math.sin", "none of PyTorch's tensor operators"),
        ("#extension:name", "none of PyTorch's tensor operators"),
        ("torch.ops.mylib.custom.default", "none of PyTorch's tensor operators"),
        ("torch.ops.higher_order.cond", "none of PyTorch's tensor operators"),
        ("torch.ops.aten.linear.default.__class__", "none of PyTorch's tensor operators"),
        ("torch.ops.aten.__class__.mro", "does more than calculate"),
        ("torch.ops.aten._print.default", "does more than calculate"),
        ("torch.ops.aten.from_file.default", "does more than calculate"),
        ("torch.ops.aten.set_.source_Storage", "does more than calculate"),
        ("torch.ops.aten.resize_.default", "does more than calculate"),
        ("torch.ops.aten.manual_seed.default", "does more than calculate"),
        ("torch.ops.aten.warn.default", "no operator|of type str"),
        ("torch.ops.aten.get_autocast_dtype.default", "no operator|of type str"),
        ("torch.ops.aten.record_stream.default", "does more than calculate"),
        ("torch.ops.aten.linear.nonsense", "has no operator"),
        ("torch.ops.aten.name.default", "has no operator"),
        (7, "not the name of an operator"),
    ],
)
def test_operators_that_do_more_than_calculate_are_refused(target: object, why: str, good: Entries) -> None:
    entries = dict(good)
    edit(entries, PROGRAM, lambda document: first_node(document).update(target=target))
    with pytest.raises(UntrustedNetworkError, match=why):
        pass_gate(packed(entries))


def test_an_operator_given_as_a_value_is_refused(good: Entries) -> None:
    entries = dict(good)
    edit(
        entries,
        PROGRAM,
        lambda document: first_node(document)["inputs"].append(
            {"name": "f", "arg": {"as_operator": "torch.os.system"}, "kind": 1}
        ),
    )
    with pytest.raises(UntrustedNetworkError, match="an operator given as a value"):
        pass_gate(packed(entries))


# --- other things in the program ----------------------------------------------------------------------------------

Change = Callable[[Any], None]


def graph_of(document: Any) -> Any:
    return document["graph_module"]["graph"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d.update(guards_code=["1 == 1"]), "guards"),
        (lambda d: graph_of(d)["custom_obj_values"].update(o={"name": "o", "class_fqn": "a.B"}), "custom objects"),
        (lambda d: graph_of(d)["inputs"].append({"as_custom_obj": {"name": "o", "class_fqn": "a.B"}}), "custom object"),
        (lambda d: first_node(d).update(name="a b"), "not a plain name"),
        (lambda d: first_node(d).update(name="import"), "not a plain name"),
        (lambda d: first_node(d).update(name="__builtins__"), "not a plain name"),
        (lambda d: first_node(d)["inputs"].append({"name": "x=1", "arg": {"as_none": True}}), "name of an argument"),
        (lambda d: first_node(d)["inputs"].append({"name": "x", "arg": {"as_magic": 1}}), "not a kind of value"),
        (lambda d: first_node(d)["inputs"].append({"name": "x", "arg": {"as_int": "1"}}), "whole number"),
        (lambda d: first_node(d)["inputs"].append({"name": "x", "arg": {"as_int": True}}), "whole number"),
        (lambda d: first_node(d)["inputs"].append({"name": "x", "arg": {"as_string": "a\nb"}}), "plain text"),
        (lambda d: first_node(d)["metadata"].update(nn_module_stack='a,b"],c'), "path of module names"),
        (lambda d: first_node(d)["metadata"].update(nn_module_stack="a,b,c;d"), "name of a class"),
        (lambda d: d["graph_module"]["module_call_graph"].append({"fqn": 'a"b', "signature": None}), "module names"),
        (lambda d: d["graph_module"]["signature"]["input_specs"][0]["parameter"].update(parameter_name="a'b"), "path"),
        (lambda d: d["graph_module"]["signature"]["input_specs"].append({"token": {}}), "effect token"),
        (lambda d: d["range_constraints"].update({"u99999999999": {"min_val": 0, "max_val": 1}}), "name of a size"),
        (lambda d: d.update(schema_version=8), "not an object"),
        (lambda d: d.pop("graph_module"), "has no 'graph_module'"),
    ],
)
def test_what_no_honest_program_holds_is_refused(change: Change, why: str, good: Entries) -> None:
    entries = dict(good)
    edit(entries, PROGRAM, change)
    with pytest.raises(UntrustedNetworkError, match=why):
        pass_gate(packed(entries))


def structure(tree: Any) -> Change:
    def change(document: Any) -> None:
        document["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = (
            tree if isinstance(tree, str) else json.dumps([1, tree])
        )

    return change


LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}


def deep(levels: int) -> Any:
    tree: Any = LEAF
    for _ in range(levels):
        tree = {"type": "builtins.tuple", "context": "null", "children_spec": [tree]}
    return tree


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        ({"type": "os.system", "context": "null", "children_spec": []}, "no tuple, list or dictionary"),
        ({"type": "builtins.dict", "context": '["a\'b"]', "children_spec": [LEAF]}, "plain key"),
        ({"type": "builtins.dict", "context": '[{"__enum__": true}]', "children_spec": [LEAF]}, "plain key"),
        (
            {
                "type": "builtins.tuple",
                "context": "null",
                "children_spec": [
                    {"type": "builtins.tuple", "context": "null", "children_spec": []},
                    {"type": "builtins.dict", "context": '["x=1"]', "children_spec": [LEAF]},
                ],
            },
            "plain key|plain name",
        ),
        ({"type": "builtins.tuple", "context": '["a"]', "children_spec": []}, "beside a builtins.tuple"),
        (deep(40), "32 deep"),
        ("[" * 100_000, "JSON"),
        ("[2, {}]", "version 1"),
    ],
)
def test_structures_of_inputs_are_tuples_lists_and_dictionaries(tree: Any, why: str, good: Entries) -> None:
    entries = dict(good)
    edit(entries, PROGRAM, structure(tree))
    with pytest.raises(UntrustedNetworkError, match=why):
        pass_gate(packed(entries))


# --- tensors ------------------------------------------------------------------------------------------------------


def first_weight(document: Any) -> Any:
    return document["config"]["layers.0.weight"]


def meta(document: Any) -> Any:
    return first_weight(document)["tensor_meta"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: meta(d).update(sizes=[{"as_int": 1000}, {"as_int": 4}]), "a tensor of shape"),
        (lambda d: meta(d).update(storage_offset={"as_int": 9}), "a tensor of shape"),
        (lambda d: meta(d).update(strides=[{"as_int": 40}, {"as_int": 1}]), "a tensor of shape"),
        (
            lambda d: meta(d).update(
                sizes=[{"as_int": 10**9}, {"as_int": 10**9}], strides=[{"as_int": 0}, {"as_int": 0}]
            ),
            "a tensor of shape",
        ),
        (lambda d: meta(d).update(sizes=[{"as_int": -1}, {"as_int": 4}]), "plain sizes"),
        (lambda d: meta(d).update(sizes=[{"as_expr": {"expr_str": "s0"}}]), "plain sizes"),
        (lambda d: meta(d).update(dtype=0), "none of"),
        (lambda d: meta(d).update(layout=1), "none of"),
        (lambda d: first_weight(d).update(path_name="../../models/model.json"), "name of a tensor's file"),
        (lambda d: first_weight(d).update(path_name="weight_99"), "which is not there"),
        (lambda d: first_weight(d).update(tensor_meta=None), "without shape"),
        (lambda d: d["config"].update({'a"b': first_weight(d)}), "module names"),
        (lambda d: d["config"].update(a=first_weight(d) | {"tensor_meta": meta(d) | {"dtype": 4}}), "another type"),
    ],
)  # fmt: skip
def test_tensors_must_lie_within_their_files(change: Change, why: str, good: Entries) -> None:
    entries = dict(good)
    edit(entries, WEIGHTS, change)
    with pytest.raises(UntrustedNetworkError, match=why):
        pass_gate(packed(entries))


def test_an_empty_file_does_not_become_a_huge_tensor(good: Entries) -> None:
    entries = dict(good) | {"data/weights/weight_0": b""}
    with pytest.raises(UntrustedNetworkError, match="a tensor of shape"):
        pass_gate(packed(entries))


# --- the archive --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "archive/../../evil", "/etc/passwd", "archive//evil", "archive/./evil", "archive/a\\b", "C:/evil",
"archive/a b", "archive/näme", "evil",
    ],
)  # fmt: skip
def test_path_tricks_are_refused(name: str, good: Entries) -> None:
    data = packed({f"archive/{k}": v for k, v in good.items()} | {name: b"x"}, root="")
    with pytest.raises(UntrustedNetworkError, match=r"no plain path|nothing that a recorded network"):
        pass_gate(data)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("data/aotinductor/model/evil.so", "compiled code"),
        ("data/weights/evil.so", "compiled code"),
        ("data/extra/notes.txt", "nothing that a recorded network consists of"),
        ("data/constants/custom_obj_0", "a pickled object"),
        ("data.pkl", "a pickle"),
        ("code/__torch__.py", "TorchScript"),
        ("models/other.json", "nothing that a recorded network consists of"),
    ],
)
def test_unknown_entries_are_refused_by_name(name: str, why: str, good: Entries) -> None:
    with pytest.raises(UntrustedNetworkError, match=re.escape(name)) as refused:
        pass_gate(packed(good | {name: b"x"}))
    assert why in refused.value.message


def test_a_name_that_hides_its_end_is_refused(good: Entries) -> None:
    """Python's zipfile cuts a name at a NUL, other readers do not: they would see two different files."""
    data = packed(good | {"data/weights/weight_7777": b"x"}).replace(b"weight_7777", b"weight_7\x00pt")
    with pytest.raises(UntrustedNetworkError, match="no plain path"):
        pass_gate(data)


def raw_archive(good: Entries, change: Callable[[zipfile.ZipInfo], None], name: str = PROGRAM) -> bytes:
    """An archive in which one entry's header was changed before it was written."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for entry, content in good.items():
            info = zipfile.ZipInfo(f"archive/{entry}")
            if entry == name:
                change(info)
            archive.writestr(info, content)
    return buffer.getvalue()


def test_links_are_refused(good: Entries) -> None:
    data = raw_archive(good, lambda info: setattr(info, "external_attr", (stat.S_IFLNK | 0o777) << 16))
    with pytest.raises(UntrustedNetworkError, match="a link"):
        pass_gate(data)


def test_a_zip_bomb_is_refused_without_unpacking_it(good: Entries) -> None:
    bomb = packed(good | {"data/weights/weight_0": bytes(50_000_000)}, method=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 200_000
    with pytest.raises(UntrustedNetworkError, match="compressed"):
        pass_gate(bomb)


def test_headers_that_lie_about_sizes_are_refused(good: Entries) -> None:
    data = bytearray(packed(good))
    at = data.rindex(b"PK\x01\x02")
    struct.pack_into("<II", data, at + 20, 2**31, 2**31)  # compressed and real size in the directory
    with pytest.raises((UntrustedNetworkError, NetworkMissingError), match=r"content in a file of|damaged"):
        pass_gate(bytes(data))


def test_overlapping_entries_are_refused(good: Entries) -> None:
    """Many directory entries for the same bytes: small on disk, endless in memory."""
    data = packed(good | {"data/weights/weight_900": bytes(100_000)})
    directory_at, *_ = struct.unpack_from("<I", data, len(data) - 6)
    start = data.rindex(b"PK\x01\x02", 0, data.rindex(b"weight_900") + 1)
    length = 46 + len("archive/data/weights/weight_900")
    entry = data[start : start + length]
    copies = b"".join(entry.replace(b"weight_900", f"weight_{i}".encode()) for i in range(901, 999))
    end = bytearray(data[-22:])
    count = struct.unpack_from("<H", end, 10)[0] + 98
    struct.pack_into("<HHI", end, 8, count, count, len(data) - 22 - directory_at + len(copies))
    with pytest.raises((UntrustedNetworkError, NetworkMissingError), match=r"content in a file of|damaged"):
        pass_gate(data[:-22] + copies + bytes(end))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused(good: Entries) -> None:
    buffer = io.BytesIO(packed(good))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(zipfile.ZipInfo(f"archive/{PROGRAM}"), b"{}")
    with pytest.raises(UntrustedNetworkError, match="second entry of the same name"):
        pass_gate(buffer.getvalue())


def test_two_folders_are_refused(good: Entries) -> None:
    entries = {f"archive/{k}": v for k, v in good.items()} | {f"other/{CONSTANTS}": good[CONSTANTS]}
    with pytest.raises(UntrustedNetworkError, match=r"second entry|more than one folder"):
        pass_gate(packed(entries, root=""))


def test_too_many_or_too_large_entries_are_refused(good: Entries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MOST_ENTRIES", 5)
    with pytest.raises(UntrustedNetworkError, match="more than 5"):
        pass_gate(packed(good))
    monkeypatch.setattr(gate, "MOST_ENTRIES", 1000)
    monkeypatch.setattr(gate, "MOST_DOCUMENT_BYTES", 100)
    with pytest.raises(UntrustedNetworkError, match="too large for a description"):
        pass_gate(packed(good))


@pytest.mark.parametrize("document", [b"[" * 200_000, b"{", b"\xff\xfe", b"1" * 5000, b'{"a": NaN}', b"null"])
def test_documents_that_are_no_programs_are_refused(document: bytes, good: Entries) -> None:
    with pytest.raises(UntrustedNetworkError):
        pass_gate(packed(good | {PROGRAM: document}))


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_files_that_are_no_archives_are_damaged(data: bytes) -> None:
    with pytest.raises(NetworkMissingError, match=r"damaged|not complete"):
        pass_gate(data)


def test_a_truncated_or_flipped_archive_is_damaged_or_refused(good: Entries) -> None:
    data = packed(good)
    for cut in range(0, len(data), 997):
        with pytest.raises((NetworkMissingError, UntrustedNetworkError)):
            pass_gate(data[:cut])
    flipped = bytearray(data)
    flipped[data.index(good["data/weights/weight_0"][:16])] ^= 0xFF
    with pytest.raises(NetworkMissingError, match="CRC"):
        pass_gate(bytes(flipped))


# --- what passes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        (Mlp(), (torch.randn(2, 4),)),
        (Residual(), (torch.randn(2, 4),)),
        (Convolutional(), (torch.randn(2, 1, 10, 10),)),
        (Shared(), (torch.randn(2, 4), torch.randn(2, 4))),
        (Grouped(), {"x": torch.randn(2, 4), "mask": torch.ones(2, 4)}),
        (torch.nn.LSTM(3, 4, batch_first=True, bidirectional=True), (torch.randn(2, 5, 3),)),
        (torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (torch.randn(2, 5, 8),)),
        (torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Upsample(scale_factor=2, mode="bilinear")),
         (torch.randn(2, 1, 8, 8),)),
    ],
    ids=["mlp", "residual", "convolutional", "shared", "grouped", "lstm", "transformer", "upsample"],
)  # fmt: skip
def test_honest_networks_pass_and_answer_as_before(network: torch.nn.Module, inputs: Any) -> None:
    network.eval()
    data, _ = export_network(network, inputs)
    module = loaded(data)
    args, kwargs = (inputs, {}) if isinstance(inputs, tuple) else ((), inputs)
    with torch.no_grad():
        expected = torch.utils._pytree.tree_leaves(network(*args, **kwargs))
        answered = torch.utils._pytree.tree_leaves(module(*args, **kwargs))
    assert len(expected) == len(answered)
    for one, other in zip(expected, answered, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_a_program_without_gradients_inside_may_not_hide_another_operator() -> None:
    data, _ = export_network(Grouped(), {"x": torch.randn(2, 4), "mask": torch.ones(2, 4)})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {i.filename.partition("/")[2]: archive.read(i) for i in archive.infolist()}

    def change(document: Any) -> None:
        (inner,) = [n for n in graph_of(document)["nodes"] if "higher_order" in n["target"]]
        inner["inputs"][1]["arg"]["as_graph"]["graph"]["nodes"][0]["target"] = "torch.os.system"

    edit(entries, PROGRAM, change)
    with pytest.raises(UntrustedNetworkError, match=r"as_graph\.graph\.nodes\[0\]\.target: the operator 'torch\.os\.s"):
        pass_gate(packed(entries))


def test_only_what_was_checked_reaches_pytorch(good: Entries) -> None:
    """Unknown fields, traces of the author's files and a program's own notes do not come through."""
    entries = dict(good)

    def change(document: Any) -> None:
        document["surprise"] = "kept?"
        document["graph_module"]["metadata"] = {"custom": '{"secret": 1}'}
        first_node(document)["metadata"].update(stack_trace="/home/me/x.py", source_fn_stack="a,torch.os.system")

    edit(entries, PROGRAM, change)
    with zipfile.ZipFile(io.BytesIO(pass_gate(packed(entries)))) as archive:
        text = b"".join(archive.read(name) for name in archive.namelist())
        assert archive.read(f"archive/{SAMPLES}") == b""
    for word in (b"surprise", b"secret", b"/home/me", b"os.system"):
        assert word not in text


def test_a_network_from_a_gpu_is_opened_on_the_cpu(good: Entries) -> None:
    entries = dict(good)
    for name in (PROGRAM, WEIGHTS):
        entries[name] = entries[name].replace(b'{"type": "cpu", "index": null}', b'{"type": "cuda", "index": 3}')
    assert b"cuda" in entries[PROGRAM]
    module = loaded(packed(entries))
    assert module(torch.zeros(2, 4)).device.type == "cpu"


def test_checking_a_file_imports_and_runs_nothing_of_it(tmp_path: Path, good: Entries) -> None:
    """In a fresh process, with an audit hook: no unpickling, no exec of text from the file, no new module."""
    path = tmp_path / "network.pt2"
    path.write_bytes(packed(good))
    script = (
        "import sys, pathlib\n"
        "from epochal.network.gate import pass_gate\n"
        "import zipfile, json, encodings.cp437  # the encoding of names in a zip archive\n"
        "seen = []\n"
        "watched = ('pickle.find_class', 'exec', 'subprocess.Popen', 'os.system', 'import')\n"
        "sys.addaudithook(lambda event, args: seen.append((event, str(args[0]))) if event in watched else None)\n"
        "pass_gate(pathlib.Path(sys.argv[1]))\n"
        "print(seen)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True, env=env, timeout=120
    )
    assert done.stdout.strip() == "[]", done.stdout
