"""A compiled UNet computes the same, and where something looks inside it is not compiled."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sdcli import engine
from sdcli.attention import AttentionSelection
from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.engine.denoise.compiled_run import choose_compiling
from sdcli.engine.recorders.attention import AttentionRecorder
from sdcli.engine.runtime.compiling import compiled
from sdcli.engine.runtime.diffusers_internals import compiled_call
from sdcli.errors import DeviceError
from tests.jobs import make_job

JOB = make_job(
    num_inference_steps=2,
    scheduler=SchedulerConfig(
        class_name="DDIMScheduler", config=(("timestep_spacing", "trailing"),)
    ),
    compile=True,
)


@pytest.fixture(scope="module")
def expected(loaded: Any) -> Any:
    [result] = engine.generate_batch(loaded, [replace(JOB, compile=False)])
    return result.pixels


def test_compiled_blocks_compute_the_same_and_stay_no_longer_than_the_run(loaded: Any) -> None:
    """Traced as for any compiler, but then run by torch itself: g++ takes a minute."""
    unet = loaded.pipeline.unet
    blocks = [m for m in unet.modules() if type(m).__name__ == "BasicTransformerBlock"]
    calls: list[Any] = []
    hook = blocks[0].attn1.to_q.register_forward_hook(lambda *args: calls.append(args))
    inputs = torch.zeros(2, 4, 8, 8), torch.tensor(3)
    embeds = torch.zeros(2, 77, unet.config.cross_attention_dim)
    with torch.no_grad():
        expected = unet(*inputs, embeds).sample
        for _ in range(2):
            with compiled([unet], "eager"):
                assert all(compiled_call(block) for block in blocks)
                assert torch.equal(unet(*inputs, embeds).sample, expected)
            assert not any(compiled_call(module) for module in unet.modules())
        calls.clear()
        assert torch.equal(unet(*inputs, embeds).sample, expected)
    hook.remove()
    assert len(calls) == 1


def test_a_run_that_records_the_unet_is_not_compiled_and_says_so(
    loaded: Any, expected: Any
) -> None:
    recorders: list[Any] = []

    def record(run: Any) -> Any:
        recorders.append(AttentionRecorder(run, AttentionSelection()))
        return recorders[-1]

    [result] = engine.generate_batch(loaded, [JOB], recorders=[record])
    assert not result.run.compiled
    assert "the UNet is not compiled: what is recorded" in result.events[0]
    assert np.array_equal(result.pixels, expected)
    assert recorders[0].maps_of(0)


@pytest.mark.parametrize(
    ("rung", "changes", "reason"),
    [
        ("none", {}, None),
        ("model", {}, None),
        ("group", {}, "--offload group moves"),
        ("none", {"lora": "a.safetensors:1"}, "LoRAs"),
        ("none", {"ip_adapter": "a.safetensors"}, "IP-Adapters"),
        ("none", {"compile": False}, None),
    ],
)
def test_what_is_compiled(
    loaded: Any, rung: str, changes: dict[str, Any], reason: str | None
) -> None:
    job = replace(JOB, **changes)
    placed = SimpleNamespace(placement=SimpleNamespace(rung=rung))
    chosen: Any = choose_compiling(placed, job, records=False)  # type: ignore[arg-type]
    assert chosen.is_on == (reason is None and job.compile)
    assert [reason in note for note in chosen.notes if reason] == [True] * bool(reason)


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
