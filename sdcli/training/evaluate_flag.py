"""Measure the flag LoRA: how often a flag is drawn, and whether known objects stay as they were.

An object counts as drawn if the image is within ``POOR_PSNR`` of the best rendering of it. Run as
``python -m sdcli.training.evaluate_flag``.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from sdcli.training.concepts import COLORS, FLAG
from sdcli.training.evaluate import MODEL, POOR_PSNR, EvaluatedModel, Levels, single_object_prompts
from sdcli.training.export import DEFAULTS
from sdcli.training.heldout import background_phrase
from sdcli.training.match_quality import best_psnr
from sdcli.training.sprites import Sprites, draw_flag, load_sprites

FLAG_IMAGES = 60
_PHRASES = ("a flag", "the flag", "a picture of a flag", "a drawing of a flag", "a photo of a flag")


def add_lora(model: EvaluatedModel, file: Path) -> None:
    """Add the changes of the LoRA to the UNet."""
    tensors = load_file(file)
    layers = {"lora_unet_" + n.replace(".", "_"): m for n, m in model.pipeline.unet.named_modules()}
    with torch.no_grad():
        for key in tensors:
            if key.endswith(".lora_up.weight"):
                name = key.removesuffix(".lora_up.weight")
                up, down = (tensors[f"{name}.lora_{n}.weight"].float() for n in ("up", "down"))
                # The file's alpha is its rank.
                weight = layers[name].weight
                weight += (up.flatten(1) @ down.flatten(1)).view_as(weight)


def flag_prompts() -> list[str]:
    """Return prompts of a single flag on plain backgrounds."""
    grounds = ["", *(f" {background_phrase(color)}" for color in COLORS)]
    prompts = [phrase + ground for ground in grounds for phrase in _PHRASES]
    return prompts[:FLAG_IMAGES]


def share_drawn(images: list[Levels], names: list[str], sprites: Sprites) -> tuple[float, float]:
    """Return the share of images whose object is drawn, and the mean PSNR in dB."""
    values = [best_psnr(i, name, sprites) for i, name in zip(images, names, strict=True)]
    return float(np.mean([value >= POOR_PSNR for value in values])), float(np.mean(values))


def main() -> None:
    """Parse the command line, measure and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m sdcli.training.evaluate_flag")
    parser.add_argument("--folder", type=Path, default=Path(".training"))
    parser.add_argument("--lora", type=Path, default=Path(f"{MODEL}-loras") / "flag.safetensors")
    parser.add_argument("--known", type=int, default=124, help="images of known objects")
    parser.add_argument("--steps", type=int, default=DEFAULTS["num_inference_steps"])
    parser.add_argument("--guidance", type=float, default=DEFAULTS["guidance_scale"])
    args = parser.parse_args()
    sprites = load_sprites(args.folder, draw_flag())
    model = EvaluatedModel(MODEL, args.steps, args.guidance)
    cases = single_object_prompts()
    cases = cases[:: max(1, len(cases) // args.known)][: args.known]
    names, prompts = [name for name, _ in cases], [prompt for _, prompt in cases]
    before = model.generate(prompts, seed=900_000)
    add_lora(model, args.lora)
    flags, after = model.generate(flag_prompts(), seed=700_000), model.generate(prompts, 900_000)
    flag_names = [FLAG.name] * len(flags)
    for label, images, expected in (
        ("flags", flags, flag_names), ("known objects before", before, names),
        ("known objects with the LoRA", after, names),
    ):  # fmt: skip
        share, mean = share_drawn(images, expected, sprites)
        print(f"{label}: {share:.1%} of {len(images)}, mean {mean:.1f} dB", flush=True)


if __name__ == "__main__":
    main()
