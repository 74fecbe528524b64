"""The configurations, tokenizers and defaults that a single file lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.json_files import read_json
from sdcli.checkpoints.model_defaults import read_defaults
from sdcli.checkpoints.single_file.config_folder import changed_folder, family_folder
from sdcli.checkpoints.single_file.families import FAMILIES
from sdcli.checkpoints.single_file.training import Distillation, Prediction
from sdcli.checkpoints.single_file.vocabulary import read_vocabulary
from sdcli.engine.loading.tokenizer import load_tokenizer
from sdcli.inputs.paths import cache_folder
from tests.checkpoints.single_file.tiny_models import SUPPORTED

EPSILON = Prediction(type="epsilon", certainty="usual", reason="")
V = Prediction(type="v_prediction", certainty="stated", reason="")
ZERO_SNR = Prediction(type="v_prediction", certainty="stated", reason="", zero_snr=True)


@pytest.mark.parametrize(
    ("family", "prediction", "size", "scheduler"),
    [
        ("sd1", EPSILON, 512, "PNDMScheduler"),
        ("sd2", EPSILON, 512, "PNDMScheduler"),
        ("sd2", V, 768, "DDIMScheduler"),
        ("sd1", ZERO_SNR, 512, "DDIMScheduler"),
    ],
)
def test_the_defaults_of_a_family(
    family: str, prediction: Prediction, size: int, scheduler: str
) -> None:
    defaults = read_defaults(family_folder(FAMILIES[family], prediction, None))
    assert (defaults.width, defaults.height) == (size, size)
    assert defaults.family == FAMILIES[family].name
    assert defaults.prediction_type == prediction.type
    assert defaults.scheduler_class == scheduler
    resolve_scheduler(str(defaults.scheduler), defaults.scheduler_config)


@pytest.mark.parametrize("kind", ["turbo", "lightning", "lcm"])
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_a_distilled_model_needs_few_steps_and_no_guidance(family: str, kind: str) -> None:
    distillation = Distillation(kind=kind, reason="")
    folder = family_folder(FAMILIES[family], EPSILON, distillation)
    settings = read_json(folder / "sdcli.json")
    assert settings["num_inference_steps"] <= 8
    assert settings["guidance_scale"] == 1
    scheduler = read_config(folder / "scheduler" / "scheduler_config.json", "scheduler")
    resolve_scheduler(settings["scheduler"], scheduler)


@pytest.mark.parametrize("family", SUPPORTED)
def test_every_configuration_can_be_read(family: str) -> None:
    folder = family_folder(FAMILIES[family], EPSILON, None)
    index = read_json(folder / "model_index.json")
    for name in ("unet", "vae", "text_encoder", "text_encoder_2", "scheduler"):
        file = "scheduler_config.json" if name == "scheduler" else "config.json"
        if (entry := index.get(name)) and entry[0]:
            read_config(folder / name / file, name.removesuffix("_2"))
        else:
            assert not (folder / name).exists()


def test_a_folder_is_made_once_and_named_after_its_contents() -> None:
    first = family_folder(FAMILIES["sd1"], EPSILON, None)
    assert family_folder(FAMILIES["sd1"], EPSILON, None) == first
    assert family_folder(FAMILIES["sd1"], V, None) != first
    assert first.parent == cache_folder() / "configurations"
    assert not list(first.parent.glob(".new-*"))


def test_a_cache_that_cannot_be_written_is_replaced_by_a_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file in the place of the folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = family_folder(FAMILIES["sd1"], EPSILON, None)
    assert (folder / "tokenizer" / "merges.txt").is_file()
    assert family_folder(FAMILIES["sd1"], EPSILON, None) == folder


def test_a_changed_folder_has_another_prediction_type_and_nothing_else() -> None:
    folder = family_folder(FAMILIES["sd1"], EPSILON, None)
    changed = changed_folder(folder, "sample")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {str(p.relative_to(changed)) for p in changed.rglob("*") if p.is_file()}
    different = {n for n in files if (folder / n).read_bytes() != (changed / n).read_bytes()}
    assert different == {"scheduler/scheduler_config.json"}
    assert read_defaults(changed).prediction_type == "sample"


def test_the_vocabulary_is_that_of_clip() -> None:
    vocabulary = read_vocabulary()
    assert len(vocabulary) == 49_408
    assert list(vocabulary.values()) == list(range(49_408))
    assert vocabulary["<|endoftext|>"] == 49_407


@pytest.mark.parametrize(("family", "pad"), [("sd1", 49_407), ("sd2", 0)])
def test_the_tokenizer_gives_the_known_numbers(family: str, pad: int) -> None:
    tokenizer, notes = load_tokenizer(
        family_folder(FAMILIES[family], EPSILON, None) / "tokenizer", 77
    )
    assert notes == ()
    ids = tokenizer("a photo of a cat", padding="max_length", max_length=77).input_ids
    # These numbers are in the documentation of CLIP.
    assert ids[:7] == [49_406, 320, 1125, 539, 320, 2368, 49_407]
    assert ids[7:] == [pad] * 70
