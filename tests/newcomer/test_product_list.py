"""A shop's product list on a GPU box: from a spreadsheet to images, with a kill on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.newcomer.session import Step, play, shell

ROWS = (
    r"prompt;negative;seed\n"
    r"a red star on a gray background;blue;1\n"
    r"a green apple on a white background;red;2\n"
    r"a fish on a blue background;;3\n"
    r"a lemon on a gray background;;x\n"
)
BATCH = "sdcli batch products.csv --steps 2 --size 64x64 --count 2 --batch-size 1 -o shop"
FIRST = "shop/0001-a-red-star-on-a-gray-background-1.png"

STEPS = [
    Step("sdcli --version", ["sdcli "]),
    Step("sdcli doctor", ["torch", "embedded model", "(complete)", "device", "dtype"]),
    Step("sdcli help faq", ["# Questions and answers", "## Where are my files?"]),
    Step(
        "sdcli batch products.xlsx",
        ["unknown prompt file format", "hint: export the sheet as CSV"],
        code=2,
    ),
    Step(f"printf '{ROWS}' > products.csv"),
    Step(
        "sdcli batch product.csv",
        ["product.csv: cannot be read", "hint: did you mean products.csv?"],
        code=2,
    ),
    Step(
        "sdcli batch products.csv --dry-run",
        ["error: products.csv:5:31: seed: 'x' is not a whole number"],
        code=2,
    ),
    Step("sed -i 's/;x$/;4/' products.csv"),
    Step(
        "sdcli batch products.csv --sampler euler --dry-run",
        ["no such option: --sampler", "hint: sdcli calls it --scheduler"],
        code=2,
    ),
    Step(
        f"{BATCH} --dry-run -v",
        ["its columns are separated by semicolons", "seed 1", "images 8", "model loads 1", "disk"],
        # The jobs are one line each, however long the prompt.
        wide=True,
    ),
    Step(
        f"{BATCH} > paths.txt & until [ -s paths.txt ]; do sleep 0.05; done; kill -9 $!; wait $!",
        [],
        code=137,
        wide=True,  # bash tells of the kill with the whole command
    ),
    Step(BATCH, ["shop/0008-a-lemon-on-a-gray-background-5.png", "images made, ", "done before"]),
    Step(BATCH, ["sdcli: 0 images made, 8 done before"], hides=["shop/0008", "Traceback"]),
    Step(f"{BATCH} --json -q", ['"made": 0, "skipped": 8, "failed": 0'], wide=True),
    Step(f"{BATCH} --retry-failed", ["0 images made, 8 done before"]),
    Step("ls shop/*.png | wc -l", ["8"]),
    Step(
        f"sdcli inspect {FIRST}",
        ["prompt a red star on a gray background", "negative_prompt blue", "seed 1"],
    ),
    Step(f"sdcli inspect {FIRST} --as-command", ["sdcli generate", "--negative=blue"], wide=True),
    Step(f"sdcli replay {FIRST} --check", [f"{FIRST}: identical"]),
    Step(
        'sdcli generate "a castle" -m stable-diffusion-v1-5/stable-diffusion-v1-5 --offline',
        ["is not in the local cache", "hint: download it once while online: sdcli models pull"],
        code=3,
    ),
    Step("sdcli help --search retry", ["--retry-failed"]),
]


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_product_list(tmp_path: Path) -> None:
    play(shell(tmp_path), STEPS)
    assert len(list((tmp_path / "shop").glob("*.png"))) == 8
