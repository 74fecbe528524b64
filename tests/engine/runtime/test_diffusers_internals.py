"""The undocumented attributes that the engine uses exist in the installed libraries."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    LMSDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel

from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.engine.runtime import diffusers_internals as internals
from sdcli.versions import library_versions

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*algorithm_type:FutureWarning"),
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t[ab]:UserWarning"),
]

ENGINE = Path(internals.__file__).parents[1]
INSTALLED = ", ".join(f"{name} {version}" for name, version in library_versions().items())
CLASSES = sorted({row.class_name for row in SAMPLERS})
SIGMA_CLASSES = {
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "SASolverScheduler",
    "UniPCMultistepScheduler",
}
PAIRED_CLASSES = {
    "DPMSolverSDEScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
}


def changed(what: str) -> str:
    """The message of a broken contract."""
    return f"{what} changed in {INSTALLED}; see sdcli/engine/runtime/diffusers_internals.py"


def build(class_name: str, steps: int = 5) -> Any:
    scheduler = getattr(diffusers, class_name)(beta_start=0.00085, beta_end=0.012)
    scheduler.set_timesteps(steps)
    return scheduler


@pytest.mark.parametrize("class_name", CLASSES)
def test_schedulers_have_the_attributes_that_noise_levels_are_read_from(class_name: str) -> None:
    scheduler = build(class_name)
    alphas = internals.training_alphas(scheduler)
    assert alphas.shape == (1000,), changed("alphas_cumprod")
    assert (alphas.diff() < 0).all(), changed("alphas_cumprod")
    sigmas = internals.scheduler_sigmas(scheduler)
    assert (sigmas is not None) == (class_name in SIGMA_CLASSES), changed(f"{class_name}.sigmas")
    if sigmas is not None:
        assert len(sigmas) > len(scheduler.timesteps), changed(f"{class_name}.sigmas")
    assert internals.steps_in_pairs(scheduler) == (class_name in PAIRED_CLASSES), changed("order")


@pytest.mark.parametrize(
    "class_name", ["KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"]
)
def test_dpm2_has_midpoint_sigmas_between_those_of_its_steps(class_name: str) -> None:
    scheduler = build(class_name)
    sigmas, midpoints = internals.scheduler_sigmas(scheduler), internals.midpoint_sigmas(scheduler)
    assert midpoints is not None, changed(f"{class_name}.sigmas_interpol")
    first = midpoints[0 if "Ancestral" in class_name else 1]
    assert sigmas is not None
    assert sigmas[0] > first > sigmas[4], changed(f"{class_name}.sigmas_interpol")


@pytest.mark.parametrize("class_name", sorted(set(CLASSES) - PAIRED_CLASSES))
def test_other_schedulers_have_no_midpoint_sigmas(class_name: str) -> None:
    assert internals.midpoint_sigmas(build(class_name)) is None, changed("sigmas_interpol")


@pytest.mark.parametrize("class_name", ["DDIMScheduler", "DDIMParallelScheduler", "PNDMScheduler"])
def test_ddim_and_its_relatives_have_a_final_alpha(class_name: str) -> None:
    alpha = internals.final_alpha(build(class_name))
    assert 0 < float(alpha) <= 1, changed(f"{class_name}.final_alpha_cumprod")


@pytest.mark.parametrize("class_name", CLASSES)
def test_a_begin_index_is_the_position_of_the_next_step(class_name: str) -> None:
    scheduler = build(class_name)
    internals.set_begin_index(scheduler, 2)
    if class_name in SIGMA_CLASSES:
        assert scheduler.begin_index == 2, changed(f"{class_name}.set_begin_index")


def test_the_brownian_noise_of_each_image_has_its_own_seed() -> None:
    cls = diffusers.DPMSolverSDEScheduler
    options = internals.noise_sampler_options(cls, [3, 4])
    assert options == {"noise_sampler_seed": [3, 4]}, changed(f"the options of {cls.__name__}")

    def run(seeds: list[int]) -> torch.Tensor:
        scheduler = cls(**internals.noise_sampler_options(cls, seeds))
        scheduler.set_timesteps(4)
        sample = torch.ones(len(seeds), 4, 2, 2)
        for timestep in scheduler.timesteps:
            sample = scheduler.step(0.1 * sample, timestep, sample).prev_sample
        return sample

    both = run([3, 4])
    assert torch.allclose(both[1:], run([4])), changed("the meaning of a list of seeds")
    assert not torch.allclose(both[1:], run([3])), changed("the meaning of a list of seeds")


def test_only_one_class_has_its_own_source_of_noise() -> None:
    seeded = [
        name for name in CLASSES if internals.noise_sampler_options(getattr(diffusers, name), [1])
    ]
    assert seeded == ["DPMSolverSDEScheduler"], changed("the options of schedulers")


def test_the_hidden_entries_of_a_configuration_begin_with_an_underscore() -> None:
    built = diffusers.DDIMScheduler.from_config({"_class_name": "DDIMScheduler", "beta_end": 0.5})
    hidden = set(built.config) - set(internals.visible_config(built.config))
    assert "_use_default_values" in hidden, changed("the bookkeeping of configurations")
    parameters = internals.constructor_parameters(diffusers.DDIMScheduler)
    assert set(internals.visible_config(built.config)) == parameters, changed("configurations")


def test_a_text_encoder_ends_with_a_layer_normalization() -> None:
    config = CLIPTextConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    encoder = CLIPTextModel(config)
    encoded = encoder(torch.tensor([[1, 2, 3]]), output_hidden_states=True)
    last = internals.final_layer_norm(encoder)(encoded.hidden_states[-1])
    assert torch.equal(last, encoded.last_hidden_state), changed("CLIPTextModel.final_layer_norm")


def test_a_clip_model_has_a_half_that_reads_text() -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2}
    config = CLIPConfig(
        text_config=sizes | heads | {"vocab_size": 9, "eos_token_id": 8},
        vision_config=sizes | heads | {"image_size": 4, "patch_size": 2},
        projection_dim=4,
    )
    clip = CLIPModel(config).eval()
    ids = torch.tensor([[1, 2, 8]])
    pooled = internals.clip_text_model(clip)(input_ids=ids).pooler_output
    image = torch.zeros(1, 3, 4, 4)
    both = clip(input_ids=ids, pixel_values=image)
    expected = torch.nn.functional.normalize(clip.text_projection(pooled))
    assert torch.allclose(both.text_embeds, expected), changed("CLIPModel.text_model")


SMALL_VAES: dict[Any, dict[str, Any]] = {
    AutoencoderKL: {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": (4, 8),
        "latent_channels": 4,
        "norm_num_groups": 4,
    },
    AutoencoderTiny: {
        # Its scale is 8, whatever the number of blocks.
        "encoder_block_out_channels": (8,) * 4,
        "decoder_block_out_channels": (8,) * 4,
        "num_encoder_blocks": (1,) * 4,
        "num_decoder_blocks": (1,) * 4,
    },
}


@pytest.mark.parametrize("cls", SMALL_VAES)
def test_vaes_read_the_size_of_their_tiles_from_attributes(cls: Any) -> None:
    vae = cls(**SMALL_VAES[cls])
    names = ("tile_sample_min_size", "tile_latent_min_size", "tile_overlap_factor")
    for name in names:
        assert hasattr(vae, name), changed(f"{cls.__name__}.{name}")
    internals.enable_tiling(vae, 32, 0.25)
    assert vae.use_tiling, changed(f"{cls.__name__}.use_tiling")
    latents: list[Any] = []
    vae.decoder.register_forward_pre_hook(lambda _, args: latents.append(args[0].shape))
    with torch.no_grad():
        vae.decode(torch.zeros(1, 4, 40, 40))
    assert len(latents) > 1, changed(f"{cls.__name__}.tile_latent_min_size")


def test_noise_is_drawn_image_by_image_on_the_generators_device() -> None:
    def draw(*seeds: int) -> torch.Tensor:
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        shape = (len(seeds), 4, 2, 2)
        return internals.draw_noise(shape, generators, torch.device("cpu"), torch.float32)

    both = draw(1, 2)
    assert torch.equal(both, torch.cat([draw(1), draw(2)])), changed("randn_tensor")


def test_the_pipeline_calls_the_methods_that_recorders_patch() -> None:
    source = inspect.getsource(StableDiffusionPipeline.__call__)
    for call in ("scheduler.scale_model_input(", "self.unet(", "scheduler.step("):
        assert call in source, changed("StableDiffusionPipeline.__call__")
    assert isinstance(StableDiffusionPipeline.num_timesteps, property), changed("num_timesteps")


@pytest.mark.parametrize("cls", [StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline])
def test_pipelines_of_images_prepare_their_latents_and_skip_the_first_timesteps(cls: Any) -> None:
    source = inspect.getsource(cls.__call__)
    for call in ("self.prepare_latents(", "self.get_timesteps(", "scheduler.step(", "self.unet("):
        assert call in source, changed(f"{cls.__name__}.__call__")
    skips = "self.scheduler.timesteps[t_start * self.scheduler.order :]"
    assert skips in inspect.getsource(cls.get_timesteps), changed(f"{cls.__name__}.get_timesteps")


def test_the_inpainting_pipeline_passes_its_masks_to_the_callback() -> None:
    inputs = StableDiffusionInpaintPipeline._callback_tensor_inputs
    assert {"mask", "masked_image_latents"} <= set(inputs), changed("_callback_tensor_inputs")
    returned = inspect.getsource(StableDiffusionInpaintPipeline.__call__)
    for name in ("mask", "masked_image_latents"):
        assert f'callback_outputs.pop("{name}"' in returned, changed("callback_outputs")


def test_lms_still_counts_on_a_history_that_a_late_start_lacks() -> None:
    """When this fails, `start_late` is needed no longer for LMS."""
    scheduler = LMSDiscreteScheduler(prediction_type="epsilon")
    scheduler.set_timesteps(10)
    internals.set_begin_index(scheduler, 5)
    orders: list[int] = []
    coefficient = scheduler.get_lms_coefficient
    scheduler.get_lms_coefficient = lambda order, *rest: (
        orders.append(order) or coefficient(order, *rest)  # type: ignore[func-returns-value]
    )
    sample = torch.zeros(1, 4, 2, 2)
    scheduler.scale_model_input(sample, scheduler.timesteps[5])
    scheduler.step(sample, scheduler.timesteps[5], sample)
    assert orders == [4] * 4, changed("LMSDiscreteScheduler.step")
    assert len(internals.lms_history(scheduler)) == 1, changed("LMSDiscreteScheduler.derivatives")


def attributes(path: Path) -> list[tuple[str, ast.Attribute]]:
    tree = ast.parse(path.read_text("utf-8"))
    return [(node.attr, node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]


MODULES = [path for path in ENGINE.rglob("*.py") if path.name != "diffusers_internals.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_no_other_module_of_the_engine_uses_internals(path: Path) -> None:
    undocumented = {
        "alphas_cumprod",
        "begin_index",
        "final_alpha_cumprod",
        "final_layer_norm",
        "order",
        "set_begin_index",
        "sigmas_interpol",
        "step_index",
        "text_model",
        "tile_latent_min_size",
        "tile_overlap_factor",
        "tile_sample_min_size",
    }
    for name, node in attributes(path):
        assert name not in undocumented, (path.name, node.lineno, name)
        is_private = name.startswith("_") and not name.startswith("__")
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        assert not is_private or owner in ("self", "cls"), (path.name, node.lineno, name)
