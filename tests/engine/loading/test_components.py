"""Errors of libraries about a bad file become CorruptError, and others are passed on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sdcli.engine.loading.components import check_complete, loading_errors_as_corrupt_errors
from sdcli.errors import CorruptError

FILE = Path("unet/model.safetensors")


@pytest.mark.parametrize(
    "error",
    [
        OSError("bad\nfile"),
        ValueError("bad"),
        KeyError("bad"),
        TypeError("bad"),
        RuntimeError("bad"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_name_the_component_and_the_file(error: Exception) -> None:
    with (
        pytest.raises(CorruptError, match="bad") as caught,
        loading_errors_as_corrupt_errors("unet", FILE),
    ):
        raise error
    assert caught.value.message.startswith(f"unet: {FILE}: ")
    assert caught.value.__cause__ is error
    assert "\n" not in caught.value.message


def test_an_error_without_a_message_is_named_by_its_class() -> None:
    with (
        pytest.raises(CorruptError, match="OSError"),
        loading_errors_as_corrupt_errors("unet", FILE),
    ):
        raise OSError


def test_a_tensor_on_the_meta_device_is_a_missing_one() -> None:
    module = torch.nn.Linear(2, 2, device="meta")
    with (
        pytest.raises(CorruptError, match="lacks tensors"),
        loading_errors_as_corrupt_errors("vae", FILE),
    ):
        module.to("cpu")
    with pytest.raises(CorruptError, match="lacks weight and 1 more"):
        check_complete("vae", FILE, module, [])


def test_other_things_that_a_library_does_not_implement_are_told() -> None:
    with (
        pytest.raises(CorruptError, match="cosine is not implemented"),
        loading_errors_as_corrupt_errors("scheduler", FILE),
    ):
        raise NotImplementedError("cosine is not implemented")


def test_running_out_of_memory_is_passed_on() -> None:
    with pytest.raises(torch.OutOfMemoryError), loading_errors_as_corrupt_errors("unet", FILE):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_complete_module_is_accepted() -> None:
    check_complete("vae", FILE, torch.nn.Linear(2, 2), [])
    with pytest.raises(CorruptError, match=r"lacks bias$"):
        check_complete("vae", FILE, torch.nn.Linear(2, 2), ["bias"])
