"""Measure how much of an image of the embedded model is what its prompt says."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from sdcli.pipeline_spec import EMBEDDED
from sdcli.prompts.scene import PromptScene, parse_scene

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdcli.engine.judge import Judge

PROMPT_MATCH: Final = "prompt_match"
SIDE: Final = 128
"""Width and height of the images that the judge knows."""


def scene_of(model: object, prompt: object, width: int, height: int) -> PromptScene | None:
    """Return what an image of that size should show, None for one that cannot be judged."""
    if model != EMBEDDED or (width, height) != (SIDE, SIDE) or not isinstance(prompt, str):
        return None
    return parse_scene(prompt)


class PromptJudge:
    """The judge of the embedded model, which is loaded when the first image is judged."""

    def judge(self, scene: PromptScene, pixels: NDArray[np.uint8]) -> dict[str, Any]:
        """Return what an image was expected to show, what the judge recognized, and their match."""
        found = self._judge.classify_objects(pixels, scene.layout, len(scene.objects))
        background = self._judge.classify_background(pixels)
        hits = [a == b for a, b in zip(found, scene.objects, strict=True)]
        hits.append(background == scene.background)
        return {
            PROMPT_MATCH: sum(hits) / len(hits),
            "expected": [*scene.objects, f"{scene.background} background"],
            "found": [*found, f"{background} background"],
        }

    @cached_property
    def _judge(self) -> Judge:
        # Only images of the embedded model need torch.
        from sdcli.engine.judge import load_judge

        return load_judge()
