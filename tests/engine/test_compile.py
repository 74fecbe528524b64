"""A compiled UNet draws nearly the same, and where something looks inside it is not compiled."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sdcli import engine
from sdcli.attention import AttentionSelection
from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.engine.recorders.attention import AttentionRecorder
from sdcli.engine.runtime.compiling import compiled, has_compiler
from sdcli.errors import DeviceError
from sdcli.numerics.metrics import psnr
from tests.jobs import make_job

JOB = make_job(
    num_inference_steps=2,
    scheduler=SchedulerConfig(
        class_name="DDIMScheduler", config=(("timestep_spacing", "trailing"),)
    ),
    compile=True,
)

needs_compiler = pytest.mark.skipif(not has_compiler(), reason="no C++ compiler on this machine")


@pytest.fixture(scope="module")
def expected(loaded: Any) -> Any:
    [result] = engine.generate_batch(loaded, [replace(JOB, compile=False)])
    return result.pixels


@needs_compiler
def test_a_compiled_unet_draws_nearly_the_same(loaded: Any, expected: Any) -> None:
    [result] = engine.generate_batch(loaded, [JOB])
    assert result.run.compiled
    assert result.events == ()
    assert psnr(result.pixels, expected) > 50
    # A recording needs the hooks that compiled blocks do not call.
    recorders: list[Any] = []

    def record(run: Any) -> Any:
        recorders.append(AttentionRecorder(run, AttentionSelection()))
        return recorders[-1]

    [recorded] = engine.generate_batch(loaded, [JOB], recorders=[record])
    assert not recorded.run.compiled
    assert "the UNet is not compiled: what is recorded" in recorded.events[0]
    assert np.array_equal(recorded.pixels, expected)
    assert recorders[0].results(0)
    # Nothing of it is left behind.
    [plain] = engine.generate_batch(loaded, [replace(JOB, compile=False)])
    assert np.array_equal(plain.pixels, expected)


def test_without_a_compiler_there_is_one_line(
    loaded: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(
        DeviceError, match=re.escape("--compile: no C++ compiler was found")
    ) as caught:
        engine.generate_batch(loaded, [JOB])
    assert "leave --compile out" in str(caught.value.hint)
    [plain] = engine.generate_batch(loaded, [replace(JOB, compile=False)])
    assert np.array_equal(plain.pixels, expected)


def test_an_error_of_the_compiler_is_one_line(loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import TorchDynamoException

    monkeypatch.setattr("sdcli.engine.runtime.compiling.has_compiler", lambda: True)
    with (
        pytest.raises(DeviceError, match=r"torch\.compile failed: it broke$"),
        compiled([]),
    ):
        raise TorchDynamoException("it broke\nand more")
