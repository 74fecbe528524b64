"""The manual says what the program says: its generated parts, its commands and its documents."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from sdcli import docs
from sdcli.cli import app
from sdcli.commands.doctor import _OPTIONAL
from sdcli.errors import ExitCode
from sdcli.result import SecondPass
from sdcli.row import Row
from sdcli.storage.metadata.record import make_record
from tests import manual, tour
from tests.conftest import RunCli
from tests.jobs import make_result, make_run
from tests.server.workers import warm_variables


def page(topic: str) -> str:
    return (docs.FOLDER / f"{topic}.md").read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def test_every_block_names_its_language() -> None:
    """Those of `sh` are run, those of `text` parsed; a bare one would be neither."""
    for path in manual.pages():
        fences = re.findall(r"^```(.*)$", path.read_text("utf-8"), flags=re.M)
        assert set(fences[1::2]) <= {""}, path
        assert set(fences[::2]) <= {"sh", "text", "json", "python", "bash", "toml", "yaml"}, path


PARTS = [(path, name) for path in manual.pages() for name in manual.parts(path.read_text("utf-8"))]


@pytest.mark.parametrize(
    ("path", "name"), PARTS, ids=[f"{path.stem}-{name}" for path, name in PARTS]
)
def test_generated_parts_are_up_to_date(path: Path, name: str) -> None:
    """`make docs` (`python -m tests.manual`) writes them again."""
    if name in manual.PARTS:
        assert manual.parts(path.read_text("utf-8"))[name] == manual.PARTS[name]()


def test_every_generated_part_is_in_a_page() -> None:
    assert {name for _, name in PARTS} == set(manual.PARTS)


def test_generated_parts_are_whole() -> None:
    for path in manual.pages():
        text = path.read_text("utf-8")
        assert text.count("<!-- generated:") == text.count("<!-- end -->")
        assert text.count("<!--") == 2 * len(manual.parts(text))


def test_topics_are_the_files() -> None:
    assert {f"{topic}.md" for topic in docs.TOPICS} == {p.name for p in docs.FOLDER.glob("*.md")}


@pytest.mark.parametrize("topic", docs.TOPICS)
def test_a_page_has_a_title_and_one_line_about_it(topic: str) -> None:
    assert re.match(r"# .+\n\n[^#`|-][^\n]+\.\n\n", docs.read_topic(topic))
    assert len(docs.topic_summary(topic)) < 100


def test_every_exit_code_is_explained() -> None:
    codes = re.findall(r"^\| (\d+) +\| (\w+)", manual.exit_codes(), flags=re.M)
    assert codes == [(str(int(code)), code.name.lower()) for code in ExitCode]


def test_every_field_is_explained() -> None:
    """Each name that a prompt file may use is in the page."""
    from sdcli.prompts.fields import _BY_SPELLING

    names = set(re.findall(r"`([\w]+)`", manual.fields())) | {"prompt"}
    assert set(_BY_SPELLING) <= names


def test_words_of_other_programs_with_one_meaning_are_one_item() -> None:
    rows = [
        SimpleNamespace(word=word, ours=ours, note=note, tools=("A1111", "kohya"))
        for word, ours, note in (
            ("--cfg-scale", "--guidance", None),
            ("--cfg", "--guidance", None),
            ("--lora", None, "not supported"),
            ("--gpu", "--device", "e.g. cuda:1"),
        )
    ]
    assert manual.synonym_list(rows) == (
        "- `--cfg-scale`, `--cfg` (A1111, kohya): `--guidance`\n"
        "- `--lora` (A1111, kohya): not supported\n"
        "- `--gpu` (A1111, kohya): `--device`; e.g. cuda:1\n"
    )


def test_every_schema_is_listed() -> None:
    pattern = r"sdcli/[a-z-]+/[0-9]+"
    sources = "".join(p.read_text("utf-8") for p in manual.ROOT.glob("sdcli/**/*.py"))
    listed = re.findall(rf"^\| `({pattern})`", page("scripting"), flags=re.M)
    assert listed == sorted(set(re.findall(rf'"({pattern})"', sources)))


def test_messages_name_the_packages_of_the_manual() -> None:
    """Never sdcli itself: the package of that name on PyPI is another program."""
    sources = "".join(p.read_text("utf-8") for p in manual.ROOT.glob("sdcli/**/*.py"))
    named = set(
        re.sub(r"'|\[\w+\]", "", " ".join(re.findall(r"pip install ([^\"(),;]+)", sources))).split()
    )
    assert named - {"{name}", "{package}"} <= set(dict(_OPTIONAL))


def test_every_key_of_a_record_is_explained() -> None:
    run = make_run(
        refiner_call=3,
        vae_dtype="float32",
        vae_order="channels_last",
        compiled=True,
        second_pass=SecondPass(width=96, height=96, timesteps=(1.0,), sigmas=None),
        image="in.png",
        image_sha256="ab" * 32,
        controlnet="b.safetensors",
        controlnet_sha256="ab" * 32,
        control_image="c.png:1",
        control_image_sha256=f"{'ab' * 32}:1",
        ip_adapter="d.safetensors",
        ip_adapter_sha256="ab" * 32,
        ip_image="c.png:1",
        ip_image_sha256=f"{'ab' * 32}:1",
        lora="a.safetensors:1",
        lora_sha256=f"{'cd' * 32}:1",
        embedding="a.pt:toy",
        embedding_facts=f"{'ef' * 32}:2:toy",
        row=Row(extra={"sku": "P1"}),
    )
    record = make_record(make_result(run=run), {"sdcli": "0"})
    explained = set(re.findall(r"`(\w+)`", page("records")))
    assert set(record) <= explained


def command_lines(text: str) -> Iterator[list[str]]:
    """Commands of sdcli in `text` blocks, which are not run: with or without a prompt."""
    for block in blocks(text, "text"):
        for line in block.replace("\\\n", "").splitlines():
            if re.match(r"(\$ )?sdcli ", line) and "--help" not in line:
                yield shlex.split(line.removeprefix("$ "), comments=True)[1:]


PARSED = [(p, words) for p in manual.pages() for words in command_lines(p.read_text("utf-8"))]


@pytest.mark.parametrize(("path", "words"), PARSED, ids=[" ".join(words) for _, words in PARSED])
def test_commands_that_need_a_network_are_parsed(path: Path, words: list[str]) -> None:
    command, context = typer.main.get_command(app), None
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    context = command.make_context("sdcli", list(words))
    assert context.params


RUNNABLE = [topic for topic in docs.TOPICS if blocks(page(topic), "sh")]
_TOOLS = ("jq", "parallel")


def is_sdcli_alone(line: str) -> bool:
    return line.startswith("sdcli ") and not re.search(r"[|<>&$]", re.sub(r'"[^"$]*"', "", line))


def run_block(block: str, folder: Path) -> int:
    """Run a block in the current folder: lines of sdcli in this process, all others in a shell."""
    if "--warm" in block:  # for processes that end
        return tour.run_in_shell(block, folder)
    lines = block.replace("\\\n", "").splitlines(keepends=True)
    for is_alone, some in groupby(lines, is_sdcli_alone):
        for part in some if is_alone else ["".join(some)]:
            if code := (tour.run if is_alone else tour.run_in_shell)(part, folder):
                return code
    return 0


@pytest.mark.sample(4)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("topic", RUNNABLE)
def test_the_commands_of_a_page_run(
    topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with warm_variables() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        for block in blocks(page(topic), "sh"):
            # Machines without these tools run the other blocks; .ci/run installs both.
            if all(shutil.which(tool) for tool in _TOOLS if re.search(rf"\b{tool}\b", block)):
                assert run_block(block, tmp_path) == 0, block


@pytest.mark.sample(6)
@pytest.mark.parametrize("block", blocks(page("python"), "python"))
def test_the_python_of_the_manual_runs(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(block, names)
    for expression, value in re.findall(r"^(\S.*?)  # ([\d(\"].*)$", block, flags=re.M):
        if (plain := re.match(r'-?\d+|\([\d, ]+\)|"[^"]*"', value)) is not None:
            shown = expression.partition(" = ")[2] or expression
            assert eval(shown, names) == eval(plain[0])


def same_shape(example: Any, real: Any) -> bool:
    """Whether two documents have the same keys and types; null may be anything."""
    if example is None or real is None:
        return True
    if isinstance(example, dict) and isinstance(real, dict):
        return example.keys() == real.keys() and all(
            same_shape(value, real[key]) for key, value in example.items()
        )
    if isinstance(example, list) and isinstance(real, list):
        return not (example and real) or same_shape(example[0], real[0])
    return type(example) is type(real)


def test_the_documents_of_the_manual_are_the_programs(run_cli: RunCli) -> None:
    examples = {
        document["schema"]: document
        for block in blocks(page("scripting"), "json")
        for document in map(json.loads, block.splitlines())
    }

    def lines(*argv: str, stdin: str = "") -> list[Any]:
        return [json.loads(line) for line in run_cli(*argv, stdin=stdin).stdout.splitlines()]

    documents = [
        *lines("generate", "a cat", "--seed", "7", "-o", "cat.png", "--jsonl"),
        run_cli("generate", "a cat", "--steps", "2", "-o", "run.png", "--json").document,
        run_cli("generate", "a cat", "--steps", "0", "--json").document,
        *lines("batch", "-", "--dry-run", "--jsonl", stdin="a cat")[:1],
        run_cli("batch", "-", "--dry-run", "--json", stdin="a cat").document,
        run_cli("replay", "cat.png", "--check", "--json").document,
    ]
    assert {document["schema"] for document in documents} == set(examples)
    for document in documents:
        assert same_shape(examples[document["schema"]], document), document["schema"]


@pytest.mark.skipif(not shutil.which("jq"), reason="the recipe needs jq")
def test_an_upload_loop_survives_kills_of_both_sides(tmp_path: Path) -> None:
    """Every image is made once and uploaded whole, at most one of them twice."""
    shop = UploadedShop(tmp_path)
    batch, uploads = shop.start()
    shop.wait_for_uploads(1)
    batch.kill()
    shop.end(batch, uploads)
    # The second start is ended by the upload, which kills its own loop.
    codes = shop.end(*shop.start(kill_at=4))
    assert codes[0] == ExitCode.CLOSED_PIPE
    assert codes[1] != 0
    assert shop.end(*shop.start()) == [0, 0]
    log = shop.log()
    made = sorted((tmp_path / "shop").glob("*.png"))
    assert {path.name for path in made} == {
        f"P{row}-{10 * row + i}.png" for row in (1, 2, 3) for i in range(4)
    }
    assert {Path(path).name for path, _ in log} == {path.name for path in made}
    assert len(log) <= len(made) + 1
    assert all(Path(path).name.startswith(f"{sku}-") for path, sku in log)
    for path in made:
        assert (tmp_path / "bucket" / path.name).read_bytes() == path.read_bytes()


class UploadedShop:
    """A batch and the upload loop of the manual, in a folder."""

    def __init__(self, folder: Path) -> None:
        [script] = blocks(page("scripting"), "bash")
        self.folder = folder
        tools = folder / "bin"
        tools.mkdir()
        (tools / "upload-images").write_text(script)
        # Kills its caller after an upload, before that is noted down.
        (tools / "upload").write_text(
            '#!/bin/sh\ncp "$1" bucket/ && printf "%s\\t%s\\n" "$1" "$2" >> log\n'
            'test "$(wc -l < log)" != "$KILL_AT" || kill -9 $PPID\n'
        )
        for tool in tools.iterdir():
            tool.chmod(0o755)
        (folder / "bucket").mkdir()
        (folder / "products.csv").write_text(
            "sku,title,seed\nP1,a red star,10\nP2,a fish,20\nP3,a lemon,30\n"
        )
        self.env = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}

    def start(self, kill_at: int = 0) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
        names = ["--prompt-column", "title", "--extra", "keep", "--name-template", "{sku}-{seed}"]
        quick = ["--count", "4", "--steps", "2", "--batch-size", "1", "-q"]
        argv = ["batch", "products.csv", *names, *quick, "-o", "shop", "--jsonl"]
        batch = subprocess.Popen(
            [sys.executable, "-m", "sdcli", *argv],
            cwd=self.folder,
            stdout=subprocess.PIPE,
        )
        uploads = subprocess.Popen(
            ["upload-images"],
            cwd=self.folder,
            stdin=batch.stdout,
            env=self.env | {"KILL_AT": str(kill_at)},
            executable=self.folder / "bin" / "upload-images",
        )
        return batch, uploads

    def end(self, *processes: subprocess.Popen[bytes]) -> list[int]:
        for process in processes:
            if process.stdout:
                process.stdout.close()
        return [process.wait(300) for process in processes]

    def log(self) -> list[list[str]]:
        path = self.folder / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split("\t") for line in lines]

    def wait_for_uploads(self, number: int) -> None:
        end = time.monotonic() + 300
        while len(self.log()) < number and time.monotonic() < end:
            time.sleep(0.05)
        assert len(self.log()) >= number
