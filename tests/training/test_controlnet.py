"""The training of the ControlNets, and the measures of what they do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from sdcli.storage.images.edges import find_edges
from sdcli.training import controlnet
from sdcli.training.control_agreement import (
    edge_agreement,
    fill_holes,
    find_silhouette,
    map_agreement,
)
from sdcli.training.control_scenes import arrange_freely, draw_map, draw_shapes_for
from sdcli.training.controlnet import ControlStage, build_controlnet
from sdcli.training.evaluate import MODEL
from sdcli.training.evaluate_controls import edge_cases, layout_cases
from sdcli.training.loop import StepRandom
from sdcli.training.scenes import LAYOUTS, Scene, is_held_out, render, sample
from sdcli.training.sprites import Sprites
from tests.training.example_scenes import red_circle

SEEDS = st.integers(0, 2**32)


@given(SEEDS, st.sampled_from(sorted(LAYOUTS)))
def test_objects_lie_anywhere_in_the_order_of_captions(seed: int, layout: str) -> None:
    rng = np.random.default_rng(seed)
    boxes = arrange_freely(rng, sample(rng, layout=layout)).placements
    for box in boxes:
        assert min(box.left, box.top) >= 0
        assert max(box.left, box.top) + box.size <= 128
    edges = [box.top if layout == "column" else box.left for box in boxes]
    assert edges == sorted(edges)


def test_a_map_is_white_where_an_object_is(shapes: Sprites) -> None:
    scene = red_circle()
    image, drawn = render(scene, shapes), draw_map(scene, shapes)
    changed = (image != image[0, 0]).any(-1)
    assert changed[drawn == 255].all()
    assert not changed[drawn == 0].any()
    assert map_agreement(image, drawn) > 0.97
    # The ellipse that is as wide and high as a circle is the circle.
    assert map_agreement(image, draw_shapes_for(scene, shapes)) > 0.95


@given(SEEDS)
def test_inexact_maps_are_near_the_object(shapes: Sprites, seed: int) -> None:
    scene = red_circle()
    exact, drawn = (draw_map(scene, shapes, rng) for rng in (None, np.random.default_rng(seed)))
    assert drawn.shape == (128, 128)
    assert (exact[drawn > 127] > 127).mean() > 0.7
    assert (drawn[exact > 127] > 127).mean() > 0.7


def _moved(scene: Scene, pixels: int) -> Scene:
    box = scene.placements[0]
    return replace(scene, placements=(replace(box, left=box.left + pixels),))


def test_agreement_falls_with_the_distance(shapes: Sprites) -> None:
    scene = replace(red_circle(), background="white")
    image, drawn = render(scene, shapes), draw_map(scene, shapes)
    moved = [render(_moved(scene, pixels), shapes) for pixels in (0, 2, 8, 16)]
    overlaps = [map_agreement(other, drawn) for other in moved]
    assert overlaps == sorted(overlaps, reverse=True)
    assert overlaps[-1] < 0.8
    edges = find_edges(image)[..., 0]
    scores = [edge_agreement(other, edges) for other in moved]
    assert scores[0] == 1
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.3
    assert edge_agreement(np.zeros_like(image), edges) == 0


def test_holes_are_filled() -> None:
    ring = np.zeros((9, 9), bool)
    ring[2:7, 2:7] = True
    ring[4, 4] = False
    assert fill_holes(ring).sum() == 25
    assert not find_silhouette(np.full((128, 128, 3), 7, np.uint8)).any()


def test_scenes_that_are_measured_were_not_learned(monkeypatch, shapes: Sprites) -> None:
    monkeypatch.setattr("sdcli.training.scenes.OBJECTS", ())
    monkeypatch.setattr("sdcli.training.scenes._random_object", _random_shape)
    learned = [controlnet._make_scene(index) for index in range(200)]
    assert not any(map(is_held_out, learned))
    cases = layout_cases(shapes, 6)
    assert cases[0].prompt == layout_cases(shapes, 6, by_hand=True)[0].prompt
    assert all(map_agreement(case.drawing, case.control) >= 0.93 for case in cases)
    # Canny sees no edges between colors of equal brightness.
    visible = [case for case in edge_cases(shapes, 6) if case.control.any()]
    assert len(visible) > 3
    assert all(edge_agreement(case.drawing, case.control) == 1 for case in visible)


def _random_shape(rng: np.random.Generator) -> str:
    from sdcli.training.concepts import COLORED_SHAPES

    return COLORED_SHAPES[int(rng.integers(len(COLORED_SHAPES)))].name


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> ControlStage:
    """A stage with a few examples of random numbers."""
    folder = tmp_path_factory.mktemp("controls")
    random = StepRandom(0, 0, 0)
    torch.save(
        {
            "latents": random.normal(4, 4, 16, 16).half(),
            "embeddings": random.normal(4, 77, 128).half(),
            "layout": torch.full((4, 128, 128), 255, dtype=torch.uint8),
            "edges": torch.zeros(4, 128, 128, dtype=torch.uint8),
        },
        folder / "controls.pt",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(controlnet, "SCENES", 4)
        patch.setattr(ControlStage, "batch", 4)
        stage = ControlStage(folder)
        stage.first_loss, _ = stage.loss(StepRandom(1, 0, 0), 0.0, 0)
        stage.first_loss.backward()
    return stage


def test_a_new_controlnet_changes_nothing_and_can_learn(stage: ControlStage) -> None:
    image = torch.rand(1, 3, 128, 128)
    noisy, words = torch.randn(1, 4, 16, 16), torch.randn(1, 77, 128)
    with torch.no_grad():
        down, middle = stage.net(noisy, 500, words, image, return_dict=False)
    assert not any(part.any() for part in (*down, middle))
    assert all(p.grad is None for p in stage.unet.parameters())
    zero = {n: p for n, p in stage.net.named_parameters() if n.startswith("controlnet_down")}
    assert all(p.grad is not None and p.grad.any() for p in zero.values())


def test_the_weights_are_those_of_the_unet(stage: ControlStage) -> None:
    own = UNet2DConditionModel.from_pretrained(MODEL, subfolder="unet", dtype=torch.float32)
    shared = set(own.state_dict()) & set(build_controlnet(own).state_dict())
    assert len(shared) == 80
    state = stage.net.state_dict()
    assert all(torch.equal(own.state_dict()[name], state[name]) for name in shared)


def test_the_result_is_written_in_half_precision(stage: ControlStage, tmp_path: Path) -> None:
    state = {"controlnet": stage.net.state_dict()}
    torch.save(state, tmp_path / "controlnet_layout.pt")
    controlnet.export_controlnet(tmp_path, ControlStage, tmp_path / "layout")
    weights = tmp_path / "layout" / "diffusion_pytorch_model.safetensors"
    assert weights.stat().st_size < 3.3e6
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.half}
    assert controlnet.ControlNetModel.from_pretrained(weights.parent).config.in_channels == 4
