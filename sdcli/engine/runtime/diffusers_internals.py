"""Access the attributes of Diffusers and Transformers that their documentation leaves out.

A release may rename any of them without notice, so no other module of the engine uses them, and
tests/engine/runtime/test_diffusers_internals.py checks each against the installed versions.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import ImageProjection
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from diffusers.utils.torch_utils import randn_tensor


def draw_noise(
    shape: Sequence[int],
    generators: list[torch.Generator],
    device: torch.device,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Draw the initial noise with the function that the pipeline uses (`randn_tensor`).

    `shape` is (batch, 4, height/8, width/8). Each image has its own generator, which advances by
    exactly what its image needs.
    """
    noise: torch.Tensor = randn_tensor(
        tuple(shape), generator=generators, device=device, dtype=dtype
    )
    return noise


def constructor_parameters(scheduler_class: Any) -> set[str]:
    """Return the names of the options that the class takes."""
    # `register_to_config` wraps __init__ and keeps its signature.
    return set(inspect.signature(scheduler_class.__init__).parameters) - {"self"}


def step_parameters(scheduler: Any) -> set[str]:
    """Return the names of the arguments that `scheduler.step` takes."""
    return set(inspect.signature(scheduler.step).parameters)


def noise_sampler_options(scheduler_class: Any, seeds: Sequence[int]) -> dict[str, object]:
    """Return the options that seed a scheduler which has its own source of noise.

    DPMSolverSDEScheduler ignores the pipeline's generators. It documents one integer for
    `noise_sampler_seed`, but passes a list on to its Brownian tree: one seed for each image.
    """
    if "noise_sampler_seed" not in constructor_parameters(scheduler_class):
        return {}
    return {"noise_sampler_seed": list(seeds)}


def visible_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration without the entries that Diffusers keeps for itself.

    They begin with an underscore, e.g. `_class_name` and `_use_default_values`.
    """
    return {key: value for key, value in config.items() if not key.startswith("_")}


def copy_corrections(
    source: Any, scheduler: Any, *, except_keys: Collection[str]
) -> dict[str, Any]:
    """Give `scheduler` the entries that a pipeline's constructor corrected in `source`'s config.

    `from_config` drops those that the model's file leaves out, and takes the default of the class.
    Returns them.
    """
    config = scheduler.config
    keys = constructor_parameters(type(scheduler)) & set(source.config) - set(except_keys)
    corrected = {key: source.config[key] for key in keys if config[key] is not source.config[key]}
    scheduler.register_to_config(**corrected)
    return corrected


def scheduler_sigmas(scheduler: Any) -> torch.Tensor | None:
    """Return the noise levels, one more than `timesteps`, or None if the class has none."""
    return getattr(scheduler, "sigmas", None)


def midpoint_sigmas(scheduler: Any) -> torch.Tensor | None:
    """Return the noise levels of the second UNet call of each step of DPM2, None for others."""
    return getattr(scheduler, "sigmas_interpol", None)


def training_alphas(scheduler: Any) -> torch.Tensor:
    """Return ᾱ, the part of the signal left at each training timestep: (num_train_timesteps,)."""
    alphas: torch.Tensor = scheduler.alphas_cumprod
    return alphas


def final_alpha(scheduler: Any) -> torch.Tensor:
    """Return ᾱ of the latents that the last step of DDIM and its relatives leaves: a scalar."""
    alpha: torch.Tensor = scheduler.final_alpha_cumprod
    return alpha


def steps_in_pairs(scheduler: Any) -> bool:
    """Return whether the scheduler takes two UNet calls for one step, as Heun and DPM2 do."""
    return bool(scheduler.order == 2)


def lms_history(scheduler: Any) -> Sequence[torch.Tensor]:
    """Return the outputs that an LMSDiscreteScheduler has kept of its last steps."""
    history: Sequence[torch.Tensor] = scheduler.derivatives
    return history


def set_begin_index(scheduler: Any, step: int) -> None:
    """Make the scheduler count its steps from `step`; classes without a step counter ignore it."""
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(step)


def set_guidance_scale(pipeline: Any, scale: float) -> None:
    """Change the guidance scale of the pipeline's loop, which reads it anew at every step.

    Diffusers' guide to pipeline callbacks does it in this way: there is no public name.
    """
    pipeline._guidance_scale = scale


def rescale_guidance(
    guided: torch.Tensor, conditional: torch.Tensor, rescale: float
) -> torch.Tensor:
    """Return a guided prediction as the pipelines' `guidance_rescale` makes it."""
    rescaled: torch.Tensor = rescale_noise_cfg(guided, conditional, guidance_rescale=rescale)
    return rescaled


def middle_self_attention(unet: Any) -> list[Any]:
    """Return the self-attention layers of the middle block, to which PAG applies by default."""
    modules = [] if unet.mid_block is None else unet.mid_block.modules()
    return [one for one in modules if isinstance(one, Attention) and not one.is_cross_attention]


