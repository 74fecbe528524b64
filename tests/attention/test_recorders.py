"""Recording attention and causal moves changes no bit of sdcli's own runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sdcli.attention import AttentionSelection
from sdcli.engine.recorders.attention import AttentionRecorder
from sdcli.engine.recorders.causal import CausalRecorder
from sdcli.engine.recorders.hooked import HookedRecorder
from sdcli.errors import SdcliError, UsageError
from sdcli.pipeline_spec import PipelineSpec
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest
from sdcli.result import GenerationResult, JobFailure
from sdcli.runner.loop import generate, iter_results
from tests.jobs import CPU
from tests.xl_models import write_refiner, write_xl_model

PROMPT = "a cat and a guitar on a blue background"


def record(
    requests: list[GenerationRequest], make: Any, batch_size: int = 1
) -> tuple[list[GenerationResult], list[Any]]:
    recorders: list[Any] = []

    def make_recorder(run: Any) -> Any:
        recorders.append(make(run))
        return recorders[-1]

    outcomes = list(
        iter_results(IterableSource(requests), batch_size=batch_size, recorders=[make_recorder])
    )
    for outcome in outcomes:
        if isinstance(outcome, JobFailure):
            raise outcome.error
    return outcomes, recorders


def request(**changes: Any) -> GenerationRequest:
    return GenerationRequest(
        **{"prompt": PROMPT, "spec": CPU, "seed": 7, "num_inference_steps": 3, **changes}
    )


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("inputs") / "cat.png"
    [result] = generate(request())
    Image.fromarray(result.pixels).save(path)
    return str(path)


@pytest.fixture(scope="module")
def mask_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("inputs") / "mask.png"
    pixels = np.zeros((128, 128), np.uint8)
    pixels[32:80, 16:80] = 255
    Image.fromarray(pixels).save(path)
    return str(path)


class _SecondFails(HookedRecorder):
    def __init__(self, unet: torch.nn.Module) -> None:
        super().__init__()
        self._unet = unet

    def hooks(self) -> Iterator[Any]:
        yield self._unet.register_forward_hook(lambda *_: None)
        raise UsageError("the second hook", code="usage.test")


def test_no_hook_stays_when_a_later_one_fails() -> None:
    unet = torch.nn.Linear(1, 1)
    with pytest.raises(UsageError, match="the second hook"), _SecondFails(unet):
        pass
    assert not unet._forward_hooks


SETUPS: dict[str, tuple[dict[str, Any], int]] = {
    "guidance": ({}, 3),
    "no guidance": ({"guidance_scale": 1.0}, 3),
    "guidance in a part of the run": ({"guidance_from": 0.3, "guidance_to": 0.7}, 3),
    "clip skip": ({"clip_skip": 1}, 3),
    "two calls a step": ({"scheduler": "heun"}, 5),
    "odd size": ({"width": 72, "height": 40}, 3),
    "syntax in the negative prompt": ({"negative_prompt": "a (dog:1.2) [red|blue]"}, 3),
    "long negative prompt": ({"negative_prompt": "a dog " * 40}, 3),
    "ancestral": ({"scheduler": "euler a"}, 3),
    "image": ({"image": "picture", "strength": 0.7}, 2),
    "mask": ({"image": "picture", "mask": "mask_image", "strength": 1.0}, 3),
    "masked area": ({"image": "picture", "mask": "mask_image", "inpaint_area": "mask"}, 2),
}


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", SETUPS)
def test_recording_changes_no_bit(name: str, request: pytest.FixtureRequest) -> None:
    fields, calls = SETUPS[name]
    paths = {"picture", "mask_image"}
    values = {k: request.getfixturevalue(v) if v in paths else v for k, v in fields.items()}
    wanted = globals()["request"](**values)
    selection = AttentionSelection(heads=True, by_step=True, patch=(10, 20))
    [expected] = generate(wanted)
    [seen], [recorder] = record([wanted], lambda run: AttentionRecorder(run, selection))
    assert np.array_equal(seen.pixels, expected.pixels)
    maps = recorder.maps_of(0)
    assert set(maps.layers.values()) == {calls}
    assert sum(maps.shares.values()) == pytest.approx(1.0, abs=1e-5)
    assert sorted(maps.by_step) == list(range(1, calls + 1))
    assert maps.patch is not None
    assert maps.patch.sum() == pytest.approx(1.0, abs=1e-5)
    [moved], [causal] = record(
        [wanted], lambda run: CausalRecorder(run, AttentionSelection(words=("cat",)), {})
    )
    assert np.array_equal(moved.pixels, expected.pixels)
    [cat] = causal.causal_maps()
    assert cat.map.shape == (expected.job.height // 8, expected.job.width // 8)
    assert cat.map.min() >= 0 < cat.share


def test_averages_are_those_of_steps_and_heads() -> None:
    selection = AttentionSelection(heads=True, by_step=True)
    _, [recorder] = record([request()], lambda run: AttentionRecorder(run, selection))
    maps = recorder.maps_of(0)
    steps = np.mean(list(maps.by_step.values()), axis=0)
    heads = np.mean(list(maps.by_head.values()), axis=0)
    assert np.allclose(maps.maps, steps, atol=1e-6)
    assert np.allclose(maps.maps, heads, atol=1e-6)
    # 9 words of one token each, between the start and the end token.
    assert maps.maps.shape == (11, 8, 8)
    words = maps.maps[1:10].sum(0).mean()
    assert maps.shares["words"] == pytest.approx(words, abs=1e-5)


def test_selected_steps_are_those_of_a_run_of_all() -> None:
    _, [every] = record(
        [request()], lambda run: AttentionRecorder(run, AttentionSelection(by_step=True))
    )
    _, [one] = record(
        [request()], lambda run: AttentionRecorder(run, AttentionSelection(steps=(2,)))
    )
    assert np.array_equal(one.maps_of(0).maps, every.maps_of(0).by_step[2])


@pytest.mark.parametrize(
    ("layers", "count", "grid"),
    [((), 2, (8, 8)), (("all",), 4, (8, 8)), (("mid",), 1, (4, 4)), (("down", "mid"), 2, (8, 8)),
     (("up_blocks.1.attentions.0",), 1, (8, 8))],
)  # fmt: skip
def test_layers_are_selected_by_name(
    layers: tuple[str, ...], count: int, grid: tuple[int, int]
) -> None:
    selection = AttentionSelection(layers=layers)
    _, [recorder] = record([request()], lambda run: AttentionRecorder(run, selection))
    maps = recorder.maps_of(0)
    assert len(maps.layers) == count
    assert maps.maps.shape[1:] == grid


def test_images_of_a_batch_have_the_maps_that_they_have_alone() -> None:
    requests = [request(), request(prompt="a fish", seed=3)]

    def make(run: Any) -> AttentionRecorder:
        return AttentionRecorder(run, AttentionSelection(by_step=True))

    _, [batch] = record(requests, make, batch_size=2)
    for image, single in enumerate(requests):
        _, [alone] = record([single], make)
        expected, maps = alone.maps_of(0), batch.maps_of(image)
        assert maps.words == expected.words
        assert np.allclose(maps.maps, expected.maps, atol=1e-5)
        assert maps.shares == pytest.approx(expected.shares, abs=1e-4)


def test_sdxl_and_its_refiner_are_measured(tmp_path: Path) -> None:
    spec = PipelineSpec(
        model=str(write_xl_model(tmp_path / "xl")),
        refiner=str(write_refiner(tmp_path / "refiner")),
        device="cpu",
        dtype="float32",
    )
    wanted = request(spec=spec, width=64, height=64, num_inference_steps=4, refiner_at=0.5)
    [expected] = generate(wanted)
    selection = AttentionSelection(layers=("all",), by_step=True)
    [seen], [recorder] = record([wanted], lambda run: AttentionRecorder(run, selection))
    assert np.array_equal(seen.pixels, expected.pixels)
    maps = recorder.maps_of(0)
    assert sorted(maps.by_step) == [1, 2, 3, 4]
    assert any(name.startswith("refiner.") for name in maps.layers)
    assert sum(maps.shares.values()) == pytest.approx(1.0, abs=1e-5)
    [moved], [causal] = record(
        [wanted], lambda run: CausalRecorder(run, AttentionSelection(words=("blue",)), {})
    )
    assert np.array_equal(moved.pixels, expected.pixels)
    assert causal.causal_maps()[0].share > 0


def test_a_causal_move_is_that_of_a_unet_call_by_hand() -> None:
    """The first call has the initial noise: the same two calls, made directly."""
    runs: list[Any] = []

    def make(run: Any) -> CausalRecorder:
        runs.append(run)
        selection = AttentionSelection(words=("cat",), steps=(1,))
        return CausalRecorder(run, selection, {"cat": "dog"})

    wanted = request(guidance_scale=1.0)
    [result], [recorder] = record([wanted], make)
    [cat] = recorder.causal_maps()
    loaded, encoder = runs[0].loaded, runs[0].loaded.prompt_encoder
    noise = torch.randn((1, 4, 16, 16), generator=torch.Generator("cpu").manual_seed(7))
    with torch.no_grad():
        own, other = (
            loaded.pipeline.unet(
                noise, result.run.timesteps[0], encoder.encode(prompt).embeds
            ).sample
            for prompt in (PROMPT, PROMPT.replace("cat", "dog"))
        )
    move = (other - own)[0]
    assert np.allclose(cat.map, move.norm(dim=0).numpy(), atol=1e-5)
    assert cat.share == pytest.approx(float(move.norm() / own.norm()), abs=1e-5)
    assert cat.replacements == ("dog",)


@pytest.mark.parametrize(
    ("selection", "code", "words"),
    [
        (AttentionSelection(words=("dog",)), "usage.words", "no word 'dog'"),
        (AttentionSelection(steps=(4,)), "usage.at_steps", "no step 4, this run has 3"),
        (AttentionSelection(layers=("sideways",)), "usage.layers", "no cross-attention layers"),
        (AttentionSelection(patch=(128, 0)), "usage.self", "outside of the image of 128x128"),
    ],
)
def test_what_a_run_does_not_have_is_an_error(
    selection: AttentionSelection, code: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as error:
        record([request()], lambda run: AttentionRecorder(run, selection))
    assert error.value.code == code
    assert error.value.hint or code != "usage.words"


def test_a_model_that_was_compiled_is_refused_before_the_run(loaded_copy: Any) -> None:
    with pytest.raises(SdcliError, match="compiled"):
        record([request(spec=loaded_copy)], lambda run: _compiled(run))


def _compiled(run: Any) -> AttentionRecorder:
    run.loaded.pipeline.unet.compile(backend="eager")
    return AttentionRecorder(run, AttentionSelection())


@pytest.fixture
def loaded_copy() -> Iterator[PipelineSpec]:
    """A spec of its own, whose pipeline is forgotten afterwards."""
    from sdcli.runner.pipeline_cache import DEFAULT_CACHE

    DEFAULT_CACHE.clear()
    yield CPU
    DEFAULT_CACHE.clear()
