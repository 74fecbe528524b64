"""Scenes to test with."""

from __future__ import annotations

from sdcli.training.scenes import Placement, Scene


def red_circle(size: int = 80, left: int = 24) -> Scene:
    """A red circle on a blue background."""
    box = Placement(concept="red circle", left=left, top=24, size=size)
    return Scene(placements=(box,), layout="single", background="blue")


def scene_of(*concepts: str) -> Scene:
    """Some objects on a white background, all in the same box."""
    boxes = tuple(Placement(concept=name, left=0, top=0, size=64) for name in concepts)
    return Scene(placements=boxes, layout="row", background="white")
