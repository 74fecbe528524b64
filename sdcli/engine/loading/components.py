"""One component of a model, loaded by Diffusers or Transformers and proven complete."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sdcli.checkpoints import weights
from sdcli.engine.runtime import memory
from sdcli.errors import CorruptError


def load_component(part: str, cls: Any, home: Path, file: Path, dtype: torch.dtype) -> Any:
    """The component in the folder `home`, whose weights are `file`. Raises CorruptError."""
    try:
        model, info = cls.from_pretrained(
            home,
            dtype=dtype,
            variant=weights.variant_of(file.name),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise corrupt_component_error(part, home, str(error).splitlines()[0]) from error
    except RuntimeError as error:
        if memory.is_out_of_memory(error):
            raise
        raise corrupt_component_error(part, home, str(error).splitlines()[0]) from error
    check_complete(part, file, model, sorted(info["missing_keys"]))
    mismatched = sorted(str(key[0]) for key in info["mismatched_keys"])
    if mismatched:
        raise corrupt_component_error(
            part, file, f"has another shape of {mismatched[0]}" + _and_more(mismatched)
        )
    return model


def check_complete(part: str, file: Path, model: Any, missing: list[str]) -> None:
    """Raise CorruptError for tensors that the file lacked.

    That is no error to Diffusers (it leaves them on "meta") nor to Transformers (random).
    """
    missing = missing or [name for name, value in model.named_parameters() if value.is_meta]
    if missing:
        raise corrupt_component_error(part, file, f"lacks {missing[0]}" + _and_more(missing))


def corrupt_component_error(part: str, path: Path, what: str) -> CorruptError:
    """The error that a part's files are not what they should be."""
    return CorruptError(
        f"{part}: {path}: {what}", code="model.corrupt", hint="fetch the file again"
    )


def _and_more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
