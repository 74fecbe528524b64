"""Change the weights of a pipeline by LoRAs for one run, and restore them bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sdcli.checkpoints.adapters.lora_file import LoraLayer, MatchedLora, match_to_model
from sdcli.checkpoints.adapters.lora_names import find_lora
from sdcli.checkpoints.adapters.model_layers import TEXT_PREFIX
from sdcli.checkpoints.file_hashes import sha256
from sdcli.engine.adapters.weight_changes import bias_change, weight_change
from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.loading.planned_files import check_unchanged
from sdcli.engine.runtime import memory
from sdcli.errors import CorruptError, NumericsError
from sdcli.fields.lora import SEPARATOR, LoraUse, parse_loras
from sdcli.job import Job


@contextmanager
def applied_loras(loaded: LoadedPipeline, job: Job) -> Iterator[None]:
    """Add the LoRAs of a job to the model's weights, which are restored on leaving.

    Changes are computed in float32, and rounded once to the type of the weights. The refiner is not
    changed. Raises CorruptError for values that are not finite, and ModelError for a file that has
    changed since the job was planned.
    """
    # A weight of 0 must give the very image that there is without the LoRA.
    uses = [use for use in parse_loras(job.lora) if use.unet or use.text_encoder]
    if not uses:
        yield
        return
    planned = job.lora_sha256.split(SEPARATOR)
    loras = [_Lora(use, _open(loaded, use, planned)) for use in uses]
    changer = _WeightChanger(loaded)
    try:
        changer.apply(loras)
        yield
    finally:
        changer.restore()


@dataclass(frozen=True)
class _Lora:
    use: LoraUse
    match: MatchedLora

    def weight_in(self, component: str) -> float:
        return self.use.unet if component == "unet" else self.use.text_encoder


def _open(loaded: LoadedPipeline, use: LoraUse, planned: list[str]) -> MatchedLora:
    path = find_lora(use.name, None, offline=loaded.spec.offline)
    digest = sha256(path)
    check_unchanged("lora", path, f"{digest}:{use.weights}", *planned)
    return match_to_model(path, digest, loaded.spec)


class _WeightChanger:
    """Gives parameters other values, and keeps the tensors that they had."""

    def __init__(self, loaded: LoadedPipeline) -> None:
        self._loaded = loaded
        self._originals: dict[tuple[nn.Module, str], Tensor] = {}
        self._changes_text = False

    @torch.no_grad()
    def apply(self, loras: list[_Lora]) -> None:
        """Add all changes of one parameter at once, so that it is rounded once."""
        with ExitStack() as files:
            self._apply(loras, [_TensorReader(lora.match, files) for lora in loras])

    def _apply(self, loras: list[_Lora], readers: list[_TensorReader]) -> None:
        layers: dict[tuple[str, str], list[tuple[float, LoraLayer, _TensorReader]]] = {}
        for lora, reader in zip(loras, readers, strict=True):
            for layer in lora.match.layers:
                if weight := lora.weight_in(layer.component):
                    key = layer.component, layer.name
                    layers.setdefault(key, []).append((weight, layer, reader))
        modules = {name: _modules(self._loaded, name) for name, _ in layers}
        self._changes_text = any(component != "unet" for component in modules)
        if self._changes_text:
            # Prompts that were encoded with the unchanged weights are cached.
            self._loaded.prompt_encoder.forget()
        for (component, name), changes in layers.items():
            self._change_layer(modules[component][name], changes)

    def _change_layer(
        self, module: nn.Module, changes: list[tuple[float, LoraLayer, _TensorReader]]
    ) -> None:
        for leaf in ("weight", "bias"):
            parameter = getattr(module, leaf, None)
            if not isinstance(parameter, nn.Parameter):
                continue
            original = parameter.detach().float()
            total = None
            for weight, layer, reader in changes:
                change = reader.change(layer, original, leaf)
                if change is not None:
                    total = weight * change if total is None else total + weight * change
            if total is not None:
                # Subtracting the change again would leave rounding errors.
                self._originals[module, leaf] = parameter.data
                parameter.data = (original + total).to(parameter.dtype)
                if not torch.isfinite(parameter).all() and torch.isfinite(original).all():
                    raise _overflow_error(changes, parameter.dtype)

    def restore(self) -> None:
        """Give every parameter the very tensor that it had."""
        for (module, leaf), original in self._originals.items():
            # Not the parameter of before: one that was offloaded layer by layer is another now.
            getattr(module, leaf).data = original
        self._originals.clear()
        if self._changes_text:
            self._loaded.prompt_encoder.forget()


def _modules(loaded: LoadedPipeline, component: str) -> Mapping[str, nn.Module]:
    """The modules of a component by the names of layers."""
    modules = getattr(loaded.pipeline, component).named_modules()
    is_text = component != "unet"
    return {name.removeprefix(TEXT_PREFIX) if is_text else name: m for name, m in modules}


class _TensorReader:
    """Reads the tensors of a LoRA's layers."""

    def __init__(self, lora: MatchedLora, files: ExitStack) -> None:
        self.path = lora.path
        with _file_errors_as_corrupt_errors(self.path):
            self._file: Any = files.enter_context(safe_open(self.path, framework="pt"))

    def change(self, layer: LoraLayer, original: Tensor, leaf: str) -> Tensor | None:
        """Return the change of a layer's weight or bias. Raises CorruptError."""
        if leaf == "bias" and "diff_b" not in layer.parts:
            return None
        tensors = self._read(layer, original.device)
        try:
            if leaf == "bias":
                return bias_change(tensors, original)
            return weight_change(
                tensors, original, layer.alpha, uses_sqrt_rank=layer.uses_sqrt_rank
            )
        except (RuntimeError, KeyError, IndexError, ValueError) as error:
            # Too little memory is no fault of the file.
            if isinstance(error, RuntimeError) and memory.is_out_of_memory(error):
                raise
            raise _corrupt(self.path, f"{layer.name}: its tensors do not fit together") from error

    def _read(self, layer: LoraLayer, device: torch.device) -> dict[str, Any]:
        tensors = {}
        for part, key in layer.parts.items():
            with _file_errors_as_corrupt_errors(self.path):
                tensors[part] = self._file.get_tensor(key).to(device, torch.float32)
            # A single NaN would spread to the whole image, without any error.
            if not torch.isfinite(tensors[part]).all():
                raise _corrupt(self.path, f"{key} has values that are not finite")
        return tensors


@contextmanager
def _file_errors_as_corrupt_errors(path: object) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise _corrupt(path, f"cannot be read ({error})") from error


def _overflow_error(
    changes: list[tuple[float, LoraLayer, _TensorReader]], dtype: torch.dtype
) -> NumericsError:
    """The error of a sum that is no number: of finite weights and finite changes."""
    paths = ", ".join(dict.fromkeys(str(reader.path) for _, _, reader in changes))
    name = str(dtype).removeprefix("torch.")
    return NumericsError(
        f"lora: {paths}: with it, {changes[0][1].name} has values that are too large for {name}",
        code="numerics.lora",
        hint="use a smaller weight" + (", or --dtype float32" if name == "float16" else ""),
    )


def _corrupt(path: object, problem: str) -> CorruptError:
    return CorruptError(
        f"lora: {path}: {problem}", code="model.corrupt", hint="download the file again"
    )
