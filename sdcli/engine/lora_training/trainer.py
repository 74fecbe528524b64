"""Train a LoRA step by step. A step depends on its number and the seed alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from diffusers import DDPMScheduler
from numpy.typing import NDArray
from torch import Tensor

from sdcli.engine.loading.pipeline import LoadedPipeline
from sdcli.engine.lora_training.adapter import add_lora, with_alphas
from sdcli.engine.lora_training.examples import Examples
from sdcli.engine.runtime import memory
from sdcli.engine.runtime.model_errors import model_errors_as_corrupt_errors
from sdcli.errors import DeviceError, UsageError
from sdcli.lora_training import LoraSettings

_MAX_NORM: Final = 1.0
"""Larger gradients are scaled down to this norm, as in Diffusers' training scripts."""


class LoraTrainer:
    """The state of a training: a LoRA in the UNet of a pipeline, and its optimizer.

    `step` counts the steps that are done, and `losses` has the loss of each. `is_advancing` tells
    that a step has begun and not ended, so that the state is of no use.
    """

    def __init__(self, loaded: LoadedPipeline, examples: Examples, settings: LoraSettings) -> None:
        """Add the LoRA. Raises UsageError for a dtype that the device cannot train in."""
        self._device, self._dtype, self._model = loaded.device, loaded.dtype, loaded.folder
        if self._dtype == torch.float16 and self._device.type == "cpu":
            raise UsageError(
                "--dtype float16: a CPU cannot train in it",
                code="usage.dtype",
                hint="use --dtype bfloat16 or float32",
            )
        self._unet = loaded.pipeline.unet
        self._examples, self._settings = examples, settings
        self._parameters = add_lora(self._unet, settings)
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(), lr=settings.learning_rate, weight_decay=0.01
        )
        self._noise_scheduler = DDPMScheduler.from_config(loaded.base_scheduler.config)
        # Without a factor, gradients in float16 would underflow.
        is_half = self._dtype == torch.float16
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=is_half)
        self._order = lru_cache(maxsize=2)(self._shuffle)
        self.step = 0
        self.losses: list[float] = []
        self.is_advancing = False

    def advance(self) -> float:
        """Do one step and return its loss. With a loss that is not finite, nothing changes.

        Raises DeviceError if the batch does not fit into memory.
        """
        self.is_advancing = True
        try:
            loss = self._loss()
            value = loss.item()
            if math.isfinite(value):
                self._update(loss)
                self.losses.append(value)
                self.step += 1
        except RuntimeError as error:
            if not memory.is_out_of_memory(error):
                raise
            raise _memory_error(self._settings, self._device) from error
        self.is_advancing = False
        return value

    def _loss(self) -> Tensor:
        """Return the mean squared error of the UNet on noisy latents of a batch."""
        random = self._random()
        chosen = [self._index(i) for i in range(self._settings.batch_size)]
        clean = self._examples.latents[chosen]
        noise = torch.randn(clean.shape, generator=random)
        times = int(self._noise_scheduler.config.num_train_timesteps)
        timesteps = torch.randint(0, times, (len(clean),), generator=random)
        noisy = self._noise_scheduler.add_noise(clean, noise, timesteps)
        target = self._target(clean, noise, timesteps).to(self._device)
        # Autocast keeps the LoRA in float32, and computes in the dtype of the UNet.
        with self._running():
            predicted = self._unet(
                self._on_device(noisy),
                timesteps.to(self._device),
                self._on_device(self._examples.embeds[chosen]),
                added_cond_kwargs=self._conditions(chosen),
            ).sample
        return torch.nn.functional.mse_loss(predicted.float(), target)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Run the UNet in its dtype; the LoRA, which is float32, is converted for each product."""
        is_mixed = self._dtype != torch.float32
        with (
            model_errors_as_corrupt_errors(self._model),
            torch.autocast(self._device.type, self._dtype, enabled=is_mixed),
        ):
            yield

    def _random(self) -> torch.Generator:
        """Return the generator of this step: the noise is drawn on the CPU for every device."""
        [state] = np.random.SeedSequence([self._settings.seed, self.step]).generate_state(
            1, np.uint64
        )
        return torch.Generator("cpu").manual_seed(int(state))

    def _index(self, place: int) -> int:
        """Return the image at a place of the batch: each comes once before any comes again."""
        # Computed from the step, not kept: a resumed training needs no state of a generator.
        epoch, position = divmod(self.step * self._settings.batch_size + place, len(self._examples))
        return self._order(epoch)[position]

    def _shuffle(self, epoch: int) -> list[int]:
        random = np.random.default_rng([self._settings.seed, epoch])
        return [int(index) for index in random.permutation(len(self._examples))]

    def _target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return what the model of this kind predicts."""
        match self._noise_scheduler.config.prediction_type:
            case "v_prediction":
                velocity: Tensor = self._noise_scheduler.get_velocity(clean, noise, timesteps)
                return velocity
            case "sample":
                return clean
        return noise

    def _on_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, self._dtype)

    def _conditions(self, chosen: list[int]) -> dict[str, Tensor] | None:
        examples = self._examples
        if examples.pooled is None or examples.time_ids is None:
            return None
        return {
            "text_embeds": self._on_device(examples.pooled[chosen]),
            "time_ids": self._on_device(examples.time_ids[chosen]),
        }

    def _update(self, loss: Tensor) -> None:
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(list(self._parameters.values()), _MAX_NORM)
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def lora(self) -> dict[str, NDArray[Any]]:
        """Return the tensors of the LoRA's file, in float32."""
        factors = {name: _to_array(factor) for name, factor in self._parameters.items()}
        return with_alphas(factors, np.array(self._settings.alpha, np.float32))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that a resumed training needs."""
        arrays = {f"factor:{name}": _to_array(p) for name, p in self._parameters.items()}
        for name, parameter in self._parameters.items():
            for key, value in self._optimizer.state[parameter].items():
                arrays[f"{key}:{name}"] = _to_array(value)
        scale = self._scaler.state_dict()
        growth = [scale["scale"], scale["_growth_tracker"]] if scale else []
        arrays["losses"] = np.array(self.losses, np.float64)
        arrays["scaler"] = np.array(growth, np.float64)
        return arrays

    @torch.no_grad()
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from a state of a training with the same settings. Raises KeyError."""
        for name, parameter in self._parameters.items():
            parameter.copy_(torch.from_numpy(state[f"factor:{name}"].copy()))
            moments = {
                key: torch.from_numpy(state[f"{key}:{name}"].copy()).to(self._device)
                for key in ("exp_avg", "exp_avg_sq")
            }
            # Not self.step: with float16, steps whose gradients overflow are left out.
            count = torch.from_numpy(state[f"step:{name}"].copy())
            self._optimizer.state[parameter] = {"step": count, **moments}
        if self._scaler.is_enabled() and len(state["scaler"]) == 2:
            scale, tracker = state["scaler"]
            self._scaler.load_state_dict(
                {**self._scaler.state_dict(), "scale": scale, "_growth_tracker": int(tracker)}
            )
        self.losses = [float(loss) for loss in state["losses"]]
        self.step = len(self.losses)

    @contextmanager
    def without_lora(self) -> Iterator[None]:
        """Let the UNet be the model's own within."""
        self._unet.disable_adapters()
        try:
            yield
        finally:
            self._unet.enable_adapters()


def _to_array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy().copy()
    return array


def _memory_error(settings: LoraSettings, device: torch.device) -> DeviceError:
    smaller = max(1, settings.batch_size // 2)
    other = f"--batch-size {smaller}" if settings.batch_size > 1 else "a smaller --resolution"
    return DeviceError(
        f"a batch of {settings.batch_size} images of {settings.resolution} pixels does not fit "
        f"into the memory of {device}",
        code="device.memory",
        hint=f"try {other}",
    )
