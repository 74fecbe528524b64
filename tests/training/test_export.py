"""The export of the model folder."""

from __future__ import annotations

from pathlib import Path

import torch

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults
from sdcli.training.diffusion import embed
from sdcli.training.export import DEFAULTS, _load_text_encoder, scheduler_file, vocabulary
from sdcli.training.loop import result_file
from sdcli.training.text_encoder import CaptionTokenizer, build_text_encoder


def test_the_export_writes_the_shipped_scheduler_file() -> None:
    folder = EMBEDDED_FOLDER / "scheduler"
    assert scheduler_file() == (folder / "scheduler_config.json").read_text()


def test_the_exported_text_encoder_equals_the_trained_one(folder: Path) -> None:
    torch.manual_seed(0)
    trained = build_text_encoder(folder).eval()
    torch.save({"text_encoder": trained.state_dict()}, result_file(folder, "diffusion"))
    ids = CaptionTokenizer(folder)(["two cats on a blue background"], 77)
    with torch.no_grad():
        exported = _load_text_encoder(folder).eval()(ids).last_hidden_state
        assert torch.equal(exported, embed(trained, ids))


def test_the_vocabulary_is_that_of_the_shipped_model() -> None:
    words = read_defaults(EMBEDDED_FOLDER).words
    assert words
    assert set(vocabulary(count=500)) <= words


def test_the_defaults_are_those_of_the_shipped_model() -> None:
    defaults = read_defaults(EMBEDDED_FOLDER)
    for key, value in DEFAULTS.items():
        assert getattr(defaults, key) == value
