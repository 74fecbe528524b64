"""The tap sees every attention call, sees it right, and changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from diffusers import (
    AutoPipelineForText2Image,
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPAGPipeline,
    StableDiffusionPipeline,
)
from diffusers.models.attention_processor import AttnProcessor

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.engine.recorders.attention_tap import AttentionCall, AttentionTap, patch_grid
from sdcli.errors import ModelError, UsageError
from tests.xl_models import write_xl_model

STEPS = 3
PROMPT = "a cat and a guitar"


def load(dtype: torch.dtype = torch.float32) -> Any:
    pipeline = StableDiffusionPipeline.from_pretrained(
        EMBEDDED_FOLDER, dtype=dtype, safety_checker=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline: Any, prompts: Any = PROMPT, **changes: Any) -> torch.Tensor:
    arguments = {
        "num_inference_steps": STEPS,
        "guidance_scale": 3.0,
        "generator": torch.Generator("cpu").manual_seed(7),
        "output_type": "latent",
        **changes,
    }
    images: torch.Tensor = pipeline(prompts, **arguments).images
    return images


def with_ip_adapter(pipeline: Any) -> dict[str, Any]:
    """Give the UNet an IP-Adapter of random weights, and return the arguments of a call."""
    generator = torch.Generator().manual_seed(0)
    width, clip = pipeline.unet.config.cross_attention_dim, 16
    rand = lambda *shape: torch.randn(shape, generator=generator) / 8  # noqa: E731
    projection = {
        "proj.weight": rand(4 * width, clip),
        "proj.bias": rand(4 * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    layers = {}
    names = [name for name in pipeline.unet.attn_processors if "attn2" in name]
    for number, name in enumerate(names):
        module = pipeline.unet.get_submodule(name.removesuffix(".processor"))
        for part in ("to_k_ip", "to_v_ip"):
            layers[f"{2 * number + 1}.{part}.weight"] = rand(module.inner_dim, width)
    pipeline.unet._load_ip_adapter_weights([{"image_proj": projection, "ip_adapter": layers}])
    return {"ip_adapter_image_embeds": [rand(2, 1, clip)]}


def with_controlnet(pipeline: Any) -> tuple[Any, dict[str, Any]]:
    network = ControlNetModel.from_unet(
        pipeline.unet, conditioning_embedding_out_channels=(8, 16, 16, 32)
    )
    torch.manual_seed(0)
    for parameter in network.controlnet_down_blocks.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    controlled = StableDiffusionControlNetPipeline(
        **{**pipeline.components, "controlnet": network, "safety_checker": None},
        requires_safety_checker=False,
    )
    controlled.set_progress_bar_config(disable=True)
    return controlled, {"image": torch.rand((1, 3, 128, 128), generator=torch.manual_seed(1))}


def relative(cls: Any, pipeline: Any, **options: Any) -> Any:
    built = cls(**pipeline.components, requires_safety_checker=False, **options)
    built.set_progress_bar_config(disable=True)
    return built


def setups() -> dict[str, Callable[[], tuple[Any, int, dict[str, Any]]]]:
    """A pipeline, the images of a call, and further arguments, by name."""

    def changed(change: Callable[[Any], Any]) -> tuple[Any, int, dict[str, Any]]:
        pipeline = load()
        change(pipeline)
        return pipeline, 1, {}

    def image(pipeline: Any) -> Any:
        return relative(StableDiffusionImg2ImgPipeline, pipeline)

    picture = torch.rand((1, 3, 128, 128), generator=torch.Generator().manual_seed(2))

    def ip_adapter() -> tuple[Any, int, dict[str, Any]]:
        pipeline = load()
        return pipeline, 1, with_ip_adapter(pipeline)

    def controlnet() -> tuple[Any, int, dict[str, Any]]:
        pipeline, arguments = with_controlnet(load())
        return pipeline, 1, arguments

    return {
        "guidance": lambda: (load(), 1, {}),
        "no guidance": lambda: (load(), 1, {"guidance_scale": 1.0}),
        "two images": lambda: (load(), 2, {"num_images_per_prompt": 2}),
        "two prompts": lambda: (load(), 2, {"prompts": [PROMPT, "a dog"]}),
        "odd size": lambda: (load(), 1, {"width": 72, "height": 40}),
        "slicing": lambda: changed(lambda p: p.enable_attention_slicing()),
        "explicit": lambda: changed(lambda p: p.unet.set_attn_processor(AttnProcessor())),
        "fused": lambda: changed(lambda p: p.fuse_qkv_projections(vae=False)),
        "channels last": lambda: changed(lambda p: p.unet.to(memory_format=torch.channels_last)),
        "FreeU": lambda: changed(lambda p: p.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)),
        "bfloat16": lambda: (load(dtype=torch.bfloat16), 1, {}),
        "IP-Adapter": ip_adapter,
        "ControlNet": controlnet,
        "PAG": lambda: (
            relative(StableDiffusionPAGPipeline, load(), pag_applied_layers="mid"),
            1,
            {"pag_scale": 2.0},
        ),
        "img2img": lambda: (image(load()), 1, {"image": picture, "strength": 1.0}),
    }


@contextmanager
def tapped(unet: Any, images: int, calls: list[AttentionCall]) -> Iterator[AttentionTap]:
    with AttentionTap(unet, calls.append, images=images, self_attention=True) as tap:
        yield tap


def check(pipeline: Any, images: int, arguments: dict[str, Any]) -> list[AttentionCall]:
    """Draw with and without the tap; the results are equal, and all calls were seen."""
    before = draw(pipeline, **arguments, generator=torch.Generator("cpu").manual_seed(7))
    calls: list[AttentionCall] = []
    with tapped(pipeline.unet, images, calls) as tap:
        seen = draw(pipeline, **arguments, generator=torch.Generator("cpu").manual_seed(7))
    after = draw(pipeline, **arguments, generator=torch.Generator("cpu").manual_seed(7))
    assert torch.equal(before, seen)
    assert torch.equal(before, after)
    layers = Counter(call.layer for call in calls)
    assert set(layers) == {
        name for name, _ in pipeline.unet.named_modules() if name.endswith(("attn1", "attn2"))
    }
    assert set(layers.values()) == {tap.unet_calls} == {STEPS}
    for call in calls:
        probabilities = call.probabilities()
        assert probabilities.shape[0] == images
        assert (probabilities.sum(2) - 1).abs().max() < 1e-6
        if call.kind == "self":
            patch = call.patch_probabilities(0.3, 0.6)
            assert patch.shape[-2:] == call.grid
            assert (patch.sum((-1, -2)) - 1).abs().max() < 1e-6
    return calls


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", setups())
def test_capturing_changes_no_bit_and_sees_every_call(name: str) -> None:
    check(*setups()[name]())


@pytest.mark.sample(2)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("images", [1, 2])
def test_sdxl_is_seen_too(dtype: torch.dtype, images: int, tmp_path: Any) -> None:
    folder = write_xl_model(tmp_path / "xl")
    pipeline = AutoPipelineForText2Image.from_pretrained(folder, dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    arguments = {"width": 64, "height": 64, "num_images_per_prompt": images}
    calls = check(pipeline, images, arguments)
    assert {call.probabilities().shape[2] for call in calls if call.kind == "cross"} == {77}


def test_the_maps_are_those_that_diffusers_computes() -> None:
    """The oracle is Diffusers' own `get_attention_scores`, which its plain processor calls."""
    pipeline = load()
    pipeline.unet.set_attn_processor(AttnProcessor())
    computed: list[torch.Tensor] = []
    for name, module in pipeline.unet.named_modules():
        if name.endswith("attn2"):
            original = module.get_attention_scores

            def keep(*args: Any, original: Any = original) -> torch.Tensor:
                computed.append(original(*args))
                return computed[-1]

            module.get_attention_scores = keep
    calls: list[AttentionCall] = []
    with AttentionTap(pipeline.unet, calls.append):
        draw(pipeline)
    assert len(calls) == len(computed) == 4 * STEPS
    for call, scores in zip(calls, computed, strict=True):
        # (batch * heads, patches, tokens), of which the last rows are the conditional half.
        heads = call.query.shape[1]
        expected = scores[-heads:].transpose(-1, -2).unflatten(-1, call.grid)
        assert torch.allclose(call.probabilities()[0], expected, atol=1e-6)


