"""The embedded model, loaded once for all engine tests, by the engine and by plain Diffusers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from tests.jobs import CPU


@pytest.fixture(scope="session")
def loaded() -> Any:
    from sdcli import engine

    return engine.load(CPU)


@pytest.fixture(scope="session")
def plain() -> Any:
    """The same model, loaded as a Diffusers user would."""
    import torch
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(
        EMBEDDED_FOLDER, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def model_copy(tmp_path: Path) -> Callable[[], Path]:
    """A function that copies the embedded model to a folder whose files a test may damage."""

    def copy() -> Path:
        return Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "model"))

    return copy