def embeds_guidance(pipeline: Any) -> bool:
    """Return whether the UNet takes the guidance scale as an input, in place of guidance itself.

    The condition of the pipeline's `do_classifier_free_guidance`.
    """
    return pipeline.unet.config.time_cond_proj_dim is not None


def uses_attention_mask(text_encoder: Any) -> bool:
    """Return whether the pipeline passes the tokenizer's attention mask to the text encoder."""
    return bool(getattr(text_encoder.config, "use_attention_mask", False))


def clip_text_model(clip: Any) -> Any:
    """Return the half of a CLIPModel that reads text."""
    return clip.text_model


def final_layer_norm(text_encoder: Any) -> Any:
    """Return the layer normalization after the last layer of a CLIPTextModel."""
    return text_encoder.final_layer_norm


def enable_tiling(vae: Any, tile: int, overlap: float) -> None:
    """Make the VAE work in tiles of `tile` pixels, of which `overlap` (0 to 1) is blended.

    `disable_tiling` turns it off again.
    """
    vae.enable_tiling()
    scale = 2 ** (len(vae.config.block_out_channels) - 1)
    vae.tile_sample_min_size = tile
    vae.tile_latent_min_size = tile // scale
    vae.tile_overlap_factor = overlap


@contextmanager
def with_ip_adapters(
    unet: Any, processors: Mapping[str, Any], projection: Any, scales: Sequence[float]
) -> Iterator[None]:
    """Give the UNet the attention processors of IP-Adapters, and its own ones again on leaving.

    `processors` and `projection` are those that `build_ip_adapters` makes.
    """
    own = unet.attn_processors, unet.encoder_hid_proj, unet.config.encoder_hid_dim_type
    for processor in processors.values():
        if hasattr(processor, "to_k_ip"):
            processor.scale = list(scales)
    try:
        _put_ip_adapters(unet, processors, projection, "ip_image_proj")
        yield
    finally:
        _put_ip_adapters(unet, *own)


def build_ip_adapters(
    unet: Any, state_dicts: Sequence[Mapping[str, Mapping[str, torch.Tensor]]]
) -> tuple[dict[str, Any], Any]:
    """Return the attention processors and the image projections of IP-Adapters for a UNet.

    Each state dict has "image_proj" and "ip_adapter". The UNet stays as it was. Raises whatever
    Diffusers raises for tensors that do not fit together.
    """
    own = unet.attn_processors, unet.encoder_hid_proj, unet.config.encoder_hid_dim_type
    try:
        # With less memory, Diffusers would leave out tensors that a file lacks.
        unet._load_ip_adapter_weights(list(state_dicts), low_cpu_mem_usage=False)
        projection, unet.encoder_hid_proj = unet.encoder_hid_proj, None
        return unet.attn_processors, projection
    finally:
        _put_ip_adapters(unet, *own)


def _put_ip_adapters(
    unet: Any, processors: Mapping[str, Any], projection: Any, kind: str | None
) -> None:
    # A projection may have attention of its own, whose processors would be counted, too.
    unet.encoder_hid_proj = None
    # `set_attn_processor` takes the entries out of what it is given.
    unet.set_attn_processor(dict(processors))
    unet.encoder_hid_proj = projection
    unet.config.encoder_hid_dim_type = kind


def takes_hidden_states(projection: Any) -> list[bool]:
    """Return whether each IP-Adapter takes what the image encoder's last layer but one makes.

    The others take its image embeddings: the rule of the pipelines' `encode_image`.
    """
    return [not isinstance(one, ImageProjection) for one in projection.image_projection_layers]


def remove_group_offloading(network: Any) -> None:
    """Undo `apply_group_offloading`, also in the middle of a call. The layers stay where they are.

    Diffusers has no public function for it.
    """
    from diffusers.hooks import HookRegistry, group_offloading

    registry = HookRegistry.check_if_exists_or_initialize(network)
    for name in (
        group_offloading._LAZY_PREFETCH_GROUP_OFFLOADING,
        group_offloading._LAYER_EXECUTION_TRACKER,
        group_offloading._GROUP_OFFLOADING,
    ):
        registry.remove_hook(name, recurse=True)


def compiled_call(module: torch.nn.Module) -> Any:
    """Return what a module was compiled to by its method `compile`, None if it was not."""
    return module._compiled_call_impl


def set_compiled_call(module: torch.nn.Module, call: Any) -> None:
    """Make a module run what it was compiled to, or None to make it run as it is."""
    module._compiled_call_impl = call


def is_compiler_error(error: BaseException) -> bool:
    """Return whether an error is that of torch.compile, not of what it compiled."""
    from torch._dynamo.exc import TorchDynamoException

    return isinstance(error, TorchDynamoException)
