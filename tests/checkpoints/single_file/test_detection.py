"""Recognise files by the names and shapes in their headers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sdcli.checkpoints.safetensors_header import SafetensorsHeader, TensorInfo
from sdcli.checkpoints.single_file.detection import Detection, detect

Shapes = dict[str, tuple[int, ...]]

UNET = "model.diffusion_model."
WIDTHS = {
    "sd1": (768, None),
    "sd2": (1024, None),
    "sdxl": (2048, 2816),
    "sdxl-refiner": (1280, 2560),
}
TASKS = {"": 4, "-inpaint": 9, "-pix2pix": 8, "-depth": 5, "-upscaler": 7}


def header(shapes: Mapping[str, tuple[int, ...]], **metadata: str) -> SafetensorsHeader:
    """A header with tensors of these shapes."""
    return SafetensorsHeader(
        tensors={n: TensorInfo(dtype="F16", shape=s, begin=0, end=0) for n, s in shapes.items()},
        metadata=metadata,
    )


def unet(base: str, channels: int = 4, prefix: str = UNET) -> Shapes:
    """The tensors of a UNet that tell its family."""
    width, label = WIDTHS[base]
    shapes: Shapes = {
        f"{prefix}input_blocks.0.0.weight": (320, channels, 3, 3),
        f"{prefix}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, width),
    }
    if label:
        shapes[f"{prefix}label_emb.0.0.weight"] = (1280, label)
    return shapes


def detected(shapes: Mapping[str, tuple[int, ...]], **metadata: str) -> Detection:
    return detect(header(shapes, **metadata))


@pytest.mark.parametrize("base", WIDTHS)
@pytest.mark.parametrize("suffix", TASKS)
@pytest.mark.parametrize("prefix", [UNET, ""])
def test_the_family_follows_from_shapes(base: str, suffix: str, prefix: str) -> None:
    found = detected(unet(base, TASKS[suffix], prefix))
    assert found.kind == "model"
    assert found.family
    assert found.family.id == base + suffix
    assert found.family.supported == (suffix in ("", "-inpaint"))
    assert str(TASKS[suffix]) in " ".join(found.reasons)


def test_a_unet_with_diffusers_names_is_recognised() -> None:
    found = detected(
        {
            "conv_in.weight": (320, 4, 3, 3),
            "down_blocks.0.resnets.0.conv1.weight": (320, 320, 3, 3),
            "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
            "add_embedding.linear_1.weight": (1280, 2816),
            "time_embedding.linear_1.weight": (1280, 320),
        }
    )
    assert (found.family and found.family.id, found.layout) == ("sdxl", "diffusers")
    assert list(found.parts) == ["unet"]
    assert found.other_names == ()


def test_unknown_sizes_are_a_model_of_no_family() -> None:
    shapes = unet("sd1") | {
        f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 99)
    }
    found = detected(shapes)
    assert (found.kind, found.family) == ("model", None)
    assert "99" in found.reasons[0]


def test_parts_and_tensors_of_no_part() -> None:
    found = detected(
        unet("sdxl")
        | {
            "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
            "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": (768,),
            "conditioner.embedders.1.model.ln_final.weight": (1280,),
            "model_ema.decay": (),
            "betas": (1000,),
            "v_pred": (0,),
            "stray.weight": (1,),
        }
    )
    assert sorted(found.parts) == ["ema", "text_encoder", "text_encoder_2", "unet", "vae"]
    assert found.parts["text_encoder"].layout == "diffusers"
    assert found.other_names == ("stray.weight",)


@pytest.mark.parametrize(
    ("shapes", "kind"),
    [
        ({"lora_unet_down_blocks_0.lora_down.weight": (4, 320)}, "lora"),
        ({"unet.down_blocks.0.attn.to_k.lora_A.weight": (4, 320)}, "lora"),
        ({"lora_unet_mid.hada_w1_a": (4, 4)}, "lora"),
        ({"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "controlnet"),
        ({"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)}, "controlnet"),
        ({"image_proj.proj.weight": (1, 1), "ip_adapter.1.to_k_ip.weight": (1, 1)}, "ip-adapter"),
        ({"emb_params": (4, 768)}, "embedding"),
        ({"<my-style>": (4, 768)}, "embedding"),
        ({"clip_l": (4, 768), "clip_g": (4, 1280)}, "embedding"),
        ({"text_encoders.clip_l.x": (1,), "text_encoders.clip_g.x": (1,),
          "model.diffusion_model.joint_blocks.0.x": (1,)}, "other"),
        ({"model.diffusion_model.double_blocks.0.x": (1,)}, "other"),
        ({"conv_first.weight": (64, 3, 3, 3)}, "upscaler"),
    ],
)  # fmt: skip
def test_other_kinds_are_named(shapes: Shapes, kind: str) -> None:
    found = detected(shapes)
    assert found.kind == "wrong_kind"
    assert found.other
    assert found.other.id == kind
    assert any(name in found.reasons[0] for name in shapes)


def test_a_vae_and_a_text_encoder_alone() -> None:
    assert detected({"encoder.conv_in.weight": (128, 3, 3, 3)}).kind == "vae"
    assert detected({"first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3)}).kind == "vae"
    name = "text_model.embeddings.token_embedding.weight"
    assert detected({name: (49408, 768)}).kind == "text_encoder"
    assert detected({"x": (1, 2)}).kind == "unknown"