def test_hidden_tokens_get_no_attention() -> None:
    unet = load().unet
    mask = torch.ones((1, 77), dtype=torch.bool)
    mask[:, 40:] = False
    calls: list[AttentionCall] = []
    with torch.no_grad(), AttentionTap(unet, calls.append):
        unet(
            torch.zeros((1, 4, 16, 16)),
            500,
            encoder_hidden_states=torch.randn((1, 77, unet.config.cross_attention_dim)),
            encoder_attention_mask=mask,
        )
    for call in calls:
        assert call.probabilities()[:, :, 40:].max() == 0


@pytest.mark.parametrize("part", ["whole", "blocks"])
def test_a_compiled_unet_is_refused(part: str) -> None:
    unet = load().unet
    for module in [unet] if part == "whole" else unet.down_blocks:
        module.compile(backend="eager")
    with pytest.raises(UsageError, match="compiled") as error, AttentionTap(unet, print):
        pass
    assert error.value.code == "attention.compiled"
    # Nothing is left behind.
    assert not any(module._forward_hooks for module in unet.modules())


def test_a_compiled_wrapper_is_refused() -> None:
    unet = torch.compile(load().unet, backend="eager")
    with pytest.raises(UsageError, match="compiled"), AttentionTap(unet, print):
        pass


def test_a_layer_that_is_not_called_is_an_error() -> None:
    pipeline = load()
    [*_, block] = [m for m in pipeline.unet.modules() if hasattr(m, "attn2")]
    block.forward = lambda hidden_states, *args, **kwargs: hidden_states
    with pytest.raises(ModelError, match="1 of 4 layers"), AttentionTap(pipeline.unet, id):
        draw(pipeline)


def test_an_error_in_the_run_is_passed_on_and_leaves_no_hook() -> None:
    unet = load().unet
    with pytest.raises(ZeroDivisionError), AttentionTap(unet, print, self_attention=True):
        raise ZeroDivisionError
    assert not any(module._forward_hooks for module in unet.modules())
    assert not unet._forward_pre_hooks


@pytest.mark.parametrize(
    ("patches", "size", "grid"),
    [(256, (16, 16), (16, 16)), (64, (16, 16), (8, 8)), (15, (5, 9), (3, 5)), (6, (5, 9), (2, 3))],
)
def test_the_grid_of_a_layer(patches: int, size: tuple[int, int], grid: tuple[int, int]) -> None:
    assert patch_grid(patches, *size) == grid


def test_a_grid_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ModelError, match="7 patches"):
        patch_grid(7, 16, 16)


def test_no_hook_stays_when_a_layer_has_no_query() -> None:
    unet = load().unet
    *_, (_, last) = [item for item in unet.named_modules() if item[0].endswith("attn2")]
    del last.to_q
    with pytest.raises(AttributeError, match="to_q"), AttentionTap(unet, lambda call: None):
        pass
    for module in unet.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
