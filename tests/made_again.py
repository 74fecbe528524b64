"""Pictures that the tests made are made again from their own records, when the tests have ended.

A plugin of the suite, one for each of its processes: it looks through all that lies in the folders
of the process's tests. TEST_REPLAYS is how many are made again in all processes together; all
pictures take longer than the tests.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sdcli.checkpoints.adapters.embedded_addons import EMBEDDED_PREFIX
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import SdcliError
from sdcli.latents import RESUMED_PREFIX
from sdcli.storage.images.codec import FORMATS, read_image_info

REPLAYS = int(os.environ.get("TEST_REPLAYS", "18"))
PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
LARGEST_SOURCE = 1 << 30
MOST_MOVED = 1  # levels of 255, between a picture of a batch and the same one alone
LOSSY = (".jpg", ".jpeg")
SOURCES = (*FORMATS, ".bmp", ".gif", ".tif", ".tiff", ".avif", ".safetensors", ".pt", ".bin")


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


def sources_of(record: Mapping[str, Any]) -> dict[str, str]:
    """The hashes of the files that a run read besides its models, and what each file is."""
    images = {sha256: field for field, sha256 in record.get("inputs", {}).items()}
    kinds = (("loras", "LoRA"), ("embeddings", "embedding"), ("controlnets", "ControlNet"))
    named = {
        use["sha256"]: f"{what} {use['name']}"
        for key, what in kinds
        for use in record.get(key, ())
        if not use["name"].startswith(EMBEDDED_PREFIX)
    }
    for use in record.get("controlnets", ()):
        named |= {use["image_sha256"]: f"control image {use['image']}"}
    for use in record.get("ip_adapters", ()):
        named |= {use["sha256"]: f"IP-Adapter {use['name']}"}
        named |= {use["image_sha256"]: f"image prompt {use['image']}"}
    return images | named


def files_by_hash(base: Path) -> dict[str, Path]:
    """The files below a folder that a run may have read, as they are now."""
    files = (path for path in sorted(base.rglob("*")) if path.suffix in SOURCES and path.is_file())
    # Headers of true size have gigabytes of holes behind them, from which nothing was drawn.
    read = (path for path in files if path.stat().st_size < LARGEST_SOURCE)
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in read}


def missing_source(record: Mapping[str, Any], files: Mapping[str, Path]) -> str | None:
    """Why a picture cannot be made again: a file it came from is gone, or has other bytes now."""
    for sha256, name in sources_of(record).items():
        if sha256 not in files:
            return f"its {name} (SHA-256 {sha256}) was deleted or changed"
    return None


def complaint(path: Path, record: Mapping[str, Any], files: Mapping[str, Path]) -> str | None:
    """What is wrong with a replay: alone it must be identical, in a batch at most a level off."""
    from sdcli.workflows import replay

    # A test may have moved what it read, where no replay would look for it.
    with tempfile.TemporaryDirectory() as inputs:
        for sha256 in sources_of(record):
            (Path(inputs) / sha256).with_suffix(files[sha256].suffix).symlink_to(files[sha256])
        try:
            [image] = replay.read_images([str(path)], (), inputs=inputs)
            found = replay.verify(image, None)
        except SdcliError as error:
            return f"{path}: {error}"
    off = 0 if record["batch_size"] == 1 else MOST_MOVED
    if found["max_difference"] > off or found["verdict"] == "different":
        return f"{path}: {image.request}: {found}"
    return None


def kind_of(record: Mapping[str, Any]) -> Hashable:
    """The settings that a picture was made with, whatever their values, and its scheduler."""
    request = record["request"]
    names = (name for name, value in request.items() if value not in (None, "", [], {}, False))
    return record["batch_size"] > 1, request.get("scheduler"), *sorted(names)


def sample(found: Mapping[Path, Mapping[str, Any]], count: int) -> dict[Path, Mapping[str, Any]]:
    """As many kinds of pictures as there are, then a second of each kind, up to a number of all.

    The same in every run of the tests, in the order of the pictures, which loads few models twice.
    """
    # A job's id is as good as drawn at random.
    by_job = sorted(found, key=lambda path: str(found[path]["job"]))
    seen: Counter[Hashable] = Counter()
    ranks = {}
    for path in by_job:
        kind = kind_of(found[path])
        ranks[path] = seen[kind]
        seen[kind] += 1
    chosen = set(sorted(by_job, key=ranks.__getitem__)[:count])
    return {path: record for path, record in found.items() if path in chosen}


def make_again(base: Path) -> tuple[int, list[str], list[str]]:
    """Replay the pictures below a folder; returns how many, those left out, and complaints."""
    found = {path: read_image_info(path)["record"] for path in made(base)}
    records = sample(found, math.ceil(REPLAYS / PROCESSES))
    files = files_by_hash(base) if any(map(sources_of, records.values())) else {}
    left_out, wrong = [], []
    for path, record in records.items():
        if reason := missing_source(record, files):
            left_out.append(f"{path}: {reason}")
            continue
        # Models and VAEs may have been named as they lie in the test's own folder.
        with contextlib.chdir(base / path.relative_to(base).parts[0]):
            if text := complaint(path, record, files):
                wrong.append(text)
    return len(records) - len(left_out), left_out, wrong


@pytest.fixture(scope="session", autouse=True)
def made_again(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Replays, after the last test, what all of them left."""
    yield
    count, left_out, wrong = make_again(tmp_path_factory.getbasetemp())
    print(f"\n{count} pictures made again, {len(left_out)} left out", *left_out, sep="\n")
    assert not wrong, "\n".join(wrong)
