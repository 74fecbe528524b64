"""`sdcli.generate`: arguments by any name, results with images, and files as the command line's."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sdcli
from sdcli import GenerationRequest, PipelineSpec, SdcliError, SdcliWarning
from sdcli.storage.images.codec import read_image_info
from tests.conftest import RunCli

QUICK = {"steps": 2, "size": "64x96", "seed": 7}


@pytest.fixture(scope="module")
def cat() -> sdcli.GenerationResult:
    [result] = sdcli.generate("a cat", guidance=3, negative="red", **QUICK)
    return result


def same(first: sdcli.GenerationResult, second: sdcli.GenerationResult) -> bool:
    return np.array_equal(first.pixels, second.pixels)


def test_the_package_lists_its_names() -> None:
    for name in sdcli.__all__:
        assert getattr(sdcli, name).__doc__
    assert dir(sdcli) == sorted([*sdcli.__all__, "__version__"])
    with pytest.raises(AttributeError, match="genrate"):
        _ = sdcli.genrate


def test_importing_and_listing_imports_nothing_heavy() -> None:
    code = "import sdcli, sys; dir(sdcli); sdcli.generate; sdcli.batch; sdcli.schedulers('karras')"
    heavy = "print(*{'torch', 'diffusers', 'PIL', 'tqdm', 'IPython'} & sys.modules.keys())"
    ran = subprocess.run([sys.executable, "-c", f"{code}; {heavy}"], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "\n", "")


def test_names_of_diffusers_and_of_the_command_line_mean_the_same(
    cat: sdcli.GenerationResult,
) -> None:
    request = GenerationRequest(
        prompt="a cat", num_inference_steps=2, guidance_scale=3, negative_prompt="red",
        width=64, height=96, seed=7,
    )  # fmt: skip
    names = {"num_inference_steps": 2, "guidance_scale": 3, "negative_prompt": "red"}
    [plain] = sdcli.generate(request)
    [mixed] = sdcli.generate(prompt="a cat", width=64, height=96, seed=np.int64(7), **names)
    [entry] = sdcli.generate({"prompt": "a cat", "cfg": 3, "negative": "red"}, **QUICK)
    assert all(same(cat, other) for other in (plain, mixed, entry))


def test_a_list_of_values_is_a_sweep_and_dicts_win_over_arguments() -> None:
    settings = {"size": (64, 64), "seed": 1, "model": Path("embedded")}
    swept = sdcli.generate("a cat", steps=range(1, 3), **settings)
    assert [r.job.num_inference_steps for r in swept] == [1, 2]
    prompts = ["a cat", {"prompt": "a dog", "steps": 2}]
    assert [r.job.num_inference_steps for r in sdcli.generate(prompts, steps=1, **settings)] == [
        1, 2,
    ]  # fmt: skip
    torch = pytest.importorskip("torch")
    [short] = sdcli.generate(
        "a {cat|dog}", wildcard_mode="random", steps=1, dtype=torch.float32, **settings
    )
    assert short.job.prompt in ("a cat", "a dog")
    assert short.job.spec == PipelineSpec(dtype="float32")


def test_a_scheduler_of_the_list_is_a_value() -> None:
    [euler, *_] = sdcli.schedulers("euler deterministic")
    assert str(euler) == "Euler"
    assert repr(euler) == "SchedulerInfo('Euler', class_name='EulerDiscreteScheduler')"
    [result] = sdcli.generate("a cat", scheduler=euler, **{**QUICK, "steps": 4})
    assert result.run.scheduler_class == euler.class_name
    assert len(sdcli.schedulers()) > 20
    with pytest.raises(SdcliError, match="no scheduler matches all of: xyzzy") as caught:
        sdcli.schedulers("xyzzy")
    assert caught.value.hint == "sdcli.schedulers()"


def test_a_result_is_an_image_with_a_request(cat: sdcli.GenerationResult) -> None:
    assert isinstance(cat, sdcli.GenerationResult)
    assert cat.image.size == (64, 96)
    assert np.array_equal(np.asarray(cat.image), cat.pixels)
    assert cat.request.count == 1
    assert same(cat, sdcli.generate(cat.request)[0])
    assert repr(cat) == (
        "GenerationResult('a cat', seed=7, steps=2, scheduler='DPM++ 2M', size='64x96')"
    )
    assert same(cat, pickle.loads(pickle.dumps(cat)))


def test_a_repr_has_one_line(cat: sdcli.GenerationResult) -> None:
    job = replace(cat.job, prompt="a\ncat\x1b[31m " + "and a dog " * 20)
    shown = repr(replace(cat, run=replace(cat.run, job=job), path=Path("cat.png")))
    assert len(shown) < 200
    assert shown.isprintable()
    assert "…" in shown
    assert shown.endswith("path='cat.png')")


def test_saved_files_are_those_of_the_command_line(
    cat: sdcli.GenerationResult, run_cli: RunCli, tmp_path: Path
) -> None:
    options = ["--steps", "2", "--size", "64x96", "--seed", "7", "-g", "3", "-n", "red"]
    ran = run_cli("generate", "a cat", *options, "--sidecar", "-o", "cli.png")
    assert ran.code == 0
    written = {
        "saved": cat.save("saved.png", sidecar=True),
        "in_folder": cat.save(tmp_path / "folder"),
        "out": sdcli.generate(
            "a cat", guidance=3, negative="red", out="out.png", progress=False, **QUICK
        )[0].path,
    }
    assert written["saved"] == Path("saved.png")
    assert written["in_folder"] == tmp_path / "folder" / "0001-a-cat-7.png"
    expected = Path("cli.png").read_bytes()
    assert all(path.read_bytes() == expected for path in written.values())
    assert cat._repr_png_() == expected
    assert Path("saved.json").read_bytes() == Path("cli.json").read_bytes()
    assert run_cli("replay", "saved.png", "--check").stdout.startswith("saved.png: identical")


def test_save_overwrites_nothing_unless_told(cat: sdcli.GenerationResult, tmp_path: Path) -> None:
    path = cat.save(tmp_path / "cat.webp")
    before = path.read_bytes()
    with pytest.raises(SdcliError, match=r"cat\.webp exists") as caught:
        cat.save(path)
    assert caught.value.hint == "choose another name, or add force=True"
    cat.save(path, force=True, no_metadata=True)
    assert path.read_bytes() != before
    assert read_image_info(path)["record"] is None
    for bad in ("-", "", "cat.gif", None):
        with pytest.raises(SdcliError, match="out"):
            cat.save(bad)  # type: ignore[arg-type]  # what the test is about


def test_several_images_are_numbered_and_their_latents_saved(tmp_path: Path) -> None:
    results = sdcli.generate(
        "a fish", out=tmp_path / "fish.png", count=2, save_latents="final", **{**QUICK, "steps": 1}
    )
    assert [r.path for r in results] == [tmp_path / f"fish-{i:04d}.png" for i in (1, 2)]
    assert [r.latents["final"].shape for r in results if r.latents] == [(4, 12, 8)] * 2
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_a_list_of_results_is_one_picture(cat: sdcli.GenerationResult) -> None:
    import io

    def size(results: list[sdcli.GenerationResult]) -> tuple[int, int]:
        return Image.open(io.BytesIO(type(several)(results)._repr_png_())).size

    several = sdcli.generate("a cat", **{**QUICK, "steps": 1})
    assert size([cat]) == (64, 96)
    wide, high = size([cat] * 6)
    assert 4 * 64 <= wide < 5 * 64
    assert 2 * 96 <= high < 3 * 96
    assert type(several)()._repr_png_() is None
    assert size([cat] * 100) == size([cat] * 64)


def test_warnings_are_warnings_that_name_the_line_of_the_caller() -> None:
    with pytest.warns(SdcliWarning, match="know these words: flurb|use a full model") as caught:
        sdcli.generate("a flurb", **{**QUICK, "steps": 1})
    assert {warning.filename for warning in caught} == {__file__}
    assert not any("-m " in str(warning.message) for warning in caught)


def test_the_signature_lists_the_settings() -> None:
    for function in (sdcli.generate, sdcli.batch):
        names = set(inspect.signature(function).parameters)
        assert names >= {"steps", "guidance", "negative", "size", "seed", "out", "sidecar"}


def test_steps_are_reported_and_scripts_are_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[int] = []
    sdcli.generate("a cat", on_step=lambda event: seen.append(event.step), **QUICK)
    assert seen == [1, 2]
    assert capfd.readouterr() == ("", "")


def test_a_progress_bar_never_moves_back(capfd: pytest.CaptureFixture[str]) -> None:
    import re

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sdcli.generate(["a cat"] * 3, progress=True, batch_size=2, **QUICK)
    out, err = capfd.readouterr()
    assert out == ""
    shares = [int(share) for share in re.findall(r"(\d+)% \|", err)]
    assert shares == sorted(shares)
    assert {33, 67, 83, 100} <= set(shares)
    assert "0/3 images, step 1/2" in err
    assert err.rpartition("\r")[2].strip() == ""
