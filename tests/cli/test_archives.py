"""`sdcli batch --archive`: samples with the images of a plain run, reports, and what is refused."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from sdcli.storage.images.codec import read_image_info
from tests.processes import start_fork

WORDS = ("a cat", "a dog", "a fish")
QUICK = ("--device", "cpu", "--size", "64x64", "--batch-size", "1", "--seed", "1")
PACKED = ("--archive", "tar", "--shards-of", "2")


@pytest.fixture(autouse=True)
def prompts(run_cli) -> None:
    del run_cli  # for its folder
    Path("prompts.txt").write_text("".join(f"{word}\n" for word in WORDS))


def samples(folder: str) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted(Path(folder).glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file
                key, _, suffix = member.name.partition(".")
                assert suffix not in found.setdefault(key, {})
                found[key][suffix] = file.read()
    return found


def batch(run_cli, *argv: str):
    return run_cli("batch", "prompts.txt", *QUICK, "--steps", "1", *argv)


def test_archives_have_the_images_of_a_plain_run(run_cli):
    batch(run_cli, "-o", "plain")
    ran = batch(run_cli, "-o", "out", *PACKED, "--save-latents", "final")
    assert (ran.code, ran.messages) == (0, "sdcli: 3 images made\n")
    assert ran.stdout.splitlines() == ["out/000000.tar", "out/000001.tar"]
    packed = samples("out")
    for path in Path("plain").glob("*.png"):
        sample = packed.pop(path.stem)
        assert sample["png"] == path.read_bytes()
        assert json.loads(sample["json"]) == read_image_info(path)["record"]
        assert sample["txt"].decode() in WORDS
        assert [*sample] == ["png", "json", "txt", "latents.safetensors"]
    assert not packed
    assert {path.name for path in Path("out").iterdir()} == {
        "000000.tar",
        "000001.tar",
        "sdcli-journal.jsonl",
    }
    again = batch(run_cli, "-o", "out", *PACKED, "--save-latents", "final", "--list-done")
    assert again.stderr == "sdcli: 0 images made, 3 done before\n"
    assert again.stdout.splitlines()[2] == "out/000001.tar/0003-a-fish-1.png"
    with tarfile.open("out/000000.tar") as tar:
        tar.extractall("unpacked", filter="data")
    assert run_cli("replay", "unpacked/0001-a-cat-1.png").code == 0


def test_workers_report_archives_as_events(run_cli):
    ran = batch(run_cli, "-o", "out", *PACKED, "--workers", "1", "--jsonl")
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    archives = [event for event in events if event["event"] == "archive"]
    assert archives == [
        {"schema": "sdcli/archive/1", "path": "out/000000.tar", "images": 2, "event": "archive"},
        {"schema": "sdcli/archive/1", "path": "out/000001.tar", "images": 1, "event": "archive"},
    ]
    assert len([event for event in events if event["event"] == "image"]) == 3
    assert len(samples("out")) == 3


def test_one_document_lists_the_archives_and_the_format_is_that_of_the_names(run_cli):
    ran = batch(run_cli, "-o", "out/x.jpg", *PACKED, "--json")
    assert [archive["path"] for archive in ran.document["archives"]] == [
        "out/000000.tar",
        "out/000001.tar",
    ]
    packed = samples("out")
    assert [*packed] == ["x-0001", "x-0002", "x-0003"]
    assert Image.open(io.BytesIO(packed["x-0001"]["jpg"])).format == "JPEG"


def test_a_killed_run_goes_on(run_cli):
    argv = ("batch", "prompts.txt", *QUICK, "--steps", "20", "-o", "out", *PACKED, "--jsonl")
    process = start_fork(*argv, stdout=subprocess.PIPE)
    assert process.stdout
    while '"event": "image"' not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=240)
    ran = run_cli(*argv)
    assert ran.code == 0
    done = json.loads(ran.stdout.splitlines()[-1])
    assert done["made"] <= 2
    assert done["made"] + done["skipped"] == 3
    assert sorted(sample["txt"].decode() for sample in samples("out").values()) == [*WORDS]
    assert not list(Path("out").glob("*.png"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--archive", "tar"), "--archive needs --shards-of N"),
        (("--shards-of", "3"), "--shards-of needs --archive tar"),
        (("--archive", "zip", "--shards-of", "3"), "'zip' is not one of tar"),
        (("--archive", "tar", "--shards-of", "0"), "--shards-of"),
        ((*PACKED, "-o", "-"), "--archive can't write to stdout"),
        ((*PACKED, "--steps", "1,2", "--grid", "steps"), "--archive can't be used with --grid"),
    ],
)
def test_options_that_do_not_fit_are_refused(run_cli, argv, message):
    ran = run_cli("batch", "prompts.txt", *QUICK, *argv)
    assert (ran.code, ran.stdout) == (2, "")
    assert message in ran.stderr
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("replay a/000000.tar", "an archive, not an image"),
        ("score a/000000.tar", "an archive, not an image"),
        ("score a", "no images"),
        ("gallery a", "no images"),
        ("batch a", "no images"),
    ],
)
def test_commands_that_read_images_say_how_to_unpack(run_cli, argv, message):
    Path("a").mkdir()
    with tarfile.open("a/000000.tar", "w"):
        pass
    ran = run_cli(*argv.split())
    assert ran.code == 2
    assert message in ran.stderr
    assert "tar -xf a/000000.tar" in ran.stderr
