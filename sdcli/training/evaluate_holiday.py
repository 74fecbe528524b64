"""Measure the embedding of the embedded model: how near its images are to those of its phrase.

PSNR is that of an image to the phrase's of the same seed. Run as
``python -m sdcli.training.evaluate_holiday``.
"""

import argparse
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from sdcli.engine.judge import load_judge
from sdcli.training.contact_sheet import contact_sheet
from sdcli.training.evaluate import MODEL, EvaluatedModel, Levels
from sdcli.training.evaluate_fast import DEFAULT_WAY, mean_psnr
from sdcli.training.holiday_embedding import BEGINNING, PHRASE

SEED = 800_000
OBJECTS, BACKGROUND = ["penguin", "sunglasses"], "beach"
CONTEXTS = ("{}", "a photo of {}", "an illustration of {}", "{}, digital art")
"""The last two are not those of the training."""


def share_right(images: list[Levels]) -> float:
    """Return the share of images with both objects in their places on the beach."""
    judge = load_judge()
    rights = [
        judge.classify_objects(image, "row", 2) == OBJECTS
        and judge.classify_background(image) == BACKGROUND
        for image in images
    ]
    return float(np.mean(rights))


def main() -> None:
    """Parse the command line, measure and print a row for each text."""
    parser = argparse.ArgumentParser(prog="python -m sdcli.training.evaluate_holiday")
    parser.add_argument(
        "--embedding", type=Path, default=Path(f"{MODEL}-embeddings") / "holiday.safetensors"
    )
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--sheet", type=Path, help="write the images")
    args = parser.parse_args()
    model = EvaluatedModel(MODEL, DEFAULT_WAY.steps, DEFAULT_WAY.guidance)
    vectors = load_file(args.embedding)["emb_params"]
    model.pipeline.load_textual_inversion({"<holiday>": vectors})
    tiles = []
    for context in CONTEXTS:
        texts = [context.format(words) for words in (PHRASE, BEGINNING, "<holiday>")]
        columns = [model.generate([text] * args.seeds, SEED) for text in texts]
        for text, images in zip(texts, columns, strict=True):
            near = "" if images is columns[0] else f", {mean_psnr(images, columns[0]):.1f} dB"
            print(f"{text}: {share_right(images):.0%} right{near}", flush=True)
            tiles.append((text, images[0]))
    if args.sheet:
        contact_sheet(tiles, args.sheet, 3)


if __name__ == "__main__":
    main()
