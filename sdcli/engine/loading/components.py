"""Load one component of a model with Diffusers or Transformers, and check that it is complete."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.engine.loading.class_configs import reduce_config
from sdcli.engine.loading.mapped_tensors import build_empty, read_tensors
from sdcli.engine.loading.staging import staged
from sdcli.engine.runtime import memory
from sdcli.engine.runtime.model_errors import first_line, is_panic
from sdcli.errors import CorruptError, SdcliError

_OTHER_SHAPE: Final = re.compile(
    r"because (\S+) expected shape torch\.Size\((\[.*?\])\), but got torch\.Size\((\[.*?\])\)"
)
"""What Diffusers says of a tensor of another shape, before it explains arguments of its own."""

_UNKNOWN_KIND: Final = re.compile(r"variant of untagged enum (\w+?)(?:Untagged|Wrapper)? ")
"""What the library of tokenizers says of a part that it cannot read."""


def load_component(
    name: str,
    cls: Any,
    config_file: Path,
    config: Mapping[str, Any],
    files: WeightFiles,
    dtype: torch.dtype,
) -> Any:
    """Load the component `name` of the class `cls` from exactly these files.

    `config` is the checked contents of `config_file`. Raises CorruptError.
    """
    config = reduce_config(cls, config, config_file)
    if files.sources is not None:
        return _load_from_single_file(name, cls, config, files, dtype)
    with (
        staged(name, config, files) as folder,
        loading_errors_as_corrupt_errors(name, config_file.parent, folder),
    ):
        model, loading_info = cls.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    check_complete(name, files.path, model, sorted(loading_info["missing_keys"]))
    # Each entry is (tensor name, shape in the file, shape in the model).
    mismatched = sorted(str(entry[0]) for entry in loading_info["mismatched_keys"])
    if mismatched:
        raise corrupt_component_error(
            name, files.path, f"has another shape of {mismatched[0]}" + _and_others(mismatched)
        )
    return model


def _load_from_single_file(
    name: str, cls: Any, config: Mapping[str, Any], files: WeightFiles, dtype: torch.dtype
) -> Any:
    """Build the component without weights, and put those of the file in their places."""
    with loading_errors_as_corrupt_errors(name, files.path):
        model = build_empty(cls, config)
        state = read_tensors(name, files, model.state_dict(), dtype)
        # Without `assign`, the tensors would be copied into weights that do not exist.
        model.load_state_dict(state, assign=True, strict=False)
    check_complete(name, files.path, model, [])
    return model.eval()


@contextmanager
def loading_errors_as_corrupt_errors(
    name: str, path: Path, loaded_from: Path | None = None
) -> Iterator[None]:
    """Translate whatever libraries raise for a bad file at `path` into CorruptError.

    `loaded_from` is the path that the library knows, and that its messages name.
    """
    try:
        yield
    except SdcliError:
        raise
    # A library given a file that it does not expect raises anything, from AssertionError to the
    # ZeroDivisionError of a group normalization. Interrupts are no Exception.
    except Exception as error:
        if isinstance(error, RuntimeError) and memory.is_out_of_memory(error):
            raise
        problem = _explain(name, error).replace(str(loaded_from), str(path))
        raise corrupt_component_error(name, path, problem) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        problem = _explain(name, error)
        raise corrupt_component_error(name, path, problem) from error


def _explain(name: str, error: BaseException) -> str:
    """Return what an error of a library says about a component."""
    line = first_line(error)
    # torch: "Cannot copy out of meta tensor", of a tensor that the file doesn't have.
    if isinstance(error, NotImplementedError) and "meta tensor" in line:
        return "lacks tensors of its layout"
    if shapes := _OTHER_SHAPE.search(line):
        tensor, configured, found = shapes.groups()
        return (
            f"the weights have {tensor} of shape {found}, but its configuration says {configured}"
        )
    if unknown := _UNKNOWN_KIND.search(line):
        key = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", unknown[1]).lower()
        return f"tokenizer.json has a {key} that Transformers does not know"
    library = "Transformers" if name.startswith(("text_encoder", "tokenizer")) else "Diffusers"
    # The place is one in the copy that was loaded.
    return f"{library} cannot load it: {re.sub(r' at line 1 column [0-9]+$', '', line)}"


def check_complete(name: str, file: Path, model: Any, missing: list[str]) -> None:
    """Raise CorruptError if the file lacks tensors: those in `missing`, or any left on "meta"."""
    # Neither library raises: Diffusers leaves the tensor on the meta device, and Transformers
    # initialises it at random.
    missing = missing or [name for name, value in model.named_parameters() if value.is_meta]
    if missing:
        raise corrupt_component_error(name, file, f"lacks {missing[0]}" + _and_others(missing))


def corrupt_component_error(name: str, path: Path, problem: str) -> CorruptError:
    """Return the error for a component whose file or folder has a problem."""
    part = "file" if path.is_file() else "model"
    return CorruptError(
        f"{name}: {path}: {problem}", code="model.corrupt", hint=f"download the {part} again"
    )


def _and_others(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
