"""`gallery`: the page of a folder, without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sdcli.errors import ExitCode
from tests.conftest import RunCli
from tests.gallery_images import write_batch, write_image
from tests.storage.test_gallery import command_of, data_of, settings_of

ROWS = {
    "10.png": {"prompt": "a cat", "seed": 1},
    "9.png": {"prompt": "a dog", "seed": 2, "extra": {"sku": "P1", "seed": 5}},
    "more/x.webp": {"prompt": "a fish", "seed": 3},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_batch(tmp_path / "run", ROWS)
    return tmp_path / "run"


def test_the_page_is_written_to_the_folder_once(run_cli: RunCli, folder: Path) -> None:
    ran = run_cli("gallery", "run")
    assert (ran.code, ran.stdout) == (0, "run/gallery.html\n")
    again = run_cli("gallery", "run")
    assert again.code == ExitCode.OUTPUT
    assert "run/gallery.html exists" in again.stderr
    first = (folder / "gallery.html").read_bytes()
    assert run_cli("gallery", "run", "--force").code == 0
    assert (folder / "gallery.html").read_bytes() == first


def test_the_page_has_the_images_with_their_settings_and_commands(
    run_cli: RunCli, folder: Path
) -> None:
    assert run_cli("gallery", "run", "-o", "page.html").code == 0
    data = data_of(Path("page.html").read_text("utf-8"))
    assert [row[0] for row in data["images"]] == ["9.png", "10.png", "more/x.webp"]
    assert [row[1] for row in data["images"]] == ["run/9.png", "run/10.png", "run/more/x.webp"]
    dog, cat, fish = settings_of(data)
    assert (cat["prompt"], dog["prompt"], fish["prompt"]) == ("a cat", "a dog", "a fish")
    assert (dog["sku"], dog["seed"], dog["extra seed"]) == ("P1", 2, 5)
    assert "sku" not in cat
    shown = run_cli("inspect", "run/10.png", "--as-command").stdout.rstrip()
    assert command_of(data, 1) == shown


def test_inline_and_linked_images(run_cli: RunCli, folder: Path) -> None:
    run_cli("gallery", "run", "-o", "inline.html", "--thumbnail", "32")
    run_cli("gallery", "run", "-o", "links.html", "--links")
    inline, links = (Path(f"{n}.html").read_text("utf-8") for n in ("inline", "links"))
    assert inline.count("data:image/webp;base64,") == 3
    assert "data:image/webp" not in links
    assert [row[2] for row in data_of(links)["images"]] == [None, None, None]


def test_the_page_on_stdout(run_cli: RunCli, folder: Path) -> None:
    ran = run_cli("gallery", "run", "-o", "-")
    assert ran.stdout.startswith("<!doctype html>")
    assert len(data_of(ran.stdout)["images"]) == 3
    assert run_cli("gallery", "run", "-o", "-", "--json").code == ExitCode.USAGE


def test_a_json_document(run_cli: RunCli, folder: Path) -> None:
    document = run_cli("gallery", "run", "--json").document
    assert document == {"schema": "sdcli/gallery/1", "path": "run/gallery.html", "images": 3}


def test_a_damaged_image_is_left_out(run_cli: RunCli, folder: Path) -> None:
    (folder / "9.png").write_bytes((folder / "9.png").read_bytes()[:60])
    ran = run_cli("gallery", "run", "--json")
    assert (ran.code, ran.document["images"]) == (0, 2)
    assert "warning: left out: run/9.png" in ran.stderr


def test_images_without_records_are_shown_by_name(run_cli: RunCli, folder: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 20), "red").save(folder / "holiday: 1.jpg")
    run_cli("gallery", "run")
    rows = data_of((folder / "gallery.html").read_text("utf-8"))["images"]
    [row] = [row for row in rows if row[0] == "holiday: 1.jpg"]
    assert row[1] == "holiday%3A%201.jpg"
    assert (row[3], row[4], row[5]) == (40, 20, [])


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["nowhere"], ExitCode.USAGE, "nowhere: not a folder"),
        (["empty"], ExitCode.USAGE, "empty: no images"),
        (["run", "-o", "empty"], ExitCode.USAGE, "--out empty: a folder"),
        (["run", "-o", "page.txt"], ExitCode.USAGE, "as in --out page.html"),
        (["run", "-o", "page"], ExitCode.USAGE, "as in --out page.html"),
        (["run", "--thumbnail", "4"], ExitCode.USAGE, "32 or more"),
        (["run", "-o", "run/9.png/x.html"], ExitCode.OUTPUT, "run/9.png"),
    ],
)
def test_mistakes(
    run_cli: RunCli, folder: Path, argv: list[str], code: ExitCode, message: str
) -> None:
    Path("empty").mkdir()
    ran = run_cli("gallery", *argv)
    assert ran.code == code
    assert message in ran.stderr
    assert not re.search("Traceback", ran.stderr)


def test_a_request_that_no_command_line_can_express(run_cli: RunCli, tmp_path: Path) -> None:
    write_image(tmp_path / "odd" / "a.png", prompt="-", seed=1)
    run_cli("gallery", "odd")
    data = data_of((tmp_path / "odd" / "gallery.html").read_text("utf-8"))
    assert command_of(data, 0) == ""
    assert settings_of(data)[0]["prompt"] == "-"
