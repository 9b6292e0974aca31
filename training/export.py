"""Pure functions of a model to ONNX, dynamic in the batch, gradients included.

Measured traps: the exporter's optimiser deletes additions of 1e-8 and less, so it stays off; a
gradient exports only after its backward formulas are written as forward ones.
"""

import io
import itertools
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.export import Dim
from torch.fx.experimental.proxy_tensor import make_fx

from models.core.contract.graph import Graph

_LARGE = 256  # numbers; smaller constants may be exponents or shapes and keep their precision


def export(graph: Graph, *, half: bool = True) -> bytes:
    """The graph as ONNX bytes; `half` stores large constants in half precision.

    Halving loses nothing where the weights were already rounded to half precision. Raises
    ValueError for a function that the tracer sees at one size of batch only.
    """
    # The tracer takes dimensions of one size for the same: the batch must look like no other.
    sizes = {size for tensor in graph.example for size in tensor.shape[1:]}
    example = graph.rows(next(num for num in itertools.count(2) if num not in sizes))
    traced = make_fx(
        lambda *tensors: graph.function(*tensors),  # the tracer miscounts a bound method's self
        decomposition_table=_DECOMPOSITIONS,
        tracing_mode="symbolic",
        _allow_non_fake_inputs=True,
    )(*example)
    batch = Dim("batch", min=1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Wrapped(traced),
            example,
            dynamo=True,
            optimize=False,
            verbose=False,
            dynamic_shapes=(tuple({0: batch} for _ in example),),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
        )
    assert program is not None
    model = program.model_proto
    if not all(value.type.tensor_type.shape.dim[0].dim_param for value in model.graph.input):
        raise ValueError(
            f"a graph of {', '.join(graph.inputs)} is fixed at {len(example[0])} rows: its "
            "function must ask for x.shape[0], since len(x) is a number to the tracer"
        )
    _forget_origins(model)
    if half:
        _halve_constants(model)
    onnx.checker.check_model(model)
    buffer = io.BytesIO()
    onnx.save(model, buffer)
    return buffer.getvalue()


class _Wrapped(nn.Module):
    """A traced function as a module, which is what the exporter takes."""

    def __init__(self, traced: nn.Module) -> None:
        super().__init__()
        self.traced = traced

    def forward(self, *tensors: Tensor) -> Any:
        return self.traced(*tensors)


def _forget_origins(model: onnx.ModelProto) -> None:
    """Drop the stack traces that the exporter notes: they hold paths of the exporting machine."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]


def _halve_constants(model: onnx.ModelProto) -> None:
    """Store large float constants as float16 behind a Cast; the runtime folds it when loading."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < _LARGE:
            continue
        name, values = tensor.name, onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    for i, node in enumerate(casts):
        model.graph.node.insert(i, node)


def _convolution_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    _bias_sizes: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    _output_padding: list[int],
    groups: int,
    output_mask: list[bool],
) -> tuple[Tensor, None, None]:
    """The gradient in x as a transposed convolution; weights are constants here."""
    assert not transposed
    assert not any(output_mask[1:])
    rest = [
        x.shape[i + 2]
        - (
            (grad.shape[i + 2] - 1) * stride[i]
            - 2 * padding[i]
            + dilation[i] * (weight.shape[i + 2] - 1)
            + 1
        )
        for i in range(len(stride))
    ]
    out = torch.ops.aten.convolution.default(
        grad, weight, None, stride, padding, dilation, True, rest, groups
    )
    return out, None, None


def _silu_backward(grad: Tensor, x: Tensor) -> Tensor:
    sigmoid = torch.sigmoid(x)
    return grad * sigmoid * (1 + x * (1 - sigmoid))


_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.convolution_backward.default: _convolution_backward,
    torch.ops.aten.silu_backward.default: _silu_backward,
}
