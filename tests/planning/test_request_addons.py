"""ControlNets, embeddings and LoRAs of requests: what is refused, noted and left out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdcli.checkpoints.adapters.embedded_addons import EMBEDDED_LORAS
from sdcli.checkpoints.adapters.embedding_file import embeddings_in
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults
from sdcli.errors import UsageError
from sdcli.input_images import InputImage
from sdcli.planning.planner import Planner
from sdcli.planning.request_controls import NO_CONTROLS, take_controls
from sdcli.planning.request_embeddings import find_embeddings
from sdcli.planning.request_loras import take_loras
from sdcli.prompts.entry import PromptEntry, SourceLocation
from sdcli.prompts.field_values import entry_values
from sdcli.request import GenerationRequest
from tests.embeddings import vectors, write_single

DEFAULTS = read_defaults(EMBEDDED_FOLDER)


def read(path: str) -> InputImage:
    return InputImage(path=path, sha256="0" * 64, width=64, height=64)


def control(request: GenerationRequest) -> object:
    return take_controls(request, DEFAULTS, read)


def embed(request: GenerationRequest) -> object:
    return find_embeddings(request, DEFAULTS)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a LoRA, an embedding and a file for a ControlNet."""
    folder = tmp_path / "a;b"
    folder.mkdir()
    monkeypatch.chdir(folder)
    shutil.copy(EMBEDDED_LORAS / "flag.safetensors", folder)
    shutil.copy(EMBEDDED_LORAS / "flag.safetensors", folder / "edges.safetensors")
    write_single(folder / "toy", vectors(2))
    return folder


@pytest.mark.parametrize(
    ("take", "options"),
    [
        (control, {"controlnet": "edges.safetensors", "control_image": "a.png"}),
        (embed, {"embedding": "toy", "embedding_dir": "FOLDER"}),
        (embed, {"embedding_dir": "FOLDER"}),
        (take_loras, {"lora": "flag", "lora_dir": "FOLDER"}),
    ],
)
def test_a_path_with_the_sign_between_paths_is_refused(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    take: Callable[[GenerationRequest], Any],
    options: dict[str, str],
) -> None:
    if "controlnet" not in options:  # else a file of the current folder comes first
        monkeypatch.chdir(folder.parent)
    given = {k: v.replace("FOLDER", str(folder)) for k, v in options.items()}
    request = GenerationRequest(prompt="a toy", **given)  # type: ignore[arg-type]
    if "embedding" not in given and "embedding_dir" in given:
        # Nobody asked for this one by its name.
        assert "has ';', which separates" in " ".join(take(request).notes.values())
        return
    with pytest.raises(UsageError, match="has ';', which separates") as caught:
        take(request)
    assert caught.value.message.startswith(f"{next(iter(given))}: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("controlnet", "edges.safetensors"),
        ("control_image", "x.png"),
        ("embedding", "toy.safetensors"),
        ("lora", "flag.safetensors"),
    ],
)
def test_so_is_one_in_the_folder_of_a_prompt_file(folder: Path, name: str, value: str) -> None:
    (folder / "rows.jsonl").touch()
    place = SourceLocation(str(folder / "rows.jsonl"), 1)
    _, faults = entry_values(PromptEntry(fields={name: value}, location=place))
    assert ["has ';', which separates" in fault.message for fault in faults] == [True]
    _, faults = entry_values(PromptEntry(fields={name: "none"}, location=place))
    assert not faults


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"controlnet": "none", "control_image": "a.png"}, None),
        ({"controlnet": "none", "control_preprocess": "canny"}, None),
        ({"control_image": " None "}, None),
        ({"control_image": "none;none", "control_preprocess": "None;none"}, None),
        ({"control_image": "a.png"}, "control_image: it has no effect"),
        ({"control_preprocess": "none;canny"}, "control_preprocess: it has no effect"),
    ],
)
def test_control_images_without_a_controlnet(options: dict[str, str], words: str | None) -> None:
    request = GenerationRequest(prompt="a", **options)  # type: ignore[arg-type]
    if words is None:
        assert control(request) == NO_CONTROLS
        return
    with pytest.raises(UsageError, match=words):
        control(request)


def test_an_unused_embedding_is_told_once(tmp_path: Path) -> None:
    write_single(tmp_path / "toy", vectors(2))
    notes: list[str] = []
    planner = Planner(notes.append, find_model=lambda spec: (DEFAULTS, ""))
    prompts = ("a cat", "a toy", "a dog", "a red cat")
    planner.plan(
        GenerationRequest(prompt=prompt, embedding=f"{tmp_path}/toy.safetensors", seed=1)
        for prompt in prompts
    )
    assert [note.partition(" in the prompt ")[2] for note in notes] == ["'a cat'"]


@pytest.mark.parametrize("by_folder", [True, False])
@pytest.mark.parametrize(
    ("word", "fact"), [("Toy", "toy"), ("\u0130x", "\u0130x"), ("\u017ftyle", "\u017ftyle")]
)
def test_a_word_is_found_as_it_is_written(
    tmp_path: Path, word: str, fact: str, by_folder: bool
) -> None:
    write_single(tmp_path / word, vectors(2))
    named = {} if by_folder else {"embedding": word}
    request = GenerationRequest(prompt=f"a {word}", embedding_dir=str(tmp_path), **named)
    [found] = find_embeddings(request, DEFAULTS).words
    assert (found.word, found.vectors) == (fact, 2)


def test_an_embedding_that_is_new_is_found_in_a_folder_of_folders(tmp_path: Path) -> None:
    inner = tmp_path / "x" / "y"
    inner.mkdir(parents=True)
    names = []
    for number, folder in enumerate((inner, tmp_path, inner / "z")):
        assert sorted(embeddings_in(tmp_path)) == names
        folder.mkdir(exist_ok=True)
        write_single(folder / f"toy{number}", vectors(1))
        names.append(f"toy{number}")
        # The clock of the file system may not have moved on.
        for changed in (folder, folder.parent):
            os.utime(changed, (number + 1, number + 1))
    shutil.rmtree(inner / "z")
    os.utime(inner, (9, 9))
    assert sorted(embeddings_in(tmp_path)) == names[:2]
