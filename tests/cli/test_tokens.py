"""`sdcli tokens` shows a prompt as the text encoder gets it, in any terminal, without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sdcli.checkpoints.clip_tokenizer import ModelTokenizers, load_clip_tokenizer
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.checkpoints.single_file.vocabulary import tokenizer_files, vocabulary_files
from sdcli.errors import CorruptError
from tests.conftest import RunCli
from tests.terminals import run_sdcli, without_styles

TEXTS = [
    "", "a cat", "A  Cat, the dog's 123!!", "é ﬁ İstanbul 你好 😀", "\n\ttab", "it's they've I'll",
    ",,, ...", "a" * 200, "hello!", "! ! a!b", "<|endoftext|> x <|startoftext|>", "ÅA\u030a",
    "\u0958\u0959", "16:9 (a:1.3) [b|c]", "don't_stop-me 3.14",
]  # fmt: skip


@pytest.fixture(scope="module", params=["embedded", "clip", "openclip"])
def folder(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder, of which only the tokenizer and the text encoder's size matter."""
    if request.param == "embedded":
        return EMBEDDED_FOLDER
    folder = tmp_path_factory.mktemp("model")
    (folder / "tokenizer").mkdir()
    (folder / "text_encoder").mkdir()
    (folder / "text_encoder" / "config.json").write_text('{"max_position_embeddings": 77}')
    pad = "!" if request.param == "openclip" else "<|endoftext|>"
    for name, data in {**tokenizer_files(pad), **vocabulary_files()}.items():
        (folder / "tokenizer" / name).write_bytes(data)
    return folder


def test_tokens_equal_those_of_transformers(folder: Path) -> None:
    from transformers import CLIPTokenizer

    theirs = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    ours = load_clip_tokenizer(folder)
    assert (ours.bos, ours.eos) == (theirs.bos_token_id, theirs.eos_token_id)
    assert (ours.pad, ours.limit) == (theirs.pad_token_id, theirs.model_max_length - 2)
    for text in TEXTS:
        expected = theirs(text, add_special_tokens=False, return_offsets_mapping=True)
        assert [token for token, _, _ in ours(text)] == expected.input_ids, text
        assert [(a, b) for _, a, b in ours(text)] == expected["offset_mapping"], text


def test_a_tokenizer_that_changes_is_read_again(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "model"))
    assert load_clip_tokenizer(folder).limit == ModelTokenizers(folder).limit == 75
    path = folder / "tokenizer" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": 20}))
    assert load_clip_tokenizer(folder).limit == ModelTokenizers(folder).limit == 18


@pytest.mark.parametrize("merge", [1, None, ["a"], "a", {"a": 1, "b": 2}])
def test_merges_that_are_none_are_corrupt(tmp_path: Path, merge: object) -> None:
    folder = Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "model"))
    model = {"model": {"vocab": {"a": 0}, "merges": [merge]}}
    (folder / "tokenizer" / "tokenizer.json").write_text(json.dumps(model))
    with pytest.raises(CorruptError, match="no usable vocabulary"):
        load_clip_tokenizer(folder)


def read(run_cli: RunCli, *argv: str) -> Any:
    ran = run_cli("tokens", *argv, "--json")
    assert ran.code == 0, ran.stderr
    return json.loads(ran.stdout)


def words(part: Any, text: str) -> list[tuple[str, float]]:
    return [
        (text[word["start"] : word["end"]], round(word["weight"], 4))
        for chunk in part["chunks"]
        for word in chunk["words"]
    ]


def test_words_have_their_weights_and_places(run_cli: RunCli) -> None:
    prompt = r"a (cat:1.3), \(red\) guitarrrist"
    document = read(run_cli, prompt, "-n", "(dog)")
    assert (document["model"], document["limit"]) == ("embedded", 75)
    [part] = document["prompt"]["parts"]
    assert words(part, prompt) == [
        ("a", 1), ("cat", 1.3), (",", 1), ("(", 1), ("red", 1), (")", 1), ("guitarrrist", 1),
    ]  # fmt: skip
    [negative] = document["negative_prompt"]["parts"]
    assert words(negative, "(dog)") == [("dog", 1.1)]
    last = part["chunks"][0]["words"][-1]
    assert len(last["ids"]) == len(last["pieces"]) > 1
    assert "".join(last["pieces"]) == "guitarrrist</w>"


