"""Measure the few-step LoRA against the model's defaults, and against as few steps without it.

The prompts are the held-out ones of `evaluate`, and the judge is the package's. PSNR is that of an
image to the one of the same seed with the model's defaults. Run as
``python -m sdcli.training.evaluate_fast``.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import diffusers
import numpy as np

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.engine.judge import Judge, load_judge
from sdcli.numerics.metrics import psnr
from sdcli.training.contact_sheet import contact_sheet
from sdcli.training.evaluate import MODEL, EvaluatedModel, Levels, select_cases
from sdcli.training.evaluate_flag import add_lora
from sdcli.training.export import DEFAULTS
from sdcli.training.heldout import Case

SEED = 100_000
SHEET_CASES = 12


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to draw: a scheduler by its name, steps and guidance, perhaps with the LoRA."""

    scheduler: str
    steps: int
    guidance: float
    has_lora: bool = False

    def __str__(self) -> str:
        lora = ", with the LoRA" if self.has_lora else ""
        return f"{self.steps} steps of {self.scheduler}, guidance {self.guidance:g}{lora}"


DEFAULT_WAY = Way(
    scheduler=str(DEFAULTS["scheduler"]),
    steps=int(str(DEFAULTS["num_inference_steps"])),
    guidance=float(str(DEFAULTS["guidance_scale"])),
)
PLAIN_WAYS = tuple(
    Way(scheduler=scheduler, steps=4, guidance=guidance)
    for scheduler, guidance in (
        ("DPM++ 2M", 3.0),
        ("DPM++ 2M;timestep_spacing=trailing", 3.0),
        ("UniPC", 3.0),
        ("DDIM;timestep_spacing=trailing", 3.0),
        ("DDIM;timestep_spacing=trailing", 1.0),
    )
)


def fast_way(steps: int) -> Way:
    """Return how the LoRA is used."""
    return Way(scheduler="DDIM;timestep_spacing=trailing", steps=steps, guidance=1, has_lora=True)


def draw(model: EvaluatedModel, way: Way, prompts: list[str], seed: int) -> list[Levels]:
    """Return an image for each prompt; the LoRA is in the model already, or not."""
    choice = resolve_scheduler(way.scheduler).choice
    scheduler = getattr(diffusers, str(choice.class_name))
    config = model.pipeline.scheduler.config
    model.pipeline.scheduler = scheduler.from_config(config, **dict(choice.config))
    model.steps, model.guidance = way.steps, way.guidance
    return model.generate(prompts, seed)


def share_right(judge: Judge, cases: list[Case], images: list[Levels]) -> float:
    """Return the share of images with the right objects in their places, and background."""
    return float(np.mean([_is_right(judge, c, i) for c, i in zip(cases, images, strict=True)]))


def _is_right(judge: Judge, case: Case, image: Levels) -> bool:
    expected = [placement.concept for placement in case.scene.placements]
    objects = judge.classify_objects(image, case.scene.layout, len(expected))
    return objects == expected and judge.classify_background(image) == case.scene.background


def mean_psnr(images: list[Levels], others: list[Levels]) -> float:
    """Return the mean PSNR in dB of pairs of images."""
    return float(np.mean([psnr(a, b) for a, b in zip(images, others, strict=True)]))


def main() -> None:
    """Parse the command line, measure and print a row for each way to draw."""
    parser = argparse.ArgumentParser(prog="python -m sdcli.training.evaluate_fast")
    parser.add_argument("--lora", type=Path, default=Path(f"{MODEL}-loras") / "fast.safetensors")
    parser.add_argument("--steps", type=int, nargs="*", default=[4], help="steps with the LoRA")
    parser.add_argument("--cases", type=int, default=10_000, help="prompts at most")
    parser.add_argument("--tuning", action="store_true", help="the prompts for choosing settings")
    parser.add_argument("--no-plain", action="store_true", help="leave out 4 steps without it")
    parser.add_argument("--sheet", type=Path, help="write images without and with the LoRA")
    args = parser.parse_args()
    cases = select_cases(tuning=args.tuning)
    cases = cases[:: max(1, len(cases) // args.cases)][: args.cases]
    prompts, judge = [case.prompt for case in cases], load_judge()
    model = EvaluatedModel(MODEL, DEFAULT_WAY.steps, DEFAULT_WAY.guidance)
    reference = draw(model, DEFAULT_WAY, prompts, SEED)
    ways = [*(() if args.no_plain else PLAIN_WAYS), *map(fast_way, args.steps)]
    columns = [reference]
    print(f"{DEFAULT_WAY}: {share_right(judge, cases, reference):.1%} right")
    is_added = False
    for way in ways:
        if way.has_lora and not is_added:
            add_lora(model, args.lora)
            is_added = True
        images = draw(model, way, prompts, SEED)
        right, distance = share_right(judge, cases, images), mean_psnr(images, reference)
        columns.append(images)
        print(f"{way}: {right:.1%} right, {distance:.1f} dB", flush=True)
    if args.sheet:
        shown = range(0, len(cases), max(1, len(cases) // SHEET_CASES))
        tiles = [(cases[i].prompt, images[i]) for i in shown for images in columns]
        contact_sheet(tiles, args.sheet, len(columns))


if __name__ == "__main__":
    main()
