"""Write the files beside this script. Only sdcli 0.1.0 may do so: they show what it left.

In a checkout of that version, with an empty folder FOLDER:

    OMP_NUM_THREADS=1 python tests/compat/v0_1_0/make.py FOLDER

Every path on a command line is relative, so that no record names a folder of the machine. The one
thing edited afterwards is the machine's name in the claim that the killed batch left.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

VERSION = "sdcli 0.1.0"
SDCLI = (sys.executable, "-m", "sdcli")
SMALL = ("--size", "64x64", "--steps", "4")

IMAGES = (
    ("generate", "a cat and a guitar on a blue background", "-n", "a dog", "--seed", "7",
     *SMALL, "--save-latents", "all", "-o", "plain.png"),
    ("generate", "a red circle on a blue background", "-s", "DPM++ 2M Karras;solver_order=3",
     "--clip-skip", "1", "--guidance", "5", "--guidance-rescale", "0.5", "--seed", "8",
     "--size", "72x64", "--steps", "5", "--save-latents", "steps:2,4", "--latents-kinds", "xt,x0",
     "-o", "options.jpg"),
    ("generate", "a snowman in the snow", "-s", "ddim;timestep_spacing=trailing", "--eta", "0.5",
     "--vae", "tiny", "--seed", "9", *SMALL, "--save-latents", "final", "-o", "tiny.webp"),
    ("generate", "a green apple", "-s", "Euler a", "--seed", "10", *SMALL,
     "--save-latents", "all", "--sidecar", "-o", "ancestral.png"),
    ("generate", "a fish", "a lemon", "a red star", "--batch-size", "3", "--seed", "11", *SMALL,
     "-o", "batched.png"),
    ("latents", "resume", "plain.png", "--from-step", "2",
     "--prompt", "a dog and a guitar on a blue background", "--save-latents", "final",
     "-o", "resumed.png"),
    ("latents", "decode", "ancestral.png", "-o", "decoded.png"),
    ("latents", "decode", "ancestral.png", "--steps", "2", "--kind", "x0", "--vae", "tiny",
     "-o", "early.png"),
    ("vae", "encode", "plain.png", "--sample", "--seed", "12",
     "-o", "encoded.latents.safetensors"),
    ("vae", "decode", "encoded.latents.safetensors", "-o", "vae-decoded.png"),
)  # fmt: skip

PROMPTS = """\
--size 64x64 --steps 40
a cat and a guitar on a blue background --seed 7
a red star
a pizza on a gray background --seed 8
a cat and a guitar on a blue background --seed 7
a dog on a beach --scheduler "Euler a" --negative "a cat"
"""
"""Two lines have no seed: the journal keeps what theirs are drawn from. Two lines are equal."""

BATCH = ("batch", "prompts.txt", "--batch-size", "1", "--save-latents", "final", "-o", "out")
DONE = 2
"""Images that the batch may finish; 40 steps make the next one last until it is killed."""

SETTINGS = """\
steps = 5
size = "64x72"
guidance = 2.5

[batch]
negative = "a dog"
batch-size = 1

["latents resume"]
sidecar = true

[profile.draft]
steps = 2

[profile.draft.batch]
scheduler = "Euler a"
"""


def main(folder: Path) -> None:
    """Write all into the folder."""
    assert sdcli(folder, "--version").strip() == VERSION
    images, half, settings = (folder / name for name in ("images", "half", "settings"))
    for path in (images, half, settings):
        path.mkdir()
    for argv in IMAGES:
        sdcli(images, *argv)
    (half / "prompts.txt").write_text(PROMPTS)
    kill(half)
    (settings / "sdcli.toml").write_text(SETTINGS)
    expected = {"images": hashes(images), "batch": whole(half)}
    (folder / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


def sdcli(folder: Path, *argv: str) -> str:
    """What a run in the folder prints."""
    ran = subprocess.run([*SDCLI, *argv], cwd=folder, check=True, capture_output=True, text=True)
    return ran.stdout


def kill(half: Path) -> None:
    """Start the batch and kill it, with no chance to tidy up, while it draws the third image."""
    batch = [*SDCLI, *BATCH, "--jsonl"]
    with subprocess.Popen(batch, cwd=half, stdout=subprocess.PIPE, text=True) as process:
        made = 0
        for line in process.stdout or ():
            made += json.loads(line)["event"] == "image"
            if made == DONE:
                process.send_signal(signal.SIGKILL)
                break
    [claim] = (half / "out" / ".sdcli-claims").glob("[!.]*")
    claim.write_text(json.dumps(json.loads(claim.read_text()) | {"host": "elsewhere"}))


def whole(half: Path) -> dict[str, str]:
    """The hashes of the whole batch, finished in a copy."""
    copy = half.with_name("whole")
    shutil.copytree(half, copy)
    shutil.rmtree(copy / "out" / ".sdcli-claims")  # too young to be taken over
    sdcli(copy, *BATCH)
    found = hashes(copy / "out")
    shutil.rmtree(copy)
    return found


def hashes(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 of the pixels that were drawn; a JPEG's file holds others."""
    images = (path for path in folder.iterdir() if path.suffix in (".png", ".jpg", ".webp"))
    return {path.name: drawn(path) for path in sorted(images)}


def drawn(path: Path) -> str:
    """The SHA-256 in the record of an image, or of its pixels when it has none."""
    document: dict[str, Any] = json.loads(sdcli(path.parent, "inspect", path.name, "--json"))
    record = document["record"]
    return str(record["pixels"]["sha256"] if record else document["pixels_sha256"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
