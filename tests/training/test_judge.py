"""The judge."""

from __future__ import annotations

import numpy as np
import torch

from sdcli.engine.judge import SIDE, Classifier, crop_boxes, crops
from sdcli.training.judge import NOTHING, random_example
from sdcli.training.scenes import sample
from sdcli.training.sprites import Sprites


def test_every_object_is_in_its_crop() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        scene = sample(rng)
        boxes = crop_boxes(scene.layout, len(scene.placements))
        assert len(boxes) == len(scene.placements)
        for box, (left, top, side) in zip(scene.placements, boxes, strict=True):
            assert left <= box.left
            assert top <= box.top
            assert box.left + box.size <= left + side
            assert box.top + box.size <= top + side
        assert crops(torch.zeros(3, 128, 128), boxes).shape[1:] == (3, 40, 40)


class AnyShape(Sprites):
    """Red circles for all objects, which need no download."""

    def __call__(self, name: str, size: int):
        return super().__call__("red circle", size)


def test_examples_have_an_image_and_a_class(shapes: Sprites) -> None:
    rng = np.random.default_rng(0)
    sprites = AnyShape(shapes._masters)
    labels = set()
    for _ in range(200):
        pixels, label = random_example(rng, sprites)
        assert pixels.shape == (SIDE, SIDE, 3)
        assert 0 <= pixels.min() <= pixels.max() <= 1.001
        labels.add(label)
    assert NOTHING in labels
    assert len(labels) > 50


def test_the_classifier_has_a_class_for_nothing() -> None:
    with torch.no_grad():
        assert Classifier(NOTHING + 1)(torch.zeros(2, 3, SIDE, SIDE)).shape == (2, NOTHING + 1)
