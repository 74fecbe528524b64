"""Fixtures of the training tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.training import tokenizer
from sdcli.training.sprites import Sprites, draw_shapes


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training folder with a tokenizer that is trained on few captions."""
    path = tmp_path_factory.mktemp("training")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "CAPTIONS", 2000)
        tokenizer.train_tokenizer(path / "tokenizer", seed=3)
    return path


@pytest.fixture(scope="session")
def shapes() -> Sprites:
    """The colored shapes, which need no download."""
    return Sprites(draw_shapes())
