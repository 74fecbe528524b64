"""Give the models of a pipeline the backend that its spec names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.pipeline_spec import TORCH, PipelineSpec


def loading_dtype(spec: PipelineSpec, dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to load weights in, for a pipeline that computes in `dtype`.

    Another backend has weights of its own. Those of torch are then only mapped from their files,
    and latents and embeddings stay exact.
    """
    return dtype if spec.backend == TORCH else torch.float32


def use_backend(
    spec: PipelineSpec,
    models: Mapping[str, Any],
    files: Mapping[str, WeightFiles],
    dtype: torch.dtype,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Make models compute in `dtype` with the spec's backend; `files` are those of their weights.

    Those that do already stay as they are. `tell` gets a sentence before a long wait. Raises
    DeviceError, ModelError and OutputError.
    """
    if spec.backend != TORCH:
        # Here, as it is not installed everywhere.
        from sdcli.engine.backends.openvino_pipeline import run_on_openvino

        run_on_openvino(models, files, dtype, tell)
