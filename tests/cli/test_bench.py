"""`sdcli bench` through the real `main()`."""

from __future__ import annotations

import sys

import pytest


def test_seconds_are_split_by_phase(run_cli):
    ran = run_cli("generate", "a cat", "--steps", "2", "--json")
    [image] = ran.document["images"]
    phases = {"import", "load", "encode", "denoise", "decode", "save"}
    assert set(image["seconds"]) == phases
    assert all(seconds > 0 for phase, seconds in image["seconds"].items() if phase != "import")


@pytest.mark.parametrize(
    ("text", "why"),
    [(None, "cannot be read"), ("# nothing\n\n", "no prompt"), ("a\0", ":1:2: NUL character")],
)
def test_a_file_without_prompts_is_refused(run_cli, tmp_path, text, why):
    path = tmp_path / "prompts.txt"
    if text is not None:
        path.write_text(text)
    ran = run_cli("bench", "batch", "--prompts", str(path))
    assert ran.code == 2
    assert why in ran.stderr


@pytest.mark.parametrize("scenario", ["openvino", "openvino-full"])
def test_openvino_is_not_timed_without_the_package(run_cli, monkeypatch, scenario):
    monkeypatch.setitem(sys.modules, "openvino", None)
    ran = run_cli("bench", scenario)
    assert (ran.code, "pip install openvino" in ran.stderr) == (2, True)
