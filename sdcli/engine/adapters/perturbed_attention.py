"""Guide a run away from the UNet's prediction with perturbed self-attention.

See Ahn et al. 2024, "Self-Rectifying Diffusion Sampling with Perturbed-Attention Guidance". The
arithmetic, in its order, is that of Diffusers' PAG pipelines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import (
    PAGCFGIdentitySelfAttnProcessor2_0,
    PAGIdentitySelfAttnProcessor2_0,
)

from sdcli.engine.recorders.patching import patch_method
from sdcli.engine.runtime.diffusers_internals import middle_self_attention, rescale_guidance
from sdcli.engine.runtime.unet_call import last_rows, sample_of


@contextmanager
def perturbed_attention(
    unet: Any,
    scheduler: Any,
    scale: float,
    images: int,
    rescale: float,
    is_guided: Callable[[], bool],
) -> Iterator[None]:
    """Make every UNet call compute one more row for each image, and the step add its guidance.

    In those rows, each patch in the middle block attends to itself only. The guidance is `scale`
    times the way from them to the conditional prediction. `rescale` is the guidance rescale, which
    comes after it in steps that are guided; the pipeline must not apply its own.
    """
    if not scale:
        yield
        return
    perturbation = _Perturbation(unet, scale, images, rescale, is_guided)
    with ExitStack() as stack:
        for attention in middle_self_attention(unet):
            # Each its own: an IP-Adapter or a recorder may have changed some.
            stack.callback(attention.set_processor, attention.processor)
        stack.enter_context(patch_method(unet, "forward", perturbation.forward))
        stack.enter_context(patch_method(scheduler, "step", perturbation.step))
        yield


@dataclass(frozen=True, eq=False)
class _Prediction:
    """The conditional and the perturbed output of a UNet call."""

    conditional: torch.Tensor
    perturbed: torch.Tensor


class _Perturbation:
    def __init__(
        self, unet: Any, scale: float, images: int, rescale: float, is_guided: Callable[[], bool]
    ) -> None:
        self._unet = unet
        self._scale = scale
        self._images = images
        self._rescale = rescale
        self._is_guided = is_guided
        self._guided = PAGCFGIdentitySelfAttnProcessor2_0()
        self._unguided = PAGIdentitySelfAttnProcessor2_0()
        self._prediction: _Prediction | None = None

    def forward(self, original: Any, sample: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return the rows that the pipeline asked for, and keep the perturbed ones."""
        images, batch = self._images, len(sample)
        # Guidance may begin and end within the run, and each kind of batch has its processor.
        has_both = batch == 2 * images
        for attention in middle_self_attention(self._unet):
            attention.set_processor(self._guided if has_both else self._unguided)
        rows, named = (_repeat_last(value, images, batch) for value in ((sample, *args), kwargs))
        output = sample_of(original(*rows, **named))
        asked, perturbed = output[:batch], output[batch:]
        # Recorders may call the UNet again before the step.
        if self._prediction is None:
            self._prediction = _Prediction(asked[-images:], perturbed)
        return (asked,)

    def step(self, original: Any, model_output: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Add the guidance to the pipeline's prediction."""
        prediction, self._prediction = self._prediction, None
        # A resumed run has no prediction of the steps before it.
        if prediction is not None:
            conditional, perturbed = prediction.conditional, prediction.perturbed
            model_output = model_output + self._scale * (conditional - perturbed)
            if self._rescale and self._is_guided():
                model_output = rescale_guidance(model_output, conditional, self._rescale)
        return original(model_output, *args, **kwargs)


def _repeat_last(value: Any, images: int, batch: int) -> Any:
    """Return the arguments of a UNet call with the last rows of each tensor of the batch twice."""
    if isinstance(value, torch.Tensor):
        is_batch = value.ndim and len(value) == batch
        return torch.cat([value, last_rows(value, images, batch)]) if is_batch else value
    if isinstance(value, dict):
        return {name: _repeat_last(item, images, batch) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_repeat_last(item, images, batch) for item in value)
    return value
