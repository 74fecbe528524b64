"""Measure images, without a reference or against one, and find duplicates."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.errors import CorruptError, UsageError
from sdcli.fields.prompt import A1111, COMPEL, PLAIN
from sdcli.numerics.image_quality import saturation, sharpness
from sdcli.numerics.metrics import psnr, ssim
from sdcli.prompts.scene import PromptScene
from sdcli.prompts.syntax.compel import compel_words
from sdcli.prompts.syntax.removal import remove_syntax
from sdcli.storage.images import perceptual_hash
from sdcli.storage.images.codec import read_image_info
from sdcli.storage.images.pixels import read_pixels
from sdcli.storage.metadata.record import pixels_sha256
from sdcli.storage.metadata.scores import read_scores
from sdcli.workflows.image_settings import read_settings
from sdcli.workflows.prompt_match import PROMPT_MATCH, PromptJudge, scene_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdcli.checkpoints.clip_model import ClipFiles
    from sdcli.engine.clip import ClipScorer
    from sdcli.storage.images.perceptual_hash import Appearance

SCHEMA: Final = "sdcli/scored/1"
_MIN_WINDOW: Final = 11
CLIP_SCORE: Final = "clip_score"
METRICS: Final = (PROMPT_MATCH, "sharpness", "saturation")
REFERENCE_METRICS: Final = ("psnr", "ssim")


@dataclass(kw_only=True)
class ScoredImage:
    """An image with its scores by metric; `judged` is what the judge saw, None if it saw nothing.

    A metric that does not apply to the image is None. `duplicate_of` is an earlier image that looks
    the same.
    """

    path: Path
    info: Mapping[str, Any]
    pixels_sha256: str
    scores: dict[str, float | None]
    judged: dict[str, Any] | None
    appearance: Appearance | None
    duplicate_of: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """The image as JSON; an infinite PSNR, of identical images, is null."""
        return {
            "path": str(self.path),
            "pixels_sha256": self.pixels_sha256,
            **self.finite_scores(),
            "judged": self.judged,
            "phash": f"{self.appearance.phash:016x}" if self.appearance else None,
            "duplicate_of": None if self.duplicate_of is None else str(self.duplicate_of),
        }

    def finite_scores(self) -> dict[str, float | None]:
        """The scores as JSON numbers, rounded to six digits."""
        return {
            name: None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
            for name, value in self.scores.items()
        }


@dataclass(kw_only=True)
class Scorer:
    """Measure images one by one. `metrics` are the names of those to compute.

    With `clip`, its score is another one. With `uses_sidecars`, the scores in a sidecar are taken,
    and only others are measured. `warn` is called for an image that cannot be read, or to which the
    reference does not apply.
    """

    metrics: Collection[str] = METRICS
    reference: Path | None = None
    clip: ClipFiles | None = None
    uses_sidecars: bool = False
    warn: Callable[[str], None] = lambda text: None
    with_hash: bool = field(default_factory=perceptual_hash.is_available)
    _judge: PromptJudge = field(default_factory=PromptJudge)

    def score(self, path: Path, info: Mapping[str, Any], pixels: NDArray[np.uint8]) -> ScoredImage:
        """Measure an image with these `info` and pixels. Raises the errors of a damaged model."""
        digest = pixels_sha256(pixels)
        known = read_scores(path, digest) if self.uses_sidecars else {}
        missing = [name for name in self.metrics if name not in known]
        scene = _recorded_scene(info["record"], pixels) if PROMPT_MATCH in missing else None
        judged = self._judge.judge(scene, pixels) if scene else None
        measures: dict[str, Callable[[], float | None]] = {
            PROMPT_MATCH: lambda: judged[PROMPT_MATCH] if judged else None,
            "sharpness": lambda: sharpness(pixels),
            "saturation": lambda: saturation(pixels),
        }
        scores = {name: measure() for name, measure in measures.items() if name in missing}
        return ScoredImage(
            path=path,
            info=info,
            pixels_sha256=digest,
            scores=known
            | scores
            | self._score_with_clip(path, info, pixels)
            | self._compare_with_reference(path, pixels),
            judged=judged,
            appearance=perceptual_hash.describe(pixels) if self.with_hash else None,
        )

    @cached_property
    def _clip_scorer(self) -> ClipScorer:
        from sdcli.engine.clip import ClipScorer

        assert self.clip is not None
        return ClipScorer(self.clip)

    @cached_property
    def _reference_pixels(self) -> NDArray[np.uint8] | None:
        return None if self.reference is None else read_pixels(self.reference)[0]

    def _score_with_clip(
        self, path: Path, info: Mapping[str, Any], pixels: NDArray[np.uint8]
    ) -> dict[str, float | None]:
        if self.clip is None:
            return {}
        words = _recorded_words(path, info)
        return {CLIP_SCORE: self._clip_scorer.score(words, pixels) if words else None}

    def _compare_with_reference(
        self, path: Path, pixels: NDArray[np.uint8]
    ) -> dict[str, float | None]:
        reference = self._reference_pixels
        if reference is None:
            return {}
        if reference.shape != pixels.shape:
            sizes = [f"{x.shape[1]}x{x.shape[0]}" for x in (pixels, reference)]
            self.warn(f"{path}: {sizes[0]}, and the reference has {sizes[1]}: not compared")
            return dict.fromkeys(REFERENCE_METRICS)
        has_window = min(pixels.shape[:2]) >= _MIN_WINDOW
        return {
            "psnr": psnr(pixels, reference),
            "ssim": ssim(pixels, reference) if has_window else None,
        }


def score_images(paths: Sequence[Path], scorer: Scorer) -> list[ScoredImage]:
    """Measure images, without those that cannot be read. Raises UsageError when none is left."""
    scored = []
    for path in paths:
        try:
            info, (pixels, _) = read_image_info(path, with_hash=False), read_pixels(path)
        except (CorruptError, UsageError) as error:
            scorer.warn(f"left out: {error.message}")
            continue
        scored.append(scorer.score(path, info, pixels))
    if not scored:
        raise UsageError("none of the images can be read", code="usage.no_images")
    return scored


def mark_duplicates(images: Sequence[ScoredImage], max_distance: int) -> None:
    """Set `duplicate_of` of each image that looks like an earlier one, which is none itself.

    Identical pixels are duplicates also without a hash.
    """
    originals: list[ScoredImage] = []
    for image in images:
        original = next((o for o in originals if _are_alike(image, o, max_distance)), None)
        image.duplicate_of = original.path if original else None
        if original is None:
            originals.append(image)


def _are_alike(first: ScoredImage, second: ScoredImage, max_distance: int) -> bool:
    if first.pixels_sha256 == second.pixels_sha256:
        return True
    if first.appearance is None or second.appearance is None:
        return False
    return first.appearance.is_like(second.appearance, max_distance)


def _recorded_words(path: Path, info: Mapping[str, Any]) -> str:
    """The words of the prompt of an image, whichever program made it, "" if it has none."""
    settings = read_settings(path, info)[1]
    prompt = str(settings.get("prompt") or "")
    # A record without a syntax had none to choose.
    default = PLAIN if info["record"] else A1111
    syntax = settings.get("prompt_syntax", default)
    if syntax == PLAIN:
        return prompt
    words = compel_words(prompt) if syntax == COMPEL else remove_syntax(prompt)
    return " ".join(words.split())


def _recorded_scene(record: Any, pixels: NDArray[np.uint8]) -> PromptScene | None:
    """The scene that an image should show, None for one that the judge cannot judge."""
    request = record["request"] if record else {}
    height, width = pixels.shape[:2]
    return scene_of(request.get("model"), request.get("prompt"), width, height)
