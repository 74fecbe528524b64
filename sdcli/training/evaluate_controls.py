"""Measure how well the images of the embedded model follow the ControlNets that come with it.

The scenes have a pair of objects, or an object and a background, that is held out from training,
and their objects lie anywhere. Run as ``python -m sdcli.training.evaluate_controls``.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from numpy.typing import NDArray
from PIL import Image

from sdcli.storage.images.edges import find_edges
from sdcli.training.autoencoder import psnr, to_tensor
from sdcli.training.concepts import COLORS, CONCEPTS
from sdcli.training.contact_sheet import contact_sheet
from sdcli.training.control_agreement import edge_agreement, map_agreement
from sdcli.training.control_scenes import arrange_freely, draw_map, draw_shapes_for
from sdcli.training.evaluate import BATCH, MODEL, EvaluatedModel, reconstruct
from sdcli.training.export import DEFAULTS
from sdcli.training.heldout import background_phrase, noun_phrase
from sdcli.training.scenes import Scene, render, sample_held_out
from sdcli.training.sprites import Sprites, load_sprites

SEED = 400_000
LEAST_AGREEMENT = 0.93
"""Agreement of the true drawing with its own map; a scene with less says nothing of the network."""

_LAYOUTS = ("single", "single", "row", "column")
Levels = NDArray[np.uint8]
Measure = Callable[[Levels, Levels], float]


@dataclass(frozen=True, kw_only=True)
class ControlCase:
    """A prompt with its control image (128, 128) and the image that both describe."""

    prompt: str
    control: Levels
    drawing: Levels


def layout_cases(sprites: Sprites, count: int, *, by_hand: bool = False) -> list[ControlCase]:
    """Return scenes on plain colors with their maps, which are ellipses if drawn ``by_hand``."""
    cases = []
    for scene in _scenes():
        drawing, control = render(scene, sprites), draw_map(scene, sprites)
        if scene.background in COLORS and map_agreement(drawing, control) >= LEAST_AGREEMENT:
            control = draw_shapes_for(scene, sprites) if by_hand else control
            cases.append(ControlCase(prompt=_prompt(scene), control=control, drawing=drawing))
        if len(cases) == count:
            return cases
    raise AssertionError("scenes are endless")


def edge_cases(sprites: Sprites, count: int) -> list[ControlCase]:
    """Return scenes on any background with their edges."""
    return [
        ControlCase(prompt=_prompt(scene), control=find_edges(drawing)[..., 0], drawing=drawing)
        for scene, _ in zip(_scenes(), range(count), strict=False)
        for drawing in [render(scene, sprites)]
    ]


def _scenes() -> Iterator[Scene]:
    rng = np.random.default_rng(SEED)
    while True:
        for layout in _LAYOUTS:
            yield arrange_freely(rng, sample_held_out(rng, layout=layout))


def _prompt(scene: Scene) -> str:
    nouns = [noun_phrase(CONCEPTS[placement.concept]) for placement in scene.placements]
    between = " above " if scene.layout == "column" else " and "
    return f"{between.join(nouns)} {background_phrase(scene.background)}"


class ControlledModel(EvaluatedModel):
    """The model with a ControlNet, or without one for a comparison."""

    def __init__(
        self, network: Path | None, steps: int, guidance: float, scale: float = 1.0
    ) -> None:
        """Load the model and the ControlNet in the folder ``network``."""
        super().__init__(MODEL, steps, guidance)
        self.controlled, self.scale = None, scale
        if network:
            net = ControlNetModel.from_pretrained(network, dtype=torch.float32)
            self.controlled = StableDiffusionControlNetPipeline(
                **self.pipeline.components, controlnet=net, requires_safety_checker=False
            )
            self.controlled.set_progress_bar_config(disable=True)

    def draw(self, cases: list[ControlCase], seed: int) -> list[Levels]:
        """Return an image for each case; that of case i has seed ``seed`` + i."""
        if self.controlled is None:
            return self.generate([case.prompt for case in cases], seed)
        images: list[Levels] = []
        for start in range(0, len(cases), BATCH):
            batch = cases[start : start + BATCH]
            output = self.controlled(
                [case.prompt for case in batch],
                image=[Image.fromarray(case.control).convert("RGB") for case in batch],
                controlnet_conditioning_scale=self.scale,
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                generator=[
                    torch.Generator().manual_seed(seed + start + i) for i in range(len(batch))
                ],
            )
            images += [np.asarray(image) for image in output.images]
        return images


def describe(cases: list[ControlCase], images: list[Levels], measure: Measure) -> str:
    """Return the agreement of images with their control images, as text."""
    values = [measure(image, case.control) for case, image in zip(cases, images, strict=True)]
    distance = psnr(to_tensor(images), to_tensor([case.drawing for case in cases]))
    return (
        f"agreement {np.mean(values):.3f}, worst tenth {np.quantile(values, 0.1):.3f}, "
        f"PSNR to the drawing {distance.mean():.1f} dB"
    )


def main() -> None:
    """Parse the command line, measure and print the figures."""
    args = _build_parser().parse_args()
    sprites = load_sprites(args.folder)
    plain = ControlledModel(None, args.steps, args.guidance)
    for name in ("layout", "edges"):
        network = args.networks / name
        if not network.exists():
            continue
        kinds = _kinds(name, sprites, args.images)
        # All kinds have the same prompts.
        without = plain.draw(next(iter(kinds.values()))[0], SEED)
        model = ControlledModel(network, args.steps, args.guidance, args.scale)
        for label, (cases, measure) in kinds.items():
            images = model.draw(cases, SEED)
            drawings = reconstruct(plain, [case.drawing for case in cases])
            for word, shown in (
                ("true drawing through the VAE", drawings), ("without ControlNet", without),
                ("with ControlNet", images),
            ):  # fmt: skip
                print(f"{label}, {word}: {describe(cases, shown, measure)}", flush=True)
            if args.sheets:
                _write_sheet(cases, images, args.sheets / f"{label.replace(' ', '-')}.png")


def _kinds(name: str, sprites: Sprites, count: int) -> dict[str, tuple[list[ControlCase], Measure]]:
    """Return the cases of a ControlNet by what its control images are, with their measure."""
    if name == "edges":
        return {"edges": (edge_cases(sprites, count), edge_agreement)}
    return {
        "silhouettes": (layout_cases(sprites, count), map_agreement),
        "ellipses": (layout_cases(sprites, count, by_hand=True), map_agreement),
    }


def _write_sheet(cases: list[ControlCase], images: list[Levels], target: Path) -> None:
    pairs = [
        (text, np.stack([picture] * 3, -1) if picture.ndim == 2 else picture)
        for case, image in zip(cases[:18], images, strict=False)
        for text, picture in (("", case.control), (case.prompt, image))
    ]
    contact_sheet(pairs, target)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sdcli.training.evaluate_controls")
    parser.add_argument("--folder", type=Path, default=Path(".training"))
    parser.add_argument("--networks", type=Path, default=Path(f"{MODEL}-controlnets"))
    parser.add_argument("--images", type=int, default=48, help="images of each kind")
    parser.add_argument("--steps", type=int, default=DEFAULTS["num_inference_steps"])
    parser.add_argument("--guidance", type=float, default=DEFAULTS["guidance_scale"])
    parser.add_argument("--scale", type=float, default=1.0, help="of the ControlNets")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets")
    return parser


if __name__ == "__main__":
    main()
