"""``python -m sdcli.training.evaluate``: does the model draw what it is asked, and how well?

Prompts are the held-out list of ``heldout``; pictures come from a plain Diffusers pipeline with the
model's own defaults. Prints a table, and writes the figures as JSON on request.
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
from sdcli.training.__main__ import SECONDS
from sdcli.training.autoencoder import psnr, to_tensor
from sdcli.training.concepts import COLORS, CONCEPTS
from sdcli.training.contact_sheet import contact_sheet
from sdcli.training.export import DEFAULTS
from sdcli.training.heldout import TEST, TUNING, Case, background_phrase, cases, noun_phrase
from sdcli.training.judge import Judge, JudgeStage
from sdcli.training.loop import train
from sdcli.training.match_quality import best_psnr
from sdcli.training.report import Report, per_class, table, update_model_card
from sdcli.training.scenes import render, sample
from sdcli.training.sprites import Sprites, load_sprites

BATCH = 8
PICTURES = 4  # of each class alone
POOR = 19.0  # dB
SHEET_SEED = 24
Levels = NDArray[np.uint8]


class EvaluatedModel:
    """The model under test."""

    def __init__(self, model: Path, steps: int, guidance: float) -> None:
        """Load ``model`` with the scheduler that it names as its own."""
        pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
        choice = resolve_scheduler(str(DEFAULTS["scheduler"])).choice
        scheduler = getattr(diffusers, str(choice.class_name))
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, **dict(choice.config))
        pipeline.set_progress_bar_config(disable=True)
        self.pipeline, self.steps, self.guidance = pipeline, steps, guidance

    def draw(self, prompts: list[str], seed: int) -> list[Levels]:
        """One picture a prompt, (128, 128, 3); picture i has seed ``seed`` + i."""
        made: list[Levels] = []
        for start in range(0, len(prompts), BATCH):
            part = prompts[start : start + BATCH]
            generators = [torch.Generator().manual_seed(seed + start + i) for i in range(len(part))]
            images = self.pipeline(
                part,
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                generator=generators,
            ).images
            made += [np.asarray(image) for image in images]
        return made


def judge_cases(report: Report, judge: Judge, asked: list[Case], pictures: list[Levels]) -> None:
    """Hold every picture against its case."""
    for case, picture in zip(asked, pictures, strict=True):
        wanted = [p.concept for p in case.scene.placements]
        seen, ground = judge.things(picture, case.scene), judge.background(picture)
        if case.named:
            report.count("named background", ground == case.scene.background)
        if case.kind == "unnamed":
            report.count("unnamed", ground == "white")
        else:
            report.count(case.kind, seen == wanted)
        if seen != wanted or ground != case.scene.background:
            report.misses.append(f"{case.prompt}: {', '.join(seen)} / {ground}")


def measure_drawing(report: Report, artist: EvaluatedModel, sprites: Sprites) -> None:
    """PSNR of every class alone, each the mean of pictures on several plain colours in turn.

    A picture under ``POOR`` is one that went wrong, as where a thing stands half-way between two
    places: they are counted apart.
    """
    grounds = list(COLORS)
    asked = []
    for index, concept in enumerate(CONCEPTS.values()):
        free = [g for g in grounds[index % len(grounds) :] + grounds if g != concept.color]
        asked += [
            (concept.name, f"{noun_phrase(concept)} {background_phrase(g)}")
            for g in free[:PICTURES]
        ]
    pictures = artist.draw([prompt for _, prompt in asked], seed=900_000)
    found: dict[str, list[float]] = defaultdict(list)
    for (concept_name, _), picture in zip(asked, pictures, strict=True):
        found[concept_name].append(best_psnr(picture, concept_name, sprites))
    report.drawn |= {key: float(np.mean(values)) for key, values in found.items()}
    emoji = [value for key, value in report.drawn.items() if CONCEPTS[key].icon]
    shapes = [value for key, value in report.drawn.items() if CONCEPTS[key].shape]
    report.figures |= {
        "psnr_emoji": float(np.mean(emoji)),
        "psnr_shapes": float(np.mean(shapes)),
        "psnr_worst": min(report.drawn.values()),
        "share_poor": float(np.mean([v < POOR for values in found.values() for v in values])),
    }


def measure_vaes(report: Report, artist: EvaluatedModel, model: Path, sprites: Sprites) -> None:
    """PSNR of both autoencoders on 64 scenes of no training run."""
    rng = np.random.default_rng(64_000)
    x = to_tensor([render(sample(rng), sprites) for _ in range(64)])
    vae, tiny = (
        artist.pipeline.vae,
        AutoencoderTiny.from_pretrained(model / "vae_tiny", dtype=torch.float32),
    )
    with torch.no_grad():
        z = vae.encode(x).latent_dist.mean
        report.figures["psnr_vae"] = float(psnr(vae.decode(z).sample, x).mean())
        report.figures["psnr_vae_tiny"] = float(psnr(tiny.decode(z).sample, x).mean())


def validate_judge(report: Report, judge: Judge, artist: EvaluatedModel, sprites: Sprites) -> None:
    """The judge on 500 scenes: rendered, and through the VAE."""
    rng = np.random.default_rng(65_000)
    scenes = [sample(rng) for _ in range(500)]
    clean = [render(scene, sprites) for scene in scenes]
    with torch.no_grad():
        vae = artist.pipeline.vae
        coded = [
            vae.decode(vae.encode(part).latent_dist.mean).sample
            for part in torch.split(to_tensor(clean), 16)
        ]
    levels = (
        ((torch.cat(coded).clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    )
    for label, pictures in (("judge_clean", clean), ("judge_through_vae", list(levels))):
        answers = [
            (judge.things(picture, scene), scene)
            for picture, scene in zip(pictures, scenes, strict=True)
        ]
        pairs = [
            (a, p.concept)
            for seen, scene in answers
            for a, p in zip(seen, scene.placements, strict=True)
        ]
        report.figures[label] = float(np.mean([a == b for a, b in pairs]))
    grounds = [
        judge.background(picture) == scene.background
        for picture, scene in zip(clean, scenes, strict=True)
    ]
    report.figures["judge_background"] = float(np.mean(grounds))


def measure_speed(report: Report, artist: EvaluatedModel) -> None:
    """Seconds a picture, one at a time and in batches of eight: the best of three."""
    for label, count in (("seconds_single", 1), ("seconds_in_batch", BATCH)):
        times = []
        for _ in range(3):
            started = time.perf_counter()
            artist.draw(["a cat and a guitar on a blue background"] * count, seed=1)
            times.append((time.perf_counter() - started) / count)
        report.figures[label] = min(times)


def evaluate(
    model: Path, folder: Path, *, tuning: bool, steps: int, guidance: float, sheet: Path | None
) -> Report:
    """Everything but printing."""
    train("judge", JudgeStage, folder, seconds=SECONDS["judge"], seed=9)
    sprites, judge, report = load_sprites(folder), Judge(folder), Report()
    artist = EvaluatedModel(model, steps, guidance)
    asked = cases(TEST)
    if tuning:
        published = {case.prompt for case in asked}
        asked = [case for case in cases(TUNING) if case.prompt not in published]
    pictures = artist.draw([case.prompt for case in asked], seed=100_000)
    judge_cases(report, judge, asked, pictures)
    if not tuning:
        validate_judge(report, judge, artist, sprites)
        measure_vaes(report, artist, model, sprites)
        measure_drawing(report, artist, sprites)
        measure_speed(report, artist)
    if sheet:
        chosen = np.random.default_rng(SHEET_SEED).choice(len(asked), 36, replace=False)
        contact_sheet([(asked[i].prompt, pictures[i]) for i in sorted(chosen)], sheet)
    return report


def main() -> None:
    """Parse the arguments, evaluate, print."""
    own = Path(__file__).parents[1] / "models" / "tiny-emoji-128"
    parser = argparse.ArgumentParser(prog="python -m sdcli.training.evaluate", description=__doc__)
    parser.add_argument(
        "--model", type=Path, default=own, help="a Diffusers folder (default: the embedded model)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(".training"),
        help="where the judge and the emoji are kept",
    )
    parser.add_argument(
        "--tuning", action="store_true", help="use the list that settings may be chosen on"
    )
    parser.add_argument("--steps", type=int, default=DEFAULTS["num_inference_steps"])
    parser.add_argument("--guidance", type=float, default=DEFAULTS["guidance_scale"])
    parser.add_argument(
        "--sheet", type=Path, help="write a contact sheet of 36 prompts, chosen by a fixed seed"
    )
    parser.add_argument("--json", type=Path, help="write all figures, per class, and the misses")
    parser.add_argument("--card", type=Path, help="put the figures into this model card")
    a = parser.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    report = evaluate(
        a.model, a.folder, tuning=a.tuning, steps=a.steps, guidance=a.guidance, sheet=a.sheet
    )
    print(table(report))
    print("\nPSNR by class:", per_class(report))
    print("\nmisses:", *report.misses[:60], sep="\n  ")
    if a.card:
        update_model_card(report, a.card)
    if a.json:
        a.json.write_text(json.dumps(report.as_dict(), indent=1) + "\n")


if __name__ == "__main__":
    main()
