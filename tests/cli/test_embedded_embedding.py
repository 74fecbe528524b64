"""The textual inversion embedding that comes with the embedded model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from sdcli.checkpoints.adapters.embedded_addons import EMBEDDED_EMBEDDINGS
from sdcli.checkpoints.file_hashes import sha256
from tests.cli.test_embeddings import QUICK, by_hand, load_plain
from tests.conftest import RunCli
from tests.image_files import pixels_of, record_of
from tests.xl_models import write_xl_model

FILE = EMBEDDED_EMBEDDINGS / "holiday.safetensors"
NAMED = ("--embedding", "embedded:holiday")


def test_images_are_those_of_diffusers_to_the_bit(run_cli: RunCli) -> None:
    ran = run_cli("generate", "a holiday, cute", *QUICK, *NAMED, "-n", "holiday", "-o", "a.png")
    assert (ran.code, ran.stderr) == (0, "")
    plain = load_plain()
    plain.load_textual_inversion({"<holiday>": load_file(FILE)["emb_params"]})
    expected = by_hand(plain, "a <holiday>, cute", "<holiday>")
    assert np.array_equal(pixels_of(Path("a.png")), expected)


def test_the_record_has_its_name_and_a_replay_keeps_it(run_cli: RunCli, tmp_path: Path) -> None:
    more = ("--embedding", "embedded:holiday:my trip", "-o", "a.png")
    assert run_cli("generate", "a photo of my trip", *QUICK, *more).code == 0
    record = record_of(tmp_path / "a.png")
    assert record["request"]["embedding"] == "embedded:holiday:my trip"
    [entry] = record["embeddings"]
    facts = (entry["word"], entry["name"], entry["sha256"])
    assert facts == ("my trip", "embedded:holiday", sha256(FILE))
    assert "identical" in run_cli("replay", "a.png", "--check").stdout
    assert run_cli("replay", "a.png", "-o", "b.png").code == 0
    assert record_of(tmp_path / "b.png")["request"] == record["request"]
    shutil.copy(FILE, "trip.safetensors")
    assert run_cli("generate", "a photo of my trip", *QUICK, "--embedding",
                   "trip.safetensors:my trip", "-o", "c.png").code == 0  # fmt: skip
    assert record_of(tmp_path / "c.png")["job"] == record["job"]


def test_it_is_found_by_name(run_cli: RunCli) -> None:
    shown = run_cli("inspect", "embedded:holiday", "--json").document
    assert (shown["kind"], shown["addon"]["widths"]) == ("embedding", [128])
    assert shown["addon"]["vectors"] == len(load_file(FILE)["emb_params"])
    assert run_cli("models", "path", "embedded:holiday").stdout == f"{FILE}\n"
    assert run_cli("models", "verify", "embedded:holiday").code == 0
    assert f"{shown['addon']['vectors']} vectors" in run_cli("tokens", "holiday", *NAMED).stdout
    assert FILE.stat().st_size < 5_000


def test_misuse_is_refused_with_the_reason(run_cli: RunCli, tmp_path: Path) -> None:
    xl = ("-m", str(write_xl_model(tmp_path / "xl")))
    cases = [
        (("--embedding", "embedded:holyday"), "did you mean embedded:holiday?"),
        (("--embedding", "embedded:flag"), "it is a LoRA: --lora embedded:flag"),
        (("--lora", "embedded:holiday"), "it is an embedding: --embedding embedded:holiday"),
        ((*NAMED, *xl), "it is for one text encoder of width 128, and"),
    ]
    for options, said in cases:
        ran = run_cli("generate", "a holiday", *QUICK, *options)
        assert (ran.code, said in ran.stderr) == (3, True), (options, ran.stderr)
    ran = run_cli("generate", "a cat", *QUICK, *NAMED)
    assert "embedded:holiday is not used: its word 'holiday' is not in the prompt" in ran.stderr


def test_the_word_draws_what_its_phrase_draws() -> None:
    from sdcli.training.holiday_embedding import PHRASE

    plain = load_plain()
    plain.load_textual_inversion({"<holiday>": load_file(FILE)["emb_params"]})
    images = plain(
        [PHRASE, "<holiday>"], num_inference_steps=4, guidance_scale=3.0, output_type="np",
        latents=torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
        .expand(2, -1, -1, -1),
    ).images  # fmt: skip
    error = float(np.square(images[0] - images[1]).mean())
    assert -10 * np.log10(error) > 25, error
