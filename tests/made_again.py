"""Every picture that the tests made is made again from its own record, when they have ended.

A plugin of the suite, one for each of its processes: pictures are put aside after each test, and
replayed by the last one's teardown.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sdcli.catalog.models import EMBEDDED_FOLDER
from sdcli.dump import RESUMED
from sdcli.errors import SdcliError
from sdcli.output import encode

MOST_MOVED = 1  # levels of 255, between a picture of a batch and the same one alone


class Kept:
    """Pictures by what their records say, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._real = _sha256(EMBEDDED_FOLDER / "unet" / "diffusion_pytorch_model.safetensors")
        self.paths: dict[tuple[str, str], Path] = {}

    def look(self, folder: Path) -> None:
        """Put aside what is new in the folder of a test."""
        for path in folder.rglob("*.png"):
            try:
                document = encode.read(path)
            except (SdcliError, OSError):
                continue  # broken on purpose
            if self._is_made(document):
                key = (document["record"]["job"], document["pixels_sha256"])
                if key not in self.paths:
                    self.paths[key] = self._folder / f"{len(self.paths):04d}.png"
                    shutil.copy(path, self.paths[key])

    def _is_made(self, document: dict[str, Any]) -> bool:
        """Whether the embedded model drew exactly this from its first step on.

        Records that tests made up have no weights; a file that a test altered has other pixels.
        """
        record = document["record"]
        if not isinstance(record, dict) or not isinstance(record.get("weights"), dict):
            return False
        events = record.get("events", ())
        return (
            record["weights"].get("unet") == self._real
            and record["pixels"]["sha256"] == document["pixels_sha256"]
            and not any(str(event).startswith(RESUMED) for event in events)
        )

    def check(self) -> list[str]:
        """What is wrong with the replays: alone identical, in a batch at most a level off."""
        from sdcli import replay

        wrong = []
        for path in self.paths.values():
            [image] = replay.read([str(path)], ())
            found = replay.check(image, None)
            off = 0 if image.document["record"]["batch_size"] == 1 else MOST_MOVED
            if found["max_difference"] > off or found["verdict"] == "different":
                wrong.append(f"{image.request}: {found}")
        return wrong


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="session", autouse=True)
def made_again(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Replays what was kept after the last test."""
    kept = Kept(tmp_path_factory.mktemp("kept"))
    request.config.stash[KEPT] = kept
    yield
    wrong = kept.check()
    print(f"\n{len(kept.paths)} pictures made again")
    assert not wrong, "\n".join(wrong)


KEPT = pytest.StashKey[Kept]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Before a test's own folder may go."""
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if folder is not None and (kept := item.config.stash.get(KEPT, None)):
        kept.look(folder)
