"""A feature cache equals the UNet's blocks called by hand, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from sdcli import engine
from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.engine.adapters.feature_cache import cached_features
from sdcli.full_calls import is_full_call
from tests.engine.input_jobs import by_hand, image_job, inputs_of
from tests.jobs import CPU, make_job
from tests.xl_models import write_refiner, write_xl_model

STEPS = 9
"""Of them, 3 and 2 are full, and of the four between, one or two for every 2nd or 3rd."""


def cached_job(every: int = 2, **changes: Any) -> Any:
    return make_job(**{"num_inference_steps": STEPS, "feature_cache": every, **changes})


@contextmanager
def calls_of(unet: Any) -> Iterator[list[int]]:
    """Count the calls of the UNet's first block and of its second one, which is deep."""
    counts = [0, 0]

    def count(index: int) -> Any:
        def hook(*_: Any) -> None:
            counts[index] += 1

        return hook

    handles = [unet.down_blocks[i].register_forward_hook(count(i)) for i in (0, 1)]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def by_hand_every(unet: Any, full: set[int]) -> Iterator[None]:
    """Compute the UNet of plain Diffusers in its calls that are not full block by block."""
    original, kept, calls = unet.forward, {}, iter(range(1000))

    def keep(_: Any, args: Any, kwargs: Any) -> None:
        kept["features"] = kwargs["hidden_states"].clone()

    def forward(sample: Any, timestep: Any, **kwargs: Any) -> Any:
        if next(calls) in full:
            return original(sample, timestep, **kwargs)
        text = kwargs["encoder_hidden_states"]
        emb = unet.time_embedding(unet.get_time_embed(sample=sample, timestep=timestep))
        added = kwargs.get("added_cond_kwargs")
        more = unet.get_aug_embed(emb=emb, encoder_hidden_states=text, added_cond_kwargs=added)
        emb = emb if more is None else emb + more
        first, last = unet.down_blocks[0], unet.up_blocks[-1]
        hidden = unet.conv_in(sample)
        skips = [hidden]
        for resnet in first.resnets:
            hidden = resnet(hidden, emb)
            skips.append(hidden)
        features = kept["features"].clone()
        hidden = last(hidden_states=features, temb=emb, res_hidden_states_tuple=tuple(skips))
        return (unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden))),)

    handle = unet.up_blocks[-1].register_forward_pre_hook(keep, with_kwargs=True)
    unet.forward = forward
    try:
        yield
    finally:
        del unet.forward
        handle.remove()


@pytest.mark.parametrize(("every", "full"), [(2, {0, 1, 2, 4, 6, 7, 8}), (3, {0, 1, 2, 5, 7, 8})])
def test_it_equals_the_blocks_called_by_hand(
    loaded: Any, plain: Any, every: int, full: set[int]
) -> None:
    job = cached_job(every)
    [result] = engine.generate_batch(loaded, [job])
    with by_hand_every(plain.unet, full):
        expected = by_hand(plain, job)
    assert np.array_equal(result.pixels, expected)
    assert not np.array_equal(result.pixels, by_hand(plain, job))
    assert full == {call for call in range(STEPS) if is_full_call(call, STEPS, every)}


def test_freeu_is_applied_to_each_call_once(loaded: Any, plain: Any) -> None:
    job = cached_job(3, freeu="s1=0.9,s2=0.2,b1=1.5,b2=1.6")
    [result] = engine.generate_batch(loaded, [job])
    plain.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)
    try:
        with by_hand_every(plain.unet, {0, 1, 2, 5, 7, 8}):
            expected = by_hand(plain, job)
    finally:
        plain.disable_freeu()
    assert np.array_equal(result.pixels, expected)


def test_stable_diffusion_xl_equals_the_blocks_called_by_hand(tmp_path: Path) -> None:
    folder = write_xl_model(tmp_path / "xl")
    spec = replace(CPU, model=str(folder))
    job = cached_job(2, spec=spec, guidance_scale=5.0, negative_prompt="a dog")
    [result] = engine.generate_batch(engine.load(spec), [job])
    plain = StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)
    with by_hand_every(plain.unet, {0, 1, 2, 4, 6, 7, 8}):
        expected = by_hand(plain, job)
    assert np.array_equal(result.pixels, expected)


def test_it_leaves_nothing_behind(loaded: Any) -> None:
    unet = loaded.pipeline.unet
    before = describe(unet)
    [plain] = engine.generate_batch(loaded, [cached_job(1)])
    engine.generate_batch(loaded, [cached_job(2)])
    assert describe(unet) == before
    [again] = engine.generate_batch(loaded, [cached_job(1)])
    assert np.array_equal(again.pixels, plain.pixels)