def test_tags_of_loras_have_no_tokens(run_cli: RunCli) -> None:
    document = read(run_cli, "a <lora:style:0.5> cat")
    assert document["prompt"] == read(run_cli, "a cat")["prompt"]


def test_changing_and_combined_prompts_have_parts(run_cli: RunCli) -> None:
    prompt = "a [cat:dog:0.5] AND blue :0.5"
    parts = read(run_cli, prompt, "--steps", "4")["prompt"]["parts"]
    assert [(p["weight"], p["first_step"], p["last_step"]) for p in parts] == [
        (1, 1, 2), (1, 3, 4), (0.5, 1, 4)
    ]  # fmt: skip
    texts = [[word for word, _ in words(part, prompt)] for part in parts]
    assert texts == [["a", "cat"], ["a", "dog"], ["blue"]]
    [negative] = read(run_cli, "a", "-n", "red AND blue")["negative_prompt"]["parts"]
    assert negative["tokens"] == 3


def test_long_prompts_have_chunks_or_are_cut(run_cli: RunCli) -> None:
    prompt = "cat " * 80 + "star"
    [part] = read(run_cli, prompt)["prompt"]["parts"]
    assert [chunk["tokens"] for chunk in part["chunks"]] == [75, 6]
    described = read(run_cli, prompt, "--prompt-syntax", "plain")["prompt"]
    assert described["parts"][0]["tokens"] == 75
    assert described["cut"] == {"text": "cat " * 5 + "star", "start": 300, "tokens": 6}
    assert "6 tokens are cut off" in run_cli("tokens", prompt, "--prompt-syntax", "plain").stdout


def test_special_tokens_are_flagged(run_cli: RunCli) -> None:
    ran = run_cli("tokens", "a <|endoftext|> cat")
    assert "<|endoftext|> (a special token)" in ran.stdout


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (("a", "--steps", "0"), 2, "num_inference_steps"),
        (("a", "--prompt-syntax", "invokeai"), 2, "compel"),
        (("a", "-m", "./no-such-folder"), 3, "no-such-folder"),
        ((), 2, "PROMPT"),
    ],
)
def test_mistakes_are_one_line(
    run_cli: RunCli, argv: tuple[str, ...], code: int, text: str
) -> None:
    ran = run_cli("tokens", *argv)
    assert ran.code == code
    assert text in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("width", [60, 80, 200])
def test_lines_fit_the_terminal(width: int) -> None:
    prompt = "(masterpiece:1.2), [blurry], a (cat:1.3) and a guitar on a blue background " * 3
    _, output = run_sdcli("tokens", prompt, columns=width)
    assert "\x1b[1;33mcat" in output
    assert "\x1b[2;36mblurry" in output
    lines = without_styles(output).splitlines()
    assert max(map(len, lines)) <= width
    assert "weight" in output


def test_no_heavy_library_is_imported() -> None:
    code = (
        "import sys; from sdcli.cli import main; main(['tokens', '(cat:1.2)']); "
        "sys.exit(bool({'torch', 'transformers', 'diffusers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_empty_lines_only_separate(run_cli: RunCli) -> None:
    ran = run_cli("tokens", "a [cat:dog:0.5]", "-n", "a fish", "--steps", "4")
    blocks = ran.stdout.split("\n\n")
    assert [block.split(":")[0] for block in blocks] == ["prompt", "prompt", "negative prompt"]
    assert not ran.stdout.endswith("\n\n")
    cut = run_cli("tokens", "cat " * 80, "--prompt-syntax", "plain").stdout
    assert cut.split("\n\n")[-1].startswith("prompt: 5 tokens are cut off")
