"""Small Stable Diffusion XL models, written once, and loaded by the engine and by Diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.jobs import CPU
from tests.xl_models import write_refiner, write_xl_model


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_xl_model(tmp_path_factory.mktemp("xl") / "base")


@pytest.fixture(scope="session")
def refiner_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_refiner(tmp_path_factory.mktemp("xl") / "refiner")


def load(model: Path, **spec: Any) -> Any:
    """Load a model through the engine."""
    from dataclasses import replace

    from sdcli import engine

    return engine.load(replace(CPU, model=str(model), **spec))


@pytest.fixture(scope="session")
def xl(base_folder: Path) -> Any:
    return load(base_folder)


@pytest.fixture(scope="session")
def xl_refined(base_folder: Path, refiner_folder: Path) -> Any:
    return load(base_folder, refiner=str(refiner_folder))


@pytest.fixture(scope="session")
def plain_xl(base_folder: Path) -> Any:
    """The base model, loaded as a Diffusers user would."""
    import torch
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(base_folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def plain_refiner(refiner_folder: Path) -> Any:
    import torch
    from diffusers import StableDiffusionXLImg2ImgPipeline

    pipeline = StableDiffusionXLImg2ImgPipeline.from_pretrained(refiner_folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
