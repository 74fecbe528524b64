"""Every picture that the tests made is made again from its own record, when they have ended.

A plugin of the suite, one for each of its processes: it looks through all that lies in the folders
of the process's tests.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import SdcliError
from sdcli.latents import RESUMED_PREFIX
from sdcli.storage.images.codec import FORMATS, read_image_info

MOST_MOVED = 1  # levels of 255, between a picture of a batch and the same one alone
LOSSY = (".jpg", ".jpeg")


def made(folder: Path) -> Iterator[Path]:
    """The pictures below a folder that the embedded model drew from their first step on, each once.

    Records that tests made up have no weights; a file that a test altered has other pixels.
    """
    unet = EMBEDDED_FOLDER / "unet" / "diffusion_pytorch_model.safetensors"
    real = hashlib.sha256(unet.read_bytes()).hexdigest()
    seen = set()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in FORMATS or not path.is_file():
            continue
        try:
            document = read_image_info(path)
        except (SdcliError, OSError):
            continue  # broken on purpose
        key = _told(document["record"], real)
        altered = document["pixels_sha256"] != (key or ("", ""))[1]
        if key and key not in seen and (path.suffix in LOSSY or not altered):
            seen.add(key)
            yield path


def _told(record: Any, real: str) -> tuple[str, str] | None:
    """The job and the pixels that a record tells of, if a run of the real model left it."""
    if not isinstance(record, dict) or not isinstance(record.get("weights"), dict):
        return None
    borrowed = any(str(event).startswith(RESUMED_PREFIX) for event in record.get("events", ()))
    if record["weights"].get("unet") != real or borrowed:
        return None
    return str(record["job"]), str(record["pixels"]["sha256"])


def complaint(path: Path) -> str | None:
    """What is wrong with a replay: alone it must be identical, in a batch at most a level off."""
    from sdcli.workflows import replay

    [image] = replay.read_images([str(path)], ())
    found = replay.verify(image, None)
    off = 0 if image.document["record"]["batch_size"] == 1 else MOST_MOVED
    if found["max_difference"] > off or found["verdict"] == "different":
        return f"{path}: {image.request}: {found}"
    return None


@pytest.fixture(scope="session", autouse=True)
def made_again(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Replays, after the last test, what all of them left."""
    yield
    base = tmp_path_factory.getbasetemp()
    paths = list(made(base))
    wrong = []
    for path in paths:
        # Models and VAEs may have been named as they lie in the test's own folder.
        with contextlib.chdir(base / path.relative_to(base).parts[0]):
            if text := complaint(path):
                wrong.append(text)
    print(f"\n{len(paths)} pictures made again")
    assert not wrong, "\n".join(wrong)
