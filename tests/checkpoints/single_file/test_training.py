"""Find the prediction type: markers, metadata, a YAML file beside the model, or a guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.checkpoints.single_file.families import FAMILIES
from sdcli.checkpoints.single_file.training import find_distillation, find_prediction

SD2, SDXL = FAMILIES["sd2"], FAMILIES["sdxl"]


def test_markers_win_over_metadata() -> None:
    names = frozenset({"v_pred", "ztsnr"})
    found = find_prediction(names, {"modelspec.prediction_type": "epsilon"}, SDXL, None)
    assert (found.type, found.certainty, found.zero_snr) == ("v_prediction", "stated", True)


@pytest.mark.parametrize(("text", "kind"), [("v", "v_prediction"), ("epsilon", "epsilon")])
def test_metadata_states_it(text: str, kind: str) -> None:
    found = find_prediction(frozenset(), {"modelspec.prediction_type": text}, SD2, None)
    assert (found.type, found.certainty) == (kind, "stated")
    assert text in found.reason


@pytest.mark.parametrize(
    ("text", "kind", "certainty"),
    [
        ("model:\n  params:\n    parameterization: v\n", "v_prediction", "stated"),
        ("model:\n  params:\n    linear_start: 0.00085\n", "epsilon", "stated"),
        ("model: [", "v_prediction", "guessed"),
        ("just text", "v_prediction", "guessed"),
        ("\0", "v_prediction", "guessed"),
        ("[" * 2000, "v_prediction", "guessed"),
    ],
)
def test_a_yaml_file_beside_the_model(tmp_path: Path, text: str, kind: str, certainty: str) -> None:
    (tmp_path / "model.yaml").write_text(text)
    found = find_prediction(frozenset(), {}, SD2, tmp_path / "model.safetensors")
    assert (found.type, found.certainty) == (kind, certainty)


def test_without_a_statement_the_family_decides() -> None:
    assert find_prediction(frozenset(), {}, SDXL, None).certainty == "usual"
    assert find_prediction(frozenset(), {}, None, None).certainty == "guessed"
    guess = find_prediction(frozenset(), {}, SD2, Path("v2-1_768-ema-pruned.safetensors"))
    assert (guess.type, guess.certainty) == ("v_prediction", "guessed")
    for name in ("512-base-ema", "v2-1_512-ema-pruned", "sd21base", "mix_eps"):
        hint = find_prediction(frozenset(), {}, SD2, Path(f"{name}.safetensors"))
        assert (hint.type, hint.reason) == ("epsilon", "by the file's name"), name
    for name in ("database", "10000steps", "baseball", "r15120"):
        assert find_prediction(frozenset(), {}, SD2, Path(name)).type == "v_prediction", name


def test_distillation_is_told_by_metadata_or_tensors() -> None:
    assert find_distillation(frozenset(), {}) is None
    title = find_distillation(frozenset(), {"modelspec.title": "My_SDXL-Turbo mix"})
    assert title
    assert title.kind == "turbo"
    tensor = find_distillation(frozenset({"time_embedding.cond_proj.weight"}), {})
    assert tensor
    assert tensor.kind == "lcm"
