"""Where results go: files, sidecars and the journal, and destinations that are errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sdcli.errors import OutputError, UsageError
from sdcli.latents import LatentsSelection
from sdcli.result import GenerationResult, SavedImage
from sdcli.runner.options import RunOptions
from sdcli.runner.writer import ResultWriter
from tests.jobs import make_result

RESULT = make_result(width=8, height=8)


def open_writer(out: Path | str, **options: Any) -> ResultWriter:
    return ResultWriter(RunOptions(**{"out": str(out), "expected_images": 1, **options}))


def save(writer: ResultWriter) -> tuple[SavedImage, str | None]:
    writer.latents.begin_image(RESULT.run)  # as the engine does before the first step
    saved = writer.save(RESULT)
    writer.close()
    return saved


def test_an_image_is_written_with_its_sidecar(tmp_path: Path) -> None:
    seen: list[GenerationResult] = []
    writer = open_writer(tmp_path / "cat.png", sidecar=True, on_result=seen.append)
    image, latents = save(writer)
    assert image.path == str(tmp_path / "cat.png")
    assert latents is None
    assert json.loads((tmp_path / "cat.json").read_text())["request"]["seed"] == 7
    assert seen == [RESULT]


def test_a_journal_names_the_companions(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, sidecar=True, journal=True, expected_images=None)
    save(writer)
    line = json.loads((tmp_path / "sdcli-journal.jsonl").read_text().splitlines()[-1])
    assert (line["event"], line["job"]) == ("image", RESULT.job.id)
    assert [tmp_path / name for name in line["beside"]] == list(tmp_path.glob("*.json"))


@pytest.mark.parametrize(
    ("existing", "options"),
    [
        ("cat.json", {"sidecar": True}),
        ("cat.latents.safetensors", {"save_latents": LatentsSelection()}),
    ],
)
def test_existing_companions_are_an_error_before_the_run(
    existing: str, options: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / existing).write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        open_writer(tmp_path / "cat.png", **options)
    open_writer(tmp_path / "cat.png", force=True, **options).close()
    open_writer(tmp_path / "cat.png").close()  # nothing would be replaced


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"out": "a.png", "tar": True}, "usage.format"),
        ({"out": "-", "report": "json"}, "usage.out"),
        ({"out": "-", "sidecar": True}, "usage.out"),
        ({"out": "-", "save_latents": LatentsSelection()}, "usage.out"),
    ],
)
def test_stdout_takes_images_alone(options: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_writer(**options)
    assert caught.value.code == code
