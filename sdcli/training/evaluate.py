"""Evaluate the model: whether it draws what the prompt says, how well, and how fast.

The prompts are those of `heldout`. The images come from a plain Diffusers pipeline with the model's
own defaults. Run as ``python -m sdcli.training.evaluate``.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from numpy.typing import NDArray

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.engine.judge import Judge
from sdcli.training.__main__ import SECONDS
from sdcli.training.autoencoder import psnr, to_tensor
from sdcli.training.concepts import COLORS, CONCEPTS
from sdcli.training.contact_sheet import contact_sheet
from sdcli.training.export import DEFAULTS
from sdcli.training.heldout import TEST, TUNING, Case, background_phrase, build_cases, noun_phrase
from sdcli.training.judge import JudgeStage, load_trained_judge
from sdcli.training.loop import train
from sdcli.training.match_quality import best_psnr
from sdcli.training.report import Report, format_psnr_by_class, format_table, update_model_card
from sdcli.training.scenes import Scene, render, sample
from sdcli.training.sprites import Sprites, load_sprites

BATCH = 8
IMAGES_PER_CLASS = 4
POOR_PSNR = 19.0  # dB
SHEET_SEED = 24
SHEET_IMAGES = 36
MODEL = Path(__file__).parents[1] / "models" / "tiny-emoji-128"
Levels = NDArray[np.uint8]


class EvaluatedModel:
    """The model that is evaluated."""

    def __init__(self, model: Path, steps: int, guidance: float) -> None:
        """Load ``model`` with the scheduler of its defaults."""
        pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
        choice = resolve_scheduler(str(DEFAULTS["scheduler"])).choice
        scheduler = getattr(diffusers, str(choice.class_name))
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, **dict(choice.config))
        pipeline.set_progress_bar_config(disable=True)
        self.pipeline, self.steps, self.guidance = pipeline, steps, guidance

    def generate(self, prompts: list[str], seed: int) -> list[Levels]:
        """Return one image (128, 128, 3) for each prompt; image i has seed ``seed`` + i."""
        images: list[Levels] = []
        for start in range(0, len(prompts), BATCH):
            batch = prompts[start : start + BATCH]
            generators = [
                torch.Generator().manual_seed(seed + start + i) for i in range(len(batch))
            ]
            output = self.pipeline(
                batch,
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                generator=generators,
            )
            images += [np.asarray(image) for image in output.images]
        return images


def judge_cases(report: Report, judge: Judge, cases: list[Case], images: list[Levels]) -> None:
    """Compare what the judge sees in every image with the scene of its case."""
    for case, image in zip(cases, images, strict=True):
        expected = [placement.concept for placement in case.scene.placements]
        objects = judge.classify_objects(image, case.scene.layout, len(expected))
        background = judge.classify_background(image)
        if case.named:
            report.count("named background", background == case.scene.background)
        if case.kind == "unnamed":
            report.count("unnamed", background == "white")
        else:
            report.count(case.kind, objects == expected)
        if objects != expected or background != case.scene.background:
            report.misses.append(f"{case.prompt}: {', '.join(objects)} / {background}")


def measure_drawing(report: Report, model: EvaluatedModel, sprites: Sprites) -> None:
    """Measure the PSNR of every class alone, as the mean over several plain backgrounds.

    Also measures the share of images below ``POOR_PSNR``, which failed, for example because the
    object is smeared between two positions.
    """
    prompts = single_object_prompts()
    images = model.generate([prompt for _, prompt in prompts], seed=900_000)
    values: dict[str, list[float]] = defaultdict(list)
    for (name, _), image in zip(prompts, images, strict=True):
        values[name].append(best_psnr(image, name, sprites))
    report.psnr_by_class |= {name: float(np.mean(psnrs)) for name, psnrs in values.items()}
    means = report.psnr_by_class
    report.figures |= {
        "psnr_emoji": float(np.mean([v for name, v in means.items() if CONCEPTS[name].icon])),
        "psnr_shapes": float(np.mean([v for name, v in means.items() if CONCEPTS[name].shape])),
        "psnr_worst": min(means.values()),
        "share_poor": float(
            np.mean([value < POOR_PSNR for psnrs in values.values() for value in psnrs])
        ),
    }


def single_object_prompts() -> list[tuple[str, str]]:
    """Return (class, prompt) for every class on several plain backgrounds."""
    colors = list(COLORS)
    prompts = []
    for index, concept in enumerate(CONCEPTS.values()):
        # Each class begins at another color, so that all colors are used alike.
        backgrounds = [
            color for color in colors[index % len(colors) :] + colors if color != concept.color
        ]
        prompts += [
            (concept.name, f"{noun_phrase(concept)} {background_phrase(background)}")
            for background in backgrounds[:IMAGES_PER_CLASS]
        ]
    return prompts


def measure_vaes(report: Report, model: EvaluatedModel, folder: Path, sprites: Sprites) -> None:
    """Measure the PSNR of both VAEs on 64 new scenes. ``folder`` is the model's."""
    rng = np.random.default_rng(64_000)
    x = to_tensor([render(sample(rng), sprites) for _ in range(64)])
    vae = model.pipeline.vae
    tiny = AutoencoderTiny.from_pretrained(folder / "vae_tiny", dtype=torch.float32)
    with torch.no_grad():
        z = vae.encode(x).latent_dist.mean
        report.figures["psnr_vae"] = float(psnr(vae.decode(z).sample, x).mean())
        report.figures["psnr_vae_tiny"] = float(psnr(tiny.decode(z).sample, x).mean())


