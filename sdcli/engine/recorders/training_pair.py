"""Let a UNet predict as in its training: from an image with added noise, at chosen timesteps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch.utils.hooks import RemovableHandle

from sdcli.engine.recorders.hooked import HookedRecorder
from sdcli.engine.recorders.host_copy import to_array
from sdcli.engine.recorders.observed_run import ObservedRun
from sdcli.engine.runtime.diffusers_internals import training_alphas
from sdcli.engine.runtime.unet_call import last_rows, sample_of
from sdcli.engine.schedulers.noise_levels import pred_original_sample
from sdcli.errors import UsageError


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingPrediction:
    """One prediction of a training step; arrays are (channels, height/8, width/8).

    `signal` is √ᾱ, the factor of the image in `noisy`. `x0` and `eps` are the image and the noise
    that the prediction amounts to.
    """

    timestep: int
    signal: float
    noise: NDArray[Any]
    noisy: NDArray[Any]
    x0: NDArray[Any]
    eps: NDArray[Any]


class TrainingRecorder(HookedRecorder):
    """Call the UNet again after its first call, with the noisy latents of an image.

    The conditioning is that of the run's prompt. The extra calls do not change the run. Noise *i*
    is drawn from `seed` + i, the same for all timesteps.
    """

    def __init__(
        self,
        run: ObservedRun,
        latents: NDArray[Any],
        timesteps: Sequence[int],
        *,
        noises: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._run = run
        self._latents = torch.from_numpy(latents)[None].float()
        self._timesteps = timesteps
        self._noises = [self._draw(seed + i) for i in range(noises)]
        self._alphas = training_alphas(run.scheduler).double()
        self.prediction_type = str(run.scheduler.config.prediction_type)
        self.predictions: list[TrainingPrediction] = []
        self._is_done = False

    def hooks(self) -> Iterator[RemovableHandle]:
        """Register the hook of the first UNet of the run."""
        unet = self._run.parts[0].pipeline.unet
        yield unet.register_forward_hook(self._after_unet, with_kwargs=True)

    def _draw(self, seed: int) -> torch.Tensor:
        # On the CPU, so that a seed is the same noise on every device.
        generator = torch.Generator("cpu").manual_seed(seed)
        return torch.randn(self._latents.shape, generator=generator)

    @torch.no_grad()
    def _after_unet(self, unet: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if self._is_done:
            return
        # Set first: the calls below run this hook, too.
        self._is_done = True
        sample = args[0]
        if sample.shape[1] != self._latents.shape[1]:
            raise UsageError(
                f"--training: the UNet takes {sample.shape[1]} channels, and the latents of an "
                f"image have {self._latents.shape[1]}",
                code="usage.training",
                hint="use a model for text to image, not for inpainting",
            )
        # With guidance, the prompt is in the last row, behind the negative one.
        own = last_rows(kwargs, 1, len(sample))
        for timestep in self._timesteps:
            for noise in self._noises:
                self.predictions.append(self._predict(unet, sample, own, timestep, noise))

    def _predict(
        self, unet: Any, like: Any, kwargs: Any, timestep: int, noise: torch.Tensor
    ) -> TrainingPrediction:
        alpha = float(self._alphas[timestep])
        signal, level = math.sqrt(alpha), math.sqrt(1 - alpha)
        noisy = signal * self._latents + level * noise
        time = torch.tensor(timestep, device=like.device)
        output = sample_of(unet(noisy.to(like.device, like.dtype), time, **kwargs)).float().cpu()
        sigma = level / signal if signal else math.inf
        x0 = pred_original_sample(output, noisy, sigma, self.prediction_type)
        # The noise that is left of the noisy image without this image, whatever the UNet predicts.
        eps = (noisy - signal * x0) / level
        arrays = {"noise": noise, "noisy": noisy, "x0": x0, "eps": eps}
        return TrainingPrediction(
            timestep=timestep,
            signal=signal,
            **{name: to_array(tensor[0]) for name, tensor in arrays.items()},
        )
