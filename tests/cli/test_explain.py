"""`sdcli explain`: every number is that of the run, and the run is a plain one."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from sdcli.cli import main
from sdcli.storage.images.codec import read_image_info
from tests import explained
from tests.explained import TracedRun
from tests.terminals import Terminal, without_styles
from tests.test_architecture import ROOT
from tests.test_startup import HEAVY, HELP_FREE, probe
from tests.xl_models import write_refiner, write_xl_model

CAT = "a cat and a guitar on a blue background"
QUICK = ("--steps", "3", "--seed", "7", "--size", "64x64", "--device", "cpu")
RUNS: dict[str, tuple[str, ...]] = {
    CAT: (),
    "a red star": ("--steps", "4"),
    "a dog": ("--guidance", "1"),
    "two owls, and a cactus.": ("--scheduler", "euler"),
    "a small banana on the moon": ("--scheduler", "heun"),
    "supercalifragilistic guitar": ("--steps", "1"),
    "a green apple and a red apple": ("--scheduler", "ddim", "--guidance", "7"),
    "cat": ("--negative", "blue", "--steps", "2"),
    "of the": ("--scheduler", "ddim;rescale_betas_zero_snr=true;timestep_spacing=trailing"),
    "a green cat": ("--steps", "4", "--guidance-from", ".5", "--negative", "a dog " * 40),
    "ein Bär & ein <b>Haus</b>": ("--size", "72x40"),
}  # fmt: skip
"""Eleven prompts, each with its options."""


def run_plain(run_cli: Any, *argv: str) -> TracedRun:
    assert run_cli("generate", *argv, "-q", "--force", "--trace", "plain", "-o", "p.png").code == 0
    return TracedRun(Path("plain"))


def close(value: Any, expected: Any) -> bool:
    if isinstance(expected, str):
        return bool(value == expected)
    return bool(value == pytest.approx(expected, rel=2e-4, abs=2e-5))


@pytest.mark.sample(2)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("prompt", RUNS)
def test_every_number_is_that_of_the_run(run_cli, prompt):
    options = (*QUICK, *RUNS[prompt])
    ran = run_cli("explain", prompt, *options, "--trace", "run", "--json", "-q")
    assert ran.code == 0, ran.stderr
    chapters = ran.document["chapters"]
    assert len(chapters) == 11
    run = TracedRun(Path("run"))
    # Chapters that compare runs have those of the other commands beside them.
    replacement = chapters[10]["facts"]["replacement"]
    swapped = run.things()[0]["text"]
    other_words = run_plain(run_cli, prompt.replace(swapped, replacement, 1), *options)
    other_noise = run_plain(run_cli, prompt, *options, "--seed", "8")
    words = ",".join(dict.fromkeys(w["text"] for w in run.content() or run.words))
    causal = run_cli("attention", prompt, *options, "--causal", "--words", words, "--json", "-q")
    expected = [
        explained.expected_noise(run),
        explained.expected_pieces(run),
        explained.expected_vectors(run, other_words, replacement),
        explained.expected_first_look(run),
        explained.expected_attention(run),
        explained.expected_influence(run, causal.document["words"]),
        explained.expected_walk(run),
        explained.expected_arrival(run),
        explained.expected_guidance(run),
        explained.expected_decoding(run),
        explained.expected_chance(run, other_noise.end, other_words.end, replacement),
    ]
    for chapter, facts in zip(chapters, expected, strict=True):
        assert chapter["facts"].keys() == facts.keys(), chapter["title"]
        wrong = {k: (chapter["facts"][k], v) for k, v in facts.items()
                 if not close(chapter["facts"][k], v)}  # fmt: skip
        assert wrong == {}, chapter["title"]
    arrivals = {row[0]: row[2] for row in chapters[7]["table"]["rows"]}
    things = [explained.arrival(run, explained.place(run, w)) for w in run.things()]
    assert list(arrivals.values()) == [explained.arrival(run), *things]


def written_templates(path: Path) -> list[str]:
    """The texts that a module passes to `say` and `Sentence`."""
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("say", "Sentence")
    ]
    return [
        part.value
        for call in calls
        for part in ast.walk(call.args[0])
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def test_no_number_is_written_into_a_sentence():
    """Outside of the places for facts, no sentence has a digit."""
    modules = sorted((ROOT / "workflows" / "explain").glob("*chapters.py"))
    templates = [text for path in modules for text in written_templates(path)]
    assert len(modules) == 5
    assert len(templates) > 40
    for template in templates:
        assert not re.search(r"\d", re.sub(r"\{[^}]*\}", "", template)), template


def test_the_run_is_a_plain_one_and_has_its_record(run_cli):
    ran = run_cli("explain", CAT, *QUICK, "--trace", "run", "-q", "-o", "cat.html")
    assert (ran.code, ran.stdout, ran.stderr) == (0, "cat.html\n", "")
    run_cli("generate", CAT, *QUICK, "--trace", "plain", "-q", "-o", "plain.png")
    assert Path("run/image.png").read_bytes()
    plain = read_image_info("plain.png")["pixels_sha256"]
    assert read_image_info("run/image.png")["pixels_sha256"] == plain
    for name in ("image.latents.safetensors", "trace.safetensors"):
        own, other = load_file(f"run/{name}"), load_file(f"plain/{name}")
        assert own.keys() == other.keys()
        assert all(np.array_equal(own[key], other[key]) for key in own)
    assert run_cli("replay", "run/image.png", "--check").code == 0
    # From the image's record, and without a trace, it says the same.
    first = run_cli("explain", "run/image.png", "--json", "-q").document
    second = run_cli("explain", CAT, *QUICK, "--json", "-q").document
    assert first["chapters"] == second["chapters"]
    assert first["pixels_sha256"] == plain
    assert sorted(p.name for p in Path().iterdir() if p.is_dir()) == ["plain", "run"]


def test_text_is_printed_with_tables_and_plots(run_cli):
    ran = run_cli("explain", CAT, *QUICK, "-q")
    assert ran.code == 0
    headings = re.findall(r"^(\d+)\. ", ran.stdout, flags=re.M)
    assert headings == [str(number) for number in range(1, 12)]
    assert re.search(r"^word +share of the attention", ran.stdout, flags=re.M)
    assert "\x1b" not in ran.stdout
    assert "{" not in ran.stdout
    assert max(len(line) for line in ran.stdout.split("The command that")[0].splitlines()) <= 88


@pytest.mark.sample(1)
@pytest.mark.parametrize("columns", [60, 200])
def test_a_terminal_of_any_width_shows_pictures(run_cli, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal(columns)
    with monkeypatch.context() as patch, os.fdopen(terminal.follower, "w") as stream:
        patch.setattr("sys.stdout", stream)
        assert main(["explain", CAT, *QUICK, "-q"]) == 0
    text = without_styles(terminal.text()).split("The command that")[0]
    lines = text.splitlines()
    assert max(map(len, lines)) <= columns
    pictures = [line for line in lines if "▀" in line]
    # At least 20 pictures of at least 7 rows, of which 4 stand side by side at most at 60 columns.
    assert len(pictures) > 5 * 7
    assert "finished image" in text


def test_files_are_written_as_asked(run_cli):
    assert run_cli("explain", "a dog", *QUICK, "-q", "-o", "new/dog.png").stdout == "new/dog.png\n"
    with Image.open("new/dog.png") as sheet:
        assert sheet.width > 1000
        assert np.asarray(sheet).std() > 10
    before = Path("new/dog.png").read_bytes()
    ran = run_cli("explain", "a dog", *QUICK, "-o", "new/dog.png")
    assert (ran.code, ran.stdout) == (5, "")
    assert Path("new/dog.png").read_bytes() == before
    ran = run_cli("explain", "a dog", *QUICK, "-o", "new/dog.png", "--force", "--json", "-q")
    assert ran.document["path"] == "new/dog.png"
    assert ran.document["schema"] == "sdcli/explain/1"


def test_a_page_is_inert_and_needs_nothing(run_cli):
    hostile = "</script><script>alert(1)</script> <img src=x onerror=alert(1)> {{7*7}} \x1b[31m"
    options = (*QUICK, "--prompt-syntax", "plain", "-q")
    assert run_cli("explain", hostile, *options, "-o", "page.html").code == 0
    page = Path("page.html").read_text("utf-8")
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "{{7*7}}" in page
    assert "\x1b" not in page
    assert "script-src &#39;none&#39;" in page
    assert not re.search(r"""(?:src|href)="(?!data:)""", page)
    assert page.count("<section>") >= 11


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "missing PROMPT or IMAGE"),
        (("a cat", "-o", "cat.jpg"), "not an .html or .png file"),
        (("a cat", "--count", "2"), "explain tells of one image"),
        (("a cat", "--image", "x.png"), "begins with an image"),
        (("a cat", "--hires", "128x128"), "has a second pass"),
        (("a (cat:1.3)",), "no fixed places"),
        (("",), "the prompt has no words"),
        (("--training", "x.png", "--trace", "run"), "can't be used with --training"),
        (("--training", "nowhere.png"), "nowhere.png"),
    ],
)
def test_what_cannot_be_explained_is_refused(run_cli, argv, message):
    ran = run_cli("explain", *argv, *QUICK[:4])
    assert (ran.code, ran.stdout) == (2, "")
    assert message in ran.stderr
    assert not list(Path().iterdir())


