"""Validation: errors that can be known without a download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdcli.errors import ModelError
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.validation import RequestValidator, cached_defaults
from sdcli.request import GenerationRequest


def find_fields(spec: PipelineSpec, **options: Any) -> list[str]:
    request = GenerationRequest(prompt="a cat", spec=spec, **options)
    return [field for field, _ in RequestValidator()(request)]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))


def test_a_valid_request_has_no_errors() -> None:
    assert find_fields(PipelineSpec(), num_inference_steps=4) == []


def test_options_are_checked_against_the_model() -> None:
    assert find_fields(PipelineSpec(), width=500, eta=0.5) == ["width", "eta"]


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    assert find_fields(PipelineSpec(model=str(tmp_path))) == ["model"]


def test_a_model_of_the_hub_is_an_error_only_offline() -> None:
    assert find_fields(PipelineSpec(model="nobody/nothing")) == []
    assert find_fields(PipelineSpec(model="nobody/nothing", offline=True)) == ["model"]


def test_a_vae_file_that_does_not_exist_is_an_error() -> None:
    assert find_fields(PipelineSpec(vae="./nothing.safetensors")) == ["vae"]


def test_a_scheduler_is_checked_although_the_model_is_unknown() -> None:
    spec = PipelineSpec(model="nobody/nothing")
    assert find_fields(spec, scheduler="eulr") == ["scheduler"]


def test_a_model_is_checked_once() -> None:
    validator = RequestValidator()
    request = GenerationRequest(prompt="a cat", spec=PipelineSpec(model="/nowhere"))
    assert list(validator(request)) == list(validator(request))


def test_defaults_are_never_downloaded() -> None:
    with pytest.raises(ModelError):
        cached_defaults(PipelineSpec(model="nobody/nothing"))
