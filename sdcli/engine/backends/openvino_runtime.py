"""Convert networks to OpenVINO's models, and compile those for the CPU."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from sdcli.engine.backends.converted_forward import Infer, Outputs
from sdcli.engine.backends.model_cache import write_error
from sdcli.engine.backends.networks import Network
from sdcli.engine.runtime.model_errors import first_line
from sdcli.errors import DeviceError, ModelError, UsageError

_DEVICE: Final = "CPU"
_PRECISIONS: Final = {torch.float32: "f32", torch.bfloat16: "bf16"}
_TELEMETRY: Final = "openvino_telemetry"
_CONVERTER: Final = "openvino.tools.ovc"
_REPORTING: Final = ("convert_impl", "telemetry_utils", "utils")
"""The modules of the converter that report its use."""


@cache
def load_openvino() -> Any:
    """Import OpenVINO without the package through which it reports that over the network.

    It would also leave an identifier in the home folder. Raises UsageError for a broken package.
    """
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    except (ImportError, OSError, RuntimeError) as error:
        raise UsageError(
            f"backend: openvino cannot be imported: {first_line(error)}",
            code="usage.backend",
            hint="pip install openvino, or use --backend torch",
        ) from error
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before


@contextmanager
def _reporting_nothing() -> Iterator[None]:
    """Keep the converter from reporting, in a program that has imported OpenVINO by itself."""
    load_openvino()
    modules: list[Any] = [importlib.import_module(f"{_CONVERTER}.{name}") for name in _REPORTING]
    stub = importlib.import_module(f"{_CONVERTER}.telemetry_stub")
    with ExitStack() as stack:
        for module in modules:
            stack.callback(setattr, module, "tm", module.tm)
            module.tm = stub
        yield


def check_precision(dtype: torch.dtype) -> None:
    """Raise DeviceError for a precision that this CPU has no instructions for."""
    capabilities = _core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    if dtype == torch.bfloat16 and "BF16" not in capabilities:
        raise DeviceError(
            "backend: openvino cannot compute in bfloat16 on this CPU",
            code="device.dtype",
            hint="use --dtype float32",
        )


@cache
def _core() -> Any:
    return load_openvino().Core()


class _Graph(torch.nn.Module):
    """The computation of a network as a module of its own, which takes its inputs in order."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module = network.module
        self._network = network

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Compute the outputs."""
        return self._network.compute(**dict(zip(self._network.inputs, inputs, strict=True)))


def write_model(network: Network, dtype: torch.dtype, path: Path) -> None:
    """Convert a network and write it, with weights for computing in `dtype`.

    Raises ModelError for a network that OpenVINO does not take, and OutputError.
    """
    try:
        model = _convert(network)
    # Whatever the trace and the converter raise, it is about a network that they do not know.
    except Exception as error:
        raise ModelError(
            f"backend: OpenVINO cannot convert this {type(network).__name__}: {first_line(error)}",
            code="model.backend",
            hint="use --backend torch",
        ) from error
    try:
        load_openvino().save_model(model, path, compress_to_fp16=dtype != torch.float32)
        # A full disk may leave half a file without an error.
        _core().read_model(path)
    except RuntimeError as error:
        raise write_error(path.parents[2], "the file is incomplete") from error


@torch.no_grad()
def _convert(network: Network) -> Any:
    inputs = network.inputs.values()
    with warnings.catch_warnings(), _reporting_nothing():
        # The trace warns of each condition in Python; networks.py has examples for them.
        warnings.simplefilter("ignore")
        return load_openvino().convert_model(
            _Graph(network).eval(),
            example_input=tuple(one.example for one in inputs),
            input=[list(one.shape) for one in inputs],
        )


def compile_model(path: Path, dtype: torch.dtype) -> Infer:
    """Compile the network in a file, and return a function that computes its outputs."""
    options = {
        "INFERENCE_PRECISION_HINT": _PRECISIONS[dtype],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    request = _core().compile_model(path, _DEVICE, options).create_infer_request()

    def infer(inputs: Sequence[torch.Tensor]) -> Outputs:
        arrays = [tensor.detach().contiguous().numpy() for tensor in inputs]
        outputs = request.infer(arrays, share_inputs=True, share_outputs=True)
        # The next call writes its outputs into the same memory.
        return [torch.from_numpy(np.array(value)) for value in outputs.values()]

    return infer
