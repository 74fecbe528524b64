"""The names that LoRAs give to tensors: each is a layer and a part of it."""

from __future__ import annotations

import pytest

from sdcli.checkpoints.adapters.lora_keys import split_key, split_layer

Q = "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
DOTTED = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
TEXT = "encoder_layers_0_self_attn_q_proj"


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("x.lora_down.weight", "down"),
        ("x.lora_up.weight", "up"),
        ("x.lora_mid.weight", "mid"),
        ("x.lora_A.weight", "down"),
        ("x.lora_B.weight", "up"),
        ("x.lora_A.default.weight", "down"),
        ("x.lora_B.style_1.weight", "up"),
        ("x.lora.down.weight", "down"),
        ("x.lora_linear_layer.up.weight", "up"),
        ("x_lora.down.weight", "down"),
        ("x.alpha", "alpha"),
        ("x.dora_scale", "magnitude"),
        ("x.lora_magnitude_vector", "magnitude"),
        ("x.lora_magnitude_vector.default.weight", "magnitude"),
        ("x.hada_w1_a", "hada_w1_a"),
        ("x.hada_t2", "hada_t2"),
        ("x.lokr_w1", "lokr_w1"),
        ("x.lokr_w2_b", "lokr_w2_b"),
        ("x.lokr_t2", "lokr_t2"),
        ("x.diff", "diff"),
        ("x.diff_b", "diff_b"),
        ("x.w_norm", "diff"),
        ("x.b_norm", "diff_b"),
        ("x.on_input", "on_input"),
        ("x.weight", "ia3"),
    ],
)
def test_the_end_of_a_name_tells_the_part(key: str, part: str) -> None:
    assert split_key(key) == ("x", part)


@pytest.mark.parametrize(
    "key", ["x.oft_blocks", "x.lora_B.bias", "emb_params", "alpha", "x.lora_embedding_A", ""]
)
def test_other_names_are_not_known(key: str) -> None:
    assert split_key(key) is None


@pytest.mark.parametrize(
    ("written", "layer"),
    [
        (f"lora_unet_{Q}", ("unet", Q)),
        (f"lycoris_unet_{Q}", ("unet", Q)),
        (f"lycoris_{Q}", ("unet", Q)),
        (f"unet.{DOTTED}", ("unet", Q)),
        (DOTTED, ("unet", Q)),
        (f"base_model.model.{DOTTED}", ("unet", Q)),
        (f"base_model.model.unet.{DOTTED}", ("unet", Q)),
        (f"unet.{DOTTED}".replace(".to_q", ".processor.to_q"), ("unet", Q)),
        (f"unet.{DOTTED}".replace(".to_q", ".processor.to_out"), ("unet", Q[:-1] + "out_0")),
        (
            "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q",
            ("unet", "input_blocks_1_1_transformer_blocks_0_attn1_to_q"),
        ),
        (
            "diffusion_model.input_blocks.1.1.proj_in",
            ("unet", "input_blocks_1_1_proj_in"),
        ),
        (f"lora_te_text_model_{TEXT}", ("text_encoder", TEXT)),
        (f"lora_te1_text_model_{TEXT}", ("text_encoder", TEXT)),
        (f"lora_te2_text_model_{TEXT}", ("text_encoder_2", TEXT)),
        ("lora_te2_text_projection", ("text_encoder_2", "text_projection")),
        ("text_encoder.text_model.encoder.layers.0.self_attn.q_proj", ("text_encoder", TEXT)),
        ("text_encoder.encoder.layers.0.self_attn.q_proj", ("text_encoder", TEXT)),
        ("text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj", ("text_encoder_2", TEXT)),
        ("text_encoder.text_model.encoder.layers.0.self_attn.to_q", ("text_encoder", TEXT)),
        ("base_model.model.text_model.encoder.layers.0.self_attn.q_proj", ("text_encoder", TEXT)),
    ],
)
def test_the_beginning_of_a_name_tells_the_component(written: str, layer: tuple[str, str]) -> None:
    assert split_layer(written) == layer