def validate_judge(report: Report, judge: Judge, model: EvaluatedModel, sprites: Sprites) -> None:
    """Measure the accuracy of the judge on 500 scenes, rendered and reconstructed by the VAE."""
    rng = np.random.default_rng(65_000)
    scenes = [sample(rng) for _ in range(500)]
    rendered = [render(scene, sprites) for scene in scenes]
    reconstructed = reconstruct(model, rendered)
    for label, images in (("judge_clean", rendered), ("judge_through_vae", reconstructed)):
        report.figures[label] = _object_accuracy(judge, scenes, images)
    is_right = [
        judge.classify_background(image) == scene.background
        for image, scene in zip(rendered, scenes, strict=True)
    ]
    report.figures["judge_background"] = float(np.mean(is_right))


def reconstruct(model: EvaluatedModel, images: list[Levels]) -> list[Levels]:
    """Encode and decode images with the VAE."""
    vae = model.pipeline.vae
    with torch.no_grad():
        batches = [
            vae.decode(vae.encode(batch).latent_dist.mean).sample
            for batch in torch.split(to_tensor(images), 16)
        ]
    levels = ((torch.cat(batches).clamp(-1, 1) + 1) * 127.5).round().byte()
    return list(levels.permute(0, 2, 3, 1).numpy())


def _object_accuracy(judge: Judge, scenes: list[Scene], images: list[Levels]) -> float:
    """Return the share of all objects that the judge recognizes."""
    is_right = [
        name == placement.concept
        for image, scene in zip(images, scenes, strict=True)
        for name, placement in zip(
            judge.classify_objects(image, scene.layout, len(scene.placements)),
            scene.placements,
            strict=True,
        )
    ]
    return float(np.mean(is_right))


def measure_speed(report: Report, model: EvaluatedModel) -> None:
    """Measure the seconds for each image, one at a time and in batches, as the best of three."""
    for label, count in (("seconds_single", 1), ("seconds_in_batch", BATCH)):
        times = []
        for _ in range(3):
            started = time.perf_counter()
            model.generate(["a cat and a guitar on a blue background"] * count, seed=1)
            times.append((time.perf_counter() - started) / count)
        report.figures[label] = min(times)


def select_cases(*, tuning: bool) -> list[Case]:
    """Return the published cases, or those for tuning without the published prompts."""
    cases = build_cases(TEST)
    if not tuning:
        return cases
    published = {case.prompt for case in cases}
    return [case for case in build_cases(TUNING) if case.prompt not in published]


def evaluate(
    folder: Path, work: Path, *, tuning: bool, steps: int, guidance: float, sheet: Path | None
) -> Report:
    """Evaluate the model in ``folder``. ``work`` keeps the judge and the emoji."""
    train("judge", JudgeStage, work, seconds=SECONDS["judge"], seed=9)
    sprites, judge, report = load_sprites(work), load_trained_judge(work), Report()
    model = EvaluatedModel(folder, steps, guidance)
    cases = select_cases(tuning=tuning)
    images = model.generate([case.prompt for case in cases], seed=100_000)
    judge_cases(report, judge, cases, images)
    if not tuning:
        validate_judge(report, judge, model, sprites)
        measure_vaes(report, model, folder, sprites)
        measure_drawing(report, model, sprites)
        measure_speed(report, model)
    if sheet:
        rng = np.random.default_rng(SHEET_SEED)
        indices = sorted(rng.choice(len(cases), SHEET_IMAGES, replace=False))
        contact_sheet([(cases[i].prompt, images[i]) for i in indices], sheet)
    return report


def main() -> None:
    """Parse the command line, evaluate and print the figures."""
    args = _build_parser().parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    report = evaluate(
        args.model,
        args.folder,
        tuning=args.tuning,
        steps=args.steps,
        guidance=args.guidance,
        sheet=args.sheet,
    )
    print(format_table(report))
    print("\nPSNR by class:", format_psnr_by_class(report))
    print("\nmisses:", *report.misses[:60], sep="\n  ")
    if args.card:
        update_model_card(report, args.card)
    if args.json:
        args.json.write_text(json.dumps(report.to_dict(), indent=1) + "\n")


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sdcli.training.evaluate", description=__doc__)
    parser.add_argument(
        "--model",
        type=Path,
        default=MODEL,
        help="folder of a Diffusers model (default: the embedded model)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(".training"),
        help="folder for the judge and the emoji (default: .training)",
    )
    parser.add_argument(
        "--tuning", action="store_true", help="use the prompts for choosing settings"
    )
    parser.add_argument("--steps", type=int, default=DEFAULTS["num_inference_steps"])
    parser.add_argument("--guidance", type=float, default=DEFAULTS["guidance_scale"])
    parser.add_argument(
        "--sheet",
        type=Path,
        help=f"write a contact sheet of {SHEET_IMAGES} prompts, chosen by a fixed seed",
    )
    parser.add_argument(
        "--json", type=Path, help="write all figures, those of each class and the misses"
    )
    parser.add_argument("--card", type=Path, help="write the figures to this model card")
    return parser


if __name__ == "__main__":
    main()
