"""A shop's product list on a GPU box: from a spreadsheet to images, with a kill on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.newcomer.session import Step, play, shell

ROWS = (
    r"sku;title;colour;negative;seed\n"
    r"P-17;a red star on a gray background;red;blue;1\n"
    r"P-18;a green apple on a white background;green;red;2\n"
    r"P-19;a fish on a blue background;blue;;3\n"
    r"P/20;a lemon on a gray background;;;x\n"
)
COLUMNS = "--prompt-column title --extra keep"
BATCH = (
    f"sdcli batch products.csv {COLUMNS} --name-template '{{sku}}-{{seed}}' "
    "--steps 2 --size 64x64 --count 2 --batch-size 1 -o shop"
)
FIRST = "shop/P-17-1.png"

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
        ["products.csv:1:1: no column is named prompt", "--prompt-column NAME"],
        code=2,
    ),
    Step(
        "sdcli batch products.csv --prompt-column title --dry-run",
        ["products.csv:1:1: unknown field 'sku'", "use --extra keep or --extra ignore"],
        hides=["did you mean", "Traceback"],  # colour is no misspelt setting
        code=2,
    ),
    Step("sdcli generate 'a star' --extra keep", ["--extra is an option of sdcli batch"], code=2),
    Step(
        "sdcli batch products.csv --prompt-column titel --dry-run",
        ["no column is named titel", "hint: did you mean --prompt-column title?"],
        code=2,
    ),
    Step("sdcli help --search sku", ["prompt-files", "--name-template", "sku"]),
    Step(
        f"sdcli batch products.csv {COLUMNS} --dry-run",
        ["error: products.csv:5:37: seed: 'x' is not a whole number"],
        hides=["did you mean", "Traceback"],  # colour is no misspelt setting
        code=2,
    ),
    Step("sed -i 's/;x$/;4/' products.csv"),
    Step(
        f"{BATCH.replace('{sku}', '{sk}')} --dry-run",
        ["unknown placeholder {sk}", "hint: did you mean sku?"],
        code=2,
    ),
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
    Step(BATCH, ["shop/P-20-5.png", "images made, ", "done before"]),
    Step(BATCH, ["sdcli: 0 images made, 8 done before"], hides=["shop/P-20", "Traceback"]),
    Step(f"{BATCH} -q --list-done --limit 3", ["shop/P-17-1.png", "shop/P-17-2.png", "P-18-2"]),
    Step(f"{BATCH} --json -q", ['"made": 0, "skipped": 8, "failed": 0'], wide=True),
    Step(
        f"{BATCH} --jsonl -q | grep P-18-3",
        [
            '"skipped": true',
            '"file": "products.csv", "line": 3',
            '"extra": {"sku": "P-18", "colour": "green"}',
        ],
        wide=True,
    ),
    Step(f"{BATCH} --retry-failed", ["0 images made, 8 done before"]),
    Step("ls shop/*.png | wc -l", ["8"]),
    Step(
        f"sdcli inspect {FIRST}",
        [
            "prompt a red star on a gray background",
            "negative_prompt blue",
            "seed 1",
            "sku P-17, colour red",
        ],
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
    with shell(tmp_path) as session:
        play(session, STEPS)
    assert len(list((tmp_path / "shop").glob("*.png"))) == 8
