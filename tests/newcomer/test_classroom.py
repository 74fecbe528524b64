"""A class with a projector: how an image forms, step by step and scheduler by scheduler."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.newcomer.session import Step, play, shell

STEPS = [
    Step("sdcli --help", ["generate", "schedulers", "latents", "help"]),
    Step("sdcli help", ["glossary", "The terms of this manual", "sdcli help TOPIC"]),
    Step("sdcli help glossary", ["sigma: the noise level", "x_0: the clean latents"]),
    Step("sdcli samplers", ["hint: sdcli calls it schedulers list"], code=2),
    Step("sdcli schedulers list euler", ["Euler a EulerAncestralDiscrete", "Karras"]),
    Step("sdcli schedulers show 'Euler a'", ["EulerAncestralDiscreteScheduler", "adds noise"]),
    Step("sdcli generate cat --steps 0", ["is not between 1 and 1000"], code=2),
    Step(
        "sdcli generate 'a cat and a guitar' --steps 4 --seed 7 --size 64x64 "
        "--save-latents all --preview -o cat.png",
        ["▀▀▀▀", "image 1/1, step 1/4", "image 1/1, step 4/4", "cat.png"],
    ),
    Step("ls", ["cat.latents.safetensors", "cat.png"]),
    Step("sdcli latents info cat.png", ["4x8x8", "xt of steps 0-4", "prompt a cat and a guitar"]),
    Step("sdcli latents path cat.png", ["999", "████", "straightness"]),
    Step("sdcli latents grd cat.png", ["hint: did you mean sdcli latents grid?"], code=2),
    Step("sdcli latents grid cat.png -o steps.png", ["steps.png"]),
    Step("sdcli latents grid cat.png --column 2", ["hint: did you mean --columns?"], code=2),
    Step("sdcli latents grid cat.png --columns 2 --scale 4 -o wall.png", ["wall.png"]),
    Step("sdcli latents animate cat.png -o cat.gif", ["cat.gif"]),
    Step("sdcli latents noise cat.png --steps 2 -o noise.png", ["noise.png"]),
    Step("sdcli latents grid cat.png -o steps.png", ["steps.png exists", "add --force"], code=5),
    Step(
        "sdcli generate 'a red star' -s euler,heun --steps 2,4 --size 64x64 --seed 1 "
        "--grid steps,scheduler -o stars",
        ["stars/0001-a-red-star-1-euler-steps-2.png", "stars/0005-grid-a-red-star-1"],
    ),
    Step(
        "sdcli schedulers compare 'a red star' --scheduler ddim",
        ["hint: did you mean --schedulers?"],
        code=2,
    ),
    Step(
        "sdcli schedulers compare 'a red star' 'a fish' --count 2 --seed 7 --size 64x64 "
        "--schedulers ddim,euler --steps 2,4 --reference-steps 20 -o compare.png",
        ["±", "A DDIM   B Euler", "UNet calls", "means of 4 images: 2 prompts, seeds 7 to 8"],
    ),
    Step("sdcli replay cat.png --check", ["cat.png: identical"]),
    Step("sdcli latents decode cat.png --steps 2 --kind x0 --vae own -o two.png", ["two.png"]),
]


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_class_with_a_projector(tmp_path: Path) -> None:
    with shell(tmp_path) as session:
        play(session, STEPS)
    for name in ("steps.png", "noise.png", "two.png", "cat.gif", "compare.png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) >= 64
    with Image.open(tmp_path / "steps.png") as wide, Image.open(tmp_path / "wall.png") as high:
        assert wide.width > wide.height
        # Two steps beside each other, two below, each in two rows of pictures of 256 pixels.
        assert high.width >= 2 * 256
        assert high.height >= 4 * 256
