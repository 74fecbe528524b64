"""Make the networks of a loaded pipeline compute with OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch

from sdcli.checkpoints.file_hashes import file_sha256
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.checkpoints.weights import hash_weights
from sdcli.engine.backends.converted_forward import ConvertedForward, is_converted
from sdcli.engine.backends.model_cache import find_or_convert
from sdcli.engine.backends.networks import Network, find_network
from sdcli.engine.backends.openvino_runtime import (
    check_precision,
    compile_model,
    write_model,
)
from sdcli.pipeline_spec import OPENVINO
from sdcli.versions import backend_versions, library_versions

_GRAPH_VERSION: Final = 1
"""Counts the changes of networks.py that make networks of before useless."""

_CONVERTERS: Final = ("openvino", "torch", "diffusers", "transformers")
"""The libraries that decide what a network is converted to."""


_CONVERTING: Final = (
    "converting the networks for OpenVINO, once for each model and precision; it may take a minute"
)


def run_on_openvino(
    components: Mapping[str, Any],
    files: Mapping[str, WeightFiles],
    dtype: torch.dtype,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Make these components of a pipeline, on the CPU in float32, compute with OpenVINO in `dtype`.

    `files` are the weights that they were loaded from. The schedulers, the pipeline, and the
    encoder of the VAE stay on torch. `tell` is called before a network is converted, which takes
    long. Raises DeviceError for a dtype that the CPU does not have, and OutputError if a converted
    network cannot be kept.
    """
    check_precision(dtype)
    for name, component in components.items():
        network = find_network(name, component)
        if network and not is_converted(network.module):
            _convert(network, files[name], dtype, tell)


def _convert(
    network: Network, files: WeightFiles, dtype: torch.dtype, tell: Callable[[str], None] | None
) -> None:
    versions = {**library_versions(), **backend_versions(OPENVINO)}
    facts = {
        **network.facts,
        "graph": _GRAPH_VERSION,
        # By content: of a damaged file of the hub, the name tells the hash that it should have.
        "weights": hash_weights(files, file_sha256),
        "dtype": str(dtype).removeprefix("torch."),
        "versions": {name: versions[name] for name in _CONVERTERS},
    }

    def convert(path: Path) -> None:
        if tell:
            tell(_CONVERTING)
        write_model(network, dtype, path)

    path = find_or_convert(facts, convert)
    infer = compile_model(path, dtype)
    network.module.forward = ConvertedForward(network.module, network.read, infer, network.write)
