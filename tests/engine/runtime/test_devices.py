"""Devices by name, and the default device and dtype."""

from __future__ import annotations

import pytest
import torch

from sdcli.engine.runtime import devices
from sdcli.errors import DeviceError


def test_exactly_one_device_is_the_default() -> None:
    listed = devices.list_devices()
    assert "cpu" in [device.name for device in listed]
    assert [device.is_default for device in listed].count(True) == 1


def test_every_listed_device_resolves_to_itself() -> None:
    for device in devices.list_devices():
        assert str(devices.resolve(device.name)) == device.name


def test_auto_is_the_default_device() -> None:
    [default] = [device.name for device in devices.list_devices() if device.is_default]
    assert devices.resolve("auto").type == torch.device(default).type


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "", "CPU"])
def test_a_device_that_does_not_exist_is_an_error_that_names_the_others(name: str) -> None:
    with pytest.raises(DeviceError) as caught:
        devices.resolve(name)
    assert caught.value.code == "device.missing"
    assert "cpu" in (caught.value.hint or "")


def test_a_rank_takes_its_own_device_without_waiting_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process group of two ranks, of which only this one exists."""
    for name, value in {"LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    expected = "cuda:1" if torch.cuda.is_available() else "cpu"
    assert str(devices.resolve("auto")) == expected
    assert not torch.distributed.is_initialized()


def test_the_default_dtype_is_narrow_on_everything_but_a_cpu() -> None:
    assert devices.resolve_dtype(None, torch.device("cpu")) == torch.float32
    assert devices.resolve_dtype(None, torch.device("cuda")) == torch.float16


@pytest.mark.parametrize(
    ("size", "has_instructions", "expected"),
    [
        (500_000_000, True, torch.bfloat16),
        (500_000_000, False, torch.float32),
        (499_999_999, True, torch.float32),
    ],
)
def test_a_cpu_computes_large_models_in_bfloat16_if_it_can(
    size: int, has_instructions: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    capabilities = {"avx512_bf16": False, "amx_bf16": has_instructions}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    cpu = torch.device("cpu")
    assert devices.resolve_dtype(None, cpu, size) == expected
    assert devices.resolve_dtype("float32", cpu, size) == torch.float32


@pytest.mark.parametrize("name", devices.DTYPES)
def test_a_dtype_is_named_as_torch_names_it(name: str) -> None:
    assert str(devices.resolve_dtype(name, torch.device("cpu"))) == f"torch.{name}"