def test_an_image_made_from_another_is_refused_with_a_hint_that_helps(run_cli):
    Image.new("RGB", (64, 64), "red").save("red.png")
    run_cli("generate", CAT, *QUICK, "--image", "red.png", "-q", "-o", "cat.png")
    ran = run_cli("explain", "cat.png")
    assert ran.code == 2
    assert "name an image that was made without it" in ran.stderr


def test_the_document_names_the_folder_of_the_trace(run_cli, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    ran = run_cli("explain", "a dog", *QUICK, "--trace", "~/run", "--json", "-q")
    assert ran.document["trace"] == str(tmp_path / "run")
    assert (tmp_path / "run" / "trace.json").is_file()


def test_refusals_load_nothing_heavy(tmp_path):
    code, modules = probe("explain", "a cat", "-o", "cat.jpg", cwd=tmp_path)
    assert code == 2
    assert not HELP_FREE & modules
    for argv in (
        ("a cat", "--image", "x.png"),
        ("",),
        ("a dog", "--training", "nowhere.png"),
    ):
        code, modules = probe("explain", *argv, cwd=tmp_path)
        assert code == 2
        assert not HEAVY & modules, argv


def test_xl_is_explained(run_cli, tmp_path):
    write_xl_model(tmp_path / "xl")
    options = ("--model", "xl", "--steps", "2", "--seed", "1", "--size", "64x64", "-q", "--json")
    ran = run_cli("explain", "a cat", *options, "--device", "cpu")
    assert ran.code == 0, ran.stderr
    assert len(ran.document["chapters"]) == 11
    Image.new("RGB", (64, 64), "red").save("red.png")
    ran = run_cli("explain", "a cat", "--training", "red.png", *options, "--device", "cpu")
    assert ran.code == 0, ran.stderr
    # It would have no part in it, and is not loaded.
    write_refiner(tmp_path / "refiner")
    refined = ("--refiner", "refiner", "--refiner-at", "0.5", "--aesthetic-score", "5")
    again = run_cli("explain", "a cat", "--training", "red.png", *options, *refined)
    assert again.code == 0, again.stderr
    assert again.document["chapters"] == ran.document["chapters"]


class TestTraining:
    @pytest.fixture(autouse=True)
    def _image(self, run_cli):
        main(["generate", CAT, "--steps", "8", "--seed", "7", "-q", "-o", "cat.png"])

    def test_the_errors_are_those_of_plain_diffusers(self, run_cli):
        import torch
        from diffusers import DDPMScheduler, StableDiffusionPipeline

        from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER

        options = ("--seed", "5", "--device", "cpu", "--json", "-q")
        document = run_cli("explain", "--training", "cat.png", *options).document
        assert document["prompt"] == CAT
        pipeline = StableDiffusionPipeline.from_pretrained(
            EMBEDDED_FOLDER, dtype=torch.float32, safety_checker=None
        )
        with Image.open("cat.png") as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).float() / 127.5 - 1
        with torch.no_grad():
            latents = pipeline.vae.encode(pixels.permute(2, 0, 1)[None]).latent_dist.mean
            latents = latents * pipeline.vae.config.scaling_factor
            embeds, _ = pipeline.encode_prompt(CAT, "cpu", 1, False)
        spread = ((latents - latents.mean((2, 3), keepdim=True)) ** 2).sum()
        # The scheduler of training; that of the pipeline adds noise at its own steps only.
        scheduler, errors = DDPMScheduler.from_config(pipeline.scheduler.config), {}
        for t in (20, 500, 999):
            noise_errors, image_errors = [], []
            for seed in range(5, 9):
                generator = torch.Generator().manual_seed(seed)
                noise = torch.randn(latents.shape, generator=generator)
                noisy = scheduler.add_noise(latents, noise, torch.tensor([t]))
                with torch.no_grad():
                    v = pipeline.unet(noisy, t, encoder_hidden_states=embeds).sample
                alpha = scheduler.alphas_cumprod[t]
                x0 = alpha**0.5 * noisy - (1 - alpha) ** 0.5 * v
                eps = alpha**0.5 * v + (1 - alpha) ** 0.5 * noisy
                noise_errors.append(float(((eps - noise) ** 2).sum() / (noise**2).sum()))
                image_errors.append(float(((x0 - latents) ** 2).sum() / spread))
            errors[t] = np.mean(noise_errors), np.mean(image_errors)
        plot = document["chapters"][2]["plots"][0]["lines"]
        for line, name in enumerate(("error of the noise", "error of the image")):
            shown = dict(plot[name])
            for t, values in errors.items():
                assert shown[t] == pytest.approx(values[line], rel=1e-3)
        facts = document["chapters"][2]["facts"]
        assert facts["first_noise"] == pytest.approx(errors[20][0], rel=1e-3)
        assert facts["last_image"] == pytest.approx(errors[999][1], rel=1e-3)
        assert "One curve alone misleads" in " ".join(document["chapters"][2]["text"])

    def test_files_and_text_are_written(self, run_cli):
        options = ("--training", "cat.png", "--seed", "5", "-q")
        text = run_cli("explain", *options).stdout
        assert "1. Noise is added to an image" in text
        assert "A error of the noise   B error of the image" in text
        assert run_cli("explain", *options, "-o", "pair.html").stdout == "pair.html\n"
        assert Path("pair.html").read_text("utf-8").count("<figure>") == 11
        assert run_cli("explain", "a dog", *options, "--json").document["prompt"] == "a dog"


def test_one_word_and_one_step_are_compared_with_nothing(run_cli):
    """The first prediction is the image, and the word is the only one."""
    ran = run_cli("explain", "cat", *QUICK, "--steps", "1")
    text = " ".join(ran.stdout.split())
    assert "“cat” gets" in text
    for part in (
        "None of them",
        "gets most",
        "changes the prediction most",
        "matters most",
        "exaggerates",
    ):
        assert part not in text, part
    for plot in ("logarithmic", "before each step", "Guidance at each step"):
        assert plot not in text, plot
