"""The alphas of a LoRA that are beside its tensors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdcli.checkpoints.adapters.lora_alpha import read_alphas
from sdcli.errors import CorruptError


def test_a_pattern_is_one_of_its_component() -> None:
    config = {
        "unet.lora_alpha": 1,
        "unet.alpha_pattern": {"attn.to_q": 2},
        "text_encoder.alpha_pattern": {"attn.to_q": 3},
        "alpha_pattern": {"attn.to_k": 4},
    }
    alphas = read_alphas(Path("a.safetensors"), {"lora_adapter_metadata": json.dumps(config)})
    assert alphas.of("unet", "down.attn.to_q") == 2
    assert alphas.of("unet", "down.other_attn.to_q") == 1
    assert alphas.of("text_encoder", "attn.to_q") == 3
    assert alphas.of("text_encoder_2", "attn.to_q") is None
    assert alphas.of("text_encoder_2", "attn.to_k") == 4


def test_a_damaged_configuration_is_not_ignored(tmp_path: Path) -> None:
    path = tmp_path / "adapter_model.safetensors"
    assert read_alphas(path, {}).of("unet", "x") is None
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": ')
    with pytest.raises(CorruptError, match=r"adapter_config\.json: not JSON"):
        read_alphas(path, {})
