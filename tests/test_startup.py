"""What must be quick stays quick: no verb imports the heavy libraries before it needs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

HEAVY = {"torch", "diffusers", "transformers", "accelerate"}
HELP_FREE = HEAVY | {"PIL", "numpy", "rich.console", "rich.table", "pydantic.main", "safetensors"}

PROBE = """
import json, sys
from sdcli.cli import main
code = main(sys.argv[1:])
print(json.dumps([int(code), sorted(sys.modules)]), file=sys.stderr)
"""


def probe(*argv: str, cwd: object = None) -> tuple[int, set[str]]:
    """The exit code of a fresh process, and the modules that it had imported."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", PROBE, *argv], capture_output=True, text=True, env=env, cwd=cwd
    )
    code, modules = json.loads(ran.stderr.splitlines()[-1])
    return code, set(modules)


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--help"], 0),
        (["generate", "--help"], 0),
        (["batch", "--help"], 0),
        (["batch", "nowhere.txt"], 2),
        (["--version"], 0),
        (["generate", "a cat", "--stpes", "3"], 2),
        (["generate", "a cat", "--size", "12"], 2),
        (["generate", "a cat", "--steps", "0"], 2),
    ],
)
def test_talk_imports_nothing_heavy(argv, code):
    got, modules = probe(*argv)
    assert got == code
    assert not HELP_FREE & modules


def test_a_scheduler_nobody_knows_is_refused_without_torch(tmp_path):
    code, modules = probe("generate", "a cat", "-s", "eulr", cwd=tmp_path)
    assert code == 2
    assert not HEAVY & modules


def test_a_backend_that_cannot_run_is_refused_without_torch(tmp_path):
    code, modules = probe(
        "generate", "a cat", "--backend", "openvino", "--dtype", "float16", cwd=tmp_path
    )
    assert code == 2
    assert not (HEAVY | {"openvino"}) & modules


def test_inspecting_an_image_needs_no_torch(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    code, modules = probe("inspect", str(tmp_path / "plain.png"))
    assert code == 0
    assert not HEAVY & modules


@pytest.mark.parametrize("verb", ["gallery", "score"])
def test_a_gallery_and_its_scores_need_no_torch(tmp_path, verb):
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    code, modules = probe(verb, str(tmp_path))
    assert code == 0
    assert not HEAVY & modules


def test_inspecting_a_model_needs_no_torch():
    code, modules = probe("inspect", "embedded")
    assert code == 0
    assert not HEAVY & modules


def test_the_installed_command_is_main() -> None:
    from importlib.metadata import entry_points

    from sdcli.__main__ import main

    [script] = entry_points(group="console_scripts", name="sdcli")
    assert script.load() is main


def test_a_command_imports_no_other_command() -> None:
    _, modules = probe("generate", "a cat", "--stpes", "3")
    ours = {name.split(".")[2] for name in modules if name.startswith("sdcli.commands.")}
    assert ours == {"generate", "options"}
    _, modules = probe("--help")
    assert not any(name.startswith("sdcli.commands.options.flags") for name in modules)


def test_the_help_of_batch_does_not_import_what_draws_images() -> None:
    code, modules = probe("batch", "--help")
    assert code == 0
    assert not {"sdcli.runner.loop", "sdcli.workflows.replay"} & modules


def test_a_group_alone_is_a_usage_error(run_cli) -> None:
    ran = run_cli("vae")
    assert ran.code == 2
    assert ran.stderr == "sdcli: error: missing command\nsdcli: hint: sdcli vae --help\n"
