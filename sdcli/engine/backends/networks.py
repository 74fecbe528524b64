"""Describe the networks that are converted: their inputs, and the calls that they take."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from diffusers import ConsistencyDecoderVAE
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.clip.modeling_clip import CLIPTextModelOutput

from sdcli.checkpoints.recorded import REFINER_PREFIX
from sdcli.engine.backends.converted_forward import Outputs
from sdcli.engine.runtime.diffusers_internals import visible_config

Inputs = Sequence[torch.Tensor]


@dataclass(frozen=True)
class NetworkInput:
    """An input of a network. Its `shape` has -1 for a size that may change from call to call."""

    shape: tuple[int, ...]
    example: torch.Tensor


class Network(ABC):
    """A network of a pipeline. `module` is the part of the component that is converted."""

    def __init__(self, component: Any, module: Any) -> None:
        self.component = component
        self.module = module

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the network beside its weights."""
        config = self.component.config
        entries = config.to_dict() if hasattr(config, "to_dict") else dict(config)
        return {"class": type(self.component).__name__, "config": visible_config(entries)}

    @cached_property
    @abstractmethod
    def inputs(self) -> dict[str, NetworkInput]:
        """The inputs by name, with examples to follow the computation with."""

    @abstractmethod
    def compute(self, **inputs: torch.Tensor) -> Any:
        """Compute the outputs with torch."""

    @abstractmethod
    def read(self, *args: Any, **kwargs: Any) -> Inputs | None:
        """Return the inputs of a call of the module, None for one that it must compute itself."""

    @abstractmethod
    def write(self, outputs: Outputs, return_dict: bool) -> Any:
        """Return what the module returns for outputs."""


class Unet(Network):
    """A UNet for any number of rows, size and length of prompts."""

    def __init__(self, unet: Any) -> None:
        super().__init__(unet, unet)

    @cached_property
    def inputs(self) -> dict[str, NetworkInput]:
        """The inputs of Stable Diffusion, and those of SDXL and LCM where it has them."""
        config = self.component.config
        # A side that is odd at every level makes the trace follow the general way of scaling up.
        side = 2 ** len(config.block_out_channels) + 1
        found = {
            "sample": _floats(-1, config.in_channels, -1, -1, example=(2, 0, side, side)),
            "timestep": _floats(-1, example=(2,)),
            "encoder_hidden_states": _floats(
                -1, -1, config.cross_attention_dim, example=(2, 77, 0)
            ),
        }
        if config.time_cond_proj_dim is not None:
            found["timestep_cond"] = _floats(-1, config.time_cond_proj_dim, example=(2, 0))
        if config.addition_embed_type == "text_time":
            # A refiner is told 5 numbers, a base model 6: only the sum of both widths is fixed.
            width = config.projection_class_embeddings_input_dim
            text = width - 5 * config.addition_time_embed_dim
            found["text_embeds"] = _floats(-1, -1, example=(2, text))
            found["time_ids"] = _floats(-1, -1, example=(2, 5))
        return found

    def compute(self, **inputs: torch.Tensor) -> Any:
        """Compute the prediction: (batch, channels, height/8, width/8)."""
        added = {name: inputs.pop(name) for name in ("text_embeds", "time_ids") if name in inputs}
        return self.module(**inputs, added_cond_kwargs=added or None, return_dict=False)[0]

    def read(
        self, sample: Any, timestep: Any, encoder_hidden_states: Any, **others: Any
    ) -> Inputs | None:
        """Return the inputs of a call, None with inputs of layers that it has not."""
        others.pop("return_dict", None)
        added = others.pop("added_cond_kwargs", None) or {}
        more = {name: value for name, value in (added | others).items() if value is not None}
        times = torch.as_tensor(timestep, dtype=torch.float32).reshape(-1).expand(len(sample))
        found = {
            "sample": sample,
            "timestep": times,
            "encoder_hidden_states": encoder_hidden_states,
            **more,
        }
        fits = found.keys() == self.inputs.keys()
        return [found[name] for name in self.inputs] if fits else None

    def write(self, outputs: Outputs, return_dict: bool) -> Any:
        """Return the prediction, named or as a tuple."""
        return UNet2DConditionOutput(sample=outputs[0]) if return_dict else (outputs[0],)


class VaeDecoder(Network):
    """The decoder of a VAE, for whole images and for tiles."""

    def __init__(self, vae: Any) -> None:
        super().__init__(vae, vae.decoder)

    @cached_property
    def inputs(self) -> dict[str, NetworkInput]:
        """The latents as the only input."""
        channels = self.component.config.latent_channels
        return {"sample": _floats(-1, channels, -1, -1, example=(1, 0, 8, 8))}

    def compute(self, **inputs: torch.Tensor) -> Any:
        """Compute images: (batch, 3, height, width)."""
        return self.module(inputs["sample"])

    def read(self, sample: Any, *args: Any, **kwargs: Any) -> Inputs | None:
        """Return the latents, None with further arguments."""
        return None if args or kwargs else [sample]

    def write(self, outputs: Outputs, return_dict: bool) -> Any:
        """Return the images, which have no name."""
        return outputs[0]


class TextEncoder(Network):
    """A text encoder of CLIP with all its hidden states, for texts of the full length."""

    def __init__(self, text_encoder: Any) -> None:
        super().__init__(text_encoder, text_encoder)

    @cached_property
    def inputs(self) -> dict[str, NetworkInput]:
        """The ids of the tokens as the only input."""
        length = self.component.config.max_position_embeddings
        ids = torch.zeros(1, length, dtype=torch.int64)
        return {"input_ids": NetworkInput((-1, length), ids)}

    def compute(self, **inputs: torch.Tensor) -> Any:
        """Compute the pooled states, or their projection, the last states, and all of them."""
        output = self.module(inputs["input_ids"], output_hidden_states=True)
        pooled = output[0] if self._is_projected else output.pooler_output
        return (pooled, output.last_hidden_state, *output.hidden_states)

    @property
    def _is_projected(self) -> bool:
        return hasattr(self.module, "text_projection")

    def read(
        self, input_ids: Any, attention_mask: Any = None, output_hidden_states: bool = False
    ) -> Inputs | None:
        """Return the ids, None for a text of another length, or with a mask."""
        length = self.component.config.max_position_embeddings
        fits = attention_mask is None and input_ids.shape[1] == length
        return [input_ids] if fits else None

    def write(self, outputs: Outputs, return_dict: bool) -> Any:
        """Return all states by their names in Transformers."""
        pooled, last, *states = outputs
        if self._is_projected:
            return CLIPTextModelOutput(
                text_embeds=pooled, last_hidden_state=last, hidden_states=tuple(states)
            )
        return BaseModelOutputWithPooling(
            last_hidden_state=last, pooler_output=pooled, hidden_states=tuple(states)
        )


def find_network(name: str, component: Any) -> Network | None:
    """Return the network of a component, None for one that stays as it is."""
    kind = name.removeprefix(REFINER_PREFIX)
    if kind == "unet":
        return Unet(component)
    if kind != "vae":
        return TextEncoder(component)
    # This decoder is a whole diffusion model with a loop of its own.
    return None if isinstance(component, ConsistencyDecoderVAE) else VaeDecoder(component)


def _floats(*shape: int, example: tuple[int, ...]) -> NetworkInput:
    """Return an input whose example has these sizes where its shape is open."""
    sizes = [second if first == -1 else first for first, second in zip(shape, example, strict=True)]
    # Zeros would hide nothing from the trace, but make some normalizations divide by zero.
    return NetworkInput(shape, torch.linspace(-1, 1, torch.Size(sizes).numel()).reshape(sizes))
