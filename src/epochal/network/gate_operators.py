"""Which operators a recorded network may run: PyTorch's own tensor operators, and arithmetic on sizes.

PyTorch looks an operator up by walking attributes from `torch`, `operator` or `math`, so that `torch.os.system` is
found as readily as `torch.ops.aten.linear`. Here an operator is known by its full name, and by what its schema takes
and gives: tensors and numbers. Operators that take a file name, a storage, a generator or code do not fit.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import torch

from epochal.network.gate_rules import Refused, brief

__all__ = ["GRAD_MODE", "operator"]

GRAD_MODE = "torch.ops.higher_order.wrap_with_set_grad_enabled"
"""A stretch of the forward under `torch.no_grad()`; the only operator that holds a graph inside."""

_TENSOR_OPERATOR = re.compile(r"torch\.ops\.(aten|prims)\.([A-Za-z0-9_]{1,100})\.([A-Za-z0-9_]{1,100})")
_SIZE_OPERATORS = frozenset(
    {
        *(f"_operator.{op}" for op in (
            "add", "and_", "eq", "floordiv", "ge", "getitem", "gt", "le", "lshift", "lt", "mod", "mul", "ne", "neg",
            "or_", "pos", "pow", "rshift", "sub", "truediv",
        )),
        "math.ceil", "math.floor", "math.trunc",
        "torch.sym_float", "torch.sym_int", "torch.sym_ite", "torch.sym_max", "torch.sym_min", "torch.sym_not",
        "torch._sym_sqrt", "torch.sym_sqrt",
    }
)  # fmt: skip

# Operators with an underscore are PyTorch's own inner workings; these are the ones that networks are made of.
_PRIVATE = frozenset(
    {
        "__and__", "__iand__", "__ilshift__", "__ior__", "__irshift__", "__ixor__", "__lshift__", "__or__",
        "__rshift__", "__xor__", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_addmm_activation", "_aminmax",
        "_assert_async", "_assert_scalar", "_assert_tensor_metadata", "_batch_norm_no_update",
        "_batch_norm_with_update", "_cdist_forward", "_conj", "_conj_physical", "_convolution", "_convolution_mode",
        "_ctc_loss", "_dim_arange", "_embedding_bag", "_embedding_bag_forward_only", "_euclidean_dist", "_fft_c2c",
        "_fft_c2r", "_fft_r2c", "_functional_assert_async", "_functional_assert_scalar", "_fused_rms_norm",
        "_grouped_mm", "_int_mm", "_is_all_true", "_is_any_true", "_lazy_clone", "_linalg_det", "_linalg_eigh",
        "_linalg_slogdet", "_linalg_solve_ex", "_linalg_svd", "_local_scalar_dense", "_log_softmax",
        "_logcumsumexp", "_masked_softmax", "_native_batch_norm_legit", "_native_batch_norm_legit_functional",
        "_native_batch_norm_legit_no_training", "_native_multi_head_attention", "_neg_view", "_pad_circular",
        "_pad_enum", "_pdist_forward", "_prelu_kernel", "_reshape_copy", "_safe_softmax",
        "_scaled_dot_product_attention_math", "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_for_cpu", "_shape_as_tensor",
        "_softmax", "_stack", "_thnn_fused_gru_cell", "_thnn_fused_lstm_cell", "_to_copy",
        "_transformer_encoder_layer_fwd", "_trilinear", "_unique", "_unique2", "_unsafe_index",
        "_unsafe_masked_index", "_unsafe_view", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa",
        "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "_weight_norm",
        "_weight_norm_interface",
    }
)  # fmt: skip

# They change what is not theirs: the process's random numbers, modes, or the memory behind a tensor.
_MEDDLING = re.compile(r"(.*seed|set_.*|resize.*|.*_resize_.*|set|from_file|save|load|backward|grad|requires_grad_?|"
                       r"pin_memory|record_stream|rename_?|retain_grad|data|wait)")  # fmt: skip

_PLAIN_TYPE = re.compile(
    r"(Optional\[|List\[)*(Tensor|int|bool|float|number|complex|Device|SymInt|SymFloat|SymBool|ScalarType|Layout|"
    r"MemoryFormat|NoneType)\]*"
)
_WORDS = frozenset(
    {"UPLO", "approximate", "assert_msg", "driver", "equation", "indexing", "interpolation", "mode", "norm", "ord",
     "p", "pad_mode", "padding", "padding_side", "reduce", "rounding_mode", "side"}
)  # fmt: skip
"""Arguments of texts that only choose between ways to calculate."""


def operator(value: Any, where: str) -> str:
    """The operator's full name again, when it is one that may run."""
    if not isinstance(value, str):
        raise Refused(where, f"{brief(value)} is not the name of an operator")
    if value in _SIZE_OPERATORS:
        return value
    if (why := _problem(value)) is not None:
        raise Refused(where, why)
    return value


@lru_cache(maxsize=4096)
def _problem(name: str) -> str | None:
    """Why an operator may not run, None when it may."""
    parts = _TENSOR_OPERATOR.fullmatch(name)
    if parts is None:
        return f"the operator {brief(name)} is none of PyTorch's tensor operators (torch.ops.aten, torch.ops.prims)"
    library, operation, overload = parts.groups()
    if (operation.startswith("_") and operation not in _PRIVATE) or _MEDDLING.fullmatch(operation):
        return f"the operator {brief(name)} does more than calculate"
    packet = getattr(getattr(torch.ops, library), operation, None)
    found = getattr(packet, overload, None) if isinstance(packet, torch._ops.OpOverloadPacket) else None
    if not isinstance(found, torch._ops.OpOverload):
        return f"this PyTorch has no operator {brief(name)}"
    for argument in found._schema.arguments:
        kind = str(argument.type)
        text_choice = kind in ("str", "Optional[str]") and argument.name in _WORDS
        if not (text_choice or kind == "Optional[Generator]" or _PLAIN_TYPE.fullmatch(kind)):
            return f"the operator {brief(name)} takes {argument.name} of type {kind}, which is no tensor and no number"
    for returned in found._schema.returns:
        if not _PLAIN_TYPE.fullmatch(str(returned.type)):
            return f"the operator {brief(name)} gives {returned.type}, which is no tensor and no number"
    return None