def test_an_error_in_the_middle_leaves_nothing_behind(loaded: Any) -> None:
    unet = loaded.pipeline.unet
    before = describe(unet)

    def fail(event: Any) -> None:
        # The UNet call of a step with features of an earlier one is interrupted in itself, too.
        handle = unet.up_blocks[-1].register_forward_hook(stop)
        handles.append(handle)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    handles: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        engine.generate_batch(
            loaded, [cached_job(2)], on_step=lambda e: fail(e) if e.step == 3 else None
        )
    for handle in handles:
        handle.remove()
    assert describe(unet) == before


def describe(unet: Any) -> Any:
    """Everything that a patch or a hook would change."""
    return (
        sorted(vars(unet)),
        [(name, id(module)) for name, module in unet.named_modules()],
        [len(module._forward_hooks) for module in unet.modules()],
        [len(module._forward_pre_hooks) for module in unet.modules()],
        list(unet.state_dict()),
    )


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, [9, 7]),
        ({"guidance_scale": 1.0}, [9, 7]),
        # The rows of the batch change before calls 3 and 6.
        ({"guidance_from": 0.3, "guidance_to": 0.6}, [9, 8]),
        # The prompt changes before call 5.
        ({"prompt": "a [cat:dog:0.6]", "reads_syntax": True}, [9, 8]),
        # Each of the two prompts has features of its own: two calls a step.
        ({"prompt": "a cat AND a dog", "reads_syntax": True}, [18, 14]),
        ({"scheduler": "Heun", "num_inference_steps": 5}, [9, 7]),
        ({"scheduler": "PNDM", "num_inference_steps": 8}, [9, 7]),
    ],
)
def test_deep_blocks_run_in_full_calls_only(
    loaded: Any, changes: dict[str, Any], counts: list[int]
) -> None:
    if name := changes.get("scheduler"):
        changes = {**changes, "scheduler": resolve_scheduler(name).choice, "scheduler_label": name}
    with calls_of(loaded.pipeline.unet) as called:
        engine.generate_batch(loaded, [cached_job(2, **changes)])
    assert called == counts


def test_an_input_image_and_a_second_pass_count_their_own_calls(loaded: Any) -> None:
    job = image_job(num_inference_steps=12, strength=0.75, feature_cache=2)
    with calls_of(loaded.pipeline.unet) as called:
        engine.generate_batch(loaded, [job], inputs=inputs_of(job))
    assert called == [9, 7]
    twice = cached_job(2, hires="2x", hires_strength=1.0, hires_steps=8)
    with calls_of(loaded.pipeline.unet) as called:
        engine.generate_batch(loaded, [twice])
    assert called == [9 + 8, 7 + 6]


def test_a_refiner_has_features_of_its_own(tmp_path: Path) -> None:
    refiner = str(write_refiner(tmp_path / "refiner"))
    spec = replace(CPU, model=str(write_xl_model(tmp_path / "xl")), refiner=refiner)
    loaded = engine.load(spec)
    job = cached_job(2, num_inference_steps=10, spec=spec, refiner_at=0.6)
    with (
        calls_of(loaded.pipeline.unet) as base,
        calls_of(loaded.refiner.pipeline.unet) as refining,
    ):
        engine.generate_batch(loaded, [job])
    assert (base, refining) == ([6, 4], [4, 3])


def test_each_image_of_a_batch_is_as_near_to_that_alone_as_without(loaded: Any) -> None:
    jobs = [cached_job(2, index=i, prompt=p, seed=i) for i, p in enumerate(("a cat", "a red star"))]
    together = engine.generate_batch(loaded, jobs)
    for job, result in zip(jobs, together, strict=True):
        [alone] = engine.generate_batch(loaded, [job])
        difference = alone.pixels.astype(int) - result.pixels
        assert np.abs(difference).max() <= 1


def test_every_call_full_changes_nothing(loaded: Any) -> None:
    [plain] = engine.generate_batch(loaded, [make_job()])
    # 4 steps: the first three and the last two.
    [result] = engine.generate_batch(loaded, [make_job(feature_cache=2)])
    assert np.array_equal(result.pixels, plain.pixels)


def test_one_is_off(loaded: Any) -> None:
    unet = loaded.pipeline.unet
    before = describe(unet)
    with cached_features(unet, 1, lambda: (0, 1)):
        assert describe(unet) == before
