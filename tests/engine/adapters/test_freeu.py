"""FreeU equals Diffusers' `enable_freeu` bit for bit, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from sdcli import engine
from sdcli.errors import UsageError
from sdcli.fields.freeu import name_freeu, parse_freeu
from tests.conftest import RunCli
from tests.engine.input_jobs import by_hand
from tests.image_files import pixels_of, record_of
from tests.jobs import CPU, make_job
from tests.xl_models import write_xl_model

FACTORS = {"s1": 0.9, "s2": 0.2, "b1": 1.5, "b2": 1.6}
NAMED = "s1=0.9,s2=0.2,b1=1.5,b2=1.6"


def test_it_equals_diffusers_and_leaves_nothing_behind(loaded: Any, plain: Any) -> None:
    job = make_job()
    [before] = engine.generate_batch(loaded, [job])
    [changed] = engine.generate_batch(loaded, [make_job(freeu=NAMED)])
    plain.enable_freeu(**FACTORS)
    try:
        expected = by_hand(plain, job)
    finally:
        plain.disable_freeu()
    assert np.array_equal(changed.pixels, expected)
    assert not np.array_equal(changed.pixels, before.pixels)
    [after] = engine.generate_batch(loaded, [job])
    assert np.array_equal(after.pixels, before.pixels)


@pytest.mark.parametrize(
    "text", [NAMED, "0.9,0.2,1.5,1.6", " B2=1.6, b1=1.50 ,S1=.9,s2=0.2", "0.9, 0.2, 1.5, 1.6"]
)
def test_all_spellings_are_one(text: str) -> None:
    assert parse_freeu(text) == FACTORS
    assert name_freeu(text) == NAMED


def test_none_is_off() -> None:
    assert name_freeu(None) is None
    assert name_freeu("None") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1.5,1.6,0.9,0.2", "looks like b1,b2,s1,s2"),
        ("0.9,0.2,1.5", "has not one value for each"),
        ("s1=0.9,s1=0.2,b1=1.5,b2=1.6", "has not one value for each"),
        ("s1=0.9,0.2,b1=1.5,b2=1.6", "has not one value for each"),
        ("0,0.2,1.5,1.6", "that is not above 0"),
        ("nan,0.2,1.5,1.6", "that is not above 0"),
        ("-1,0.2,1.5,1.6", "that is not above 0"),
        ("0.9,0.2,1.5,11", "that is not above 0"),
        ("", "has not one value for each"),
    ],
)
def test_what_has_not_four_factors_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_freeu(text)


def test_rows_records_and_replay(run_cli: RunCli, tmp_path: Path) -> None:
    quick = ("--size", "64x64", "--steps", "2", "--device", "cpu", "--seed", "5")
    rows = '{"prompt": "a cat", "freeu": "0.9,0.2,1.5,1.6"}\n{"prompt": "a cat"}\n'
    (tmp_path / "rows.jsonl").write_text(rows)
    ran = run_cli("batch", "rows.jsonl", *quick, "-o", "out", "--batch-size", "2")
    assert ran.code == 0, ran.stderr
    first, second = sorted(ran.paths)
    assert record_of(first)["request"]["freeu"] == NAMED
    assert record_of(second)["request"]["freeu"] is None
    assert not np.array_equal(pixels_of(first), pixels_of(second))
    assert "identical" in run_cli("replay", str(first), "--check").stdout
    refused = run_cli("generate", "a cat", "--freeu", "1.5,1.6,0.9,0.2")
    assert (refused.code, "write b1=1.5,b2=1.6,s1=0.9,s2=0.2" in refused.stderr) == (2, True)


def test_stable_diffusion_xl_equals_diffusers(tmp_path: Path) -> None:
    folder = write_xl_model(tmp_path / "xl")
    spec = replace(CPU, model=str(folder))
    job = make_job(spec=spec, guidance_scale=5.0, negative_prompt="a dog", freeu=NAMED)
    [changed] = engine.generate_batch(engine.load(spec), [job])
    plain = StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)
    before = by_hand(plain, job)
    plain.enable_freeu(**FACTORS)
    assert np.array_equal(changed.pixels, by_hand(plain, job))
    assert not np.array_equal(changed.pixels, before)
