"""The tokenizer of a model is that of its files, however they are written."""

from __future__ import annotations

import codecs
import json
import shutil
from pathlib import Path

import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.engine.loading.tokenizer import load_tokenizer

PROMPT = "a cat and a guitar, naïve 🐈"


@pytest.mark.parametrize(
    "write",
    [
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: json.dumps(json.loads(text), indent=2).encode(),
        lambda text: json.dumps(json.loads(text), ensure_ascii=False).encode(),
    ],
    ids=["byte order mark", "indented", "not escaped"],
)
def test_the_spelling_of_a_file_does_not_matter(write, tmp_path: Path) -> None:
    folder = shutil.copytree(EMBEDDED_FOLDER / "tokenizer", tmp_path / "tokenizer")
    for path in folder.glob("*.json"):
        path.write_bytes(write(path.read_text("utf-8")))
    expected, _ = load_tokenizer(EMBEDDED_FOLDER / "tokenizer", 77)
    found, notes = load_tokenizer(folder, 77)
    assert notes == ()
    assert found(PROMPT).input_ids == expected(PROMPT).input_ids
    assert found.get_vocab() == expected.get_vocab()
