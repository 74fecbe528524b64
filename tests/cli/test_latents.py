"""`sdcli latents` and --save-latents through the real main(), on the embedded model."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.storage.images.codec import read_image_info
from sdcli.storage.images.contact_sheet import enlarge

STEPS = 4


@pytest.fixture
def run(run_cli, tmp_path):
    """`run_cli`, beside the dumps of two runs: a.png (DPM++ 2M) and b.png (Euler a)."""
    kept = tmp_path.parent / "latents-kept"
    if not kept.exists():
        for name, scheduler in (("a", "DPM++ 2M"), ("b", "Euler a")):
            where = ("-o", str(kept / f"{name}.png"), "--save-latents", "all")
            argv = ("--steps", str(STEPS), "--seed", "7", "--device", "cpu", "-s", scheduler)
            assert run_cli("generate", "a red star", *argv, *where).code == 0
    for path in kept.iterdir():
        shutil.copy(path, tmp_path)
    return run_cli


def sha(path) -> str:
    return read_image_info(path)["pixels_sha256"]


def test_info_tells_what_is_there_without_torch(run):
    document = run("latents", "info", "a.png", "--json").document
    assert document["schema"] == "sdcli/latents-info/1"
    every = list(range(1, STEPS + 1))
    assert document["steps"] == {"xt": [0, *every], "x0": every, "eps": every}
    assert document["record"]["pixels"]["sha256"] == sha("a.png")
    told = run("latents", "info", "a.latents.safetensors").stdout
    assert run("inspect", "a.latents.safetensors").stdout == told
    assert "prompt: a red star" in told
    assert "eps of steps: 1-4 (v_prediction)" in told


def test_the_last_latents_decode_to_the_image_and_its_record(run):
    assert run("latents", "decode", "a.png", "-o", "again.png").code == 0
    assert sha("again.png") == sha("a.png")
    assert read_image_info("again.png")["record"] == read_image_info("a.png")["record"]


def test_any_step_of_either_kind_decodes_with_either_vae(run):
    ran = run("latents", "decode", "a.png", "--steps", "1,3", "--kind", "x0", "--vae", "tiny")
    assert [path.name for path in ran.paths] == ["0001-a-x0-0001.png", "0002-a-x0-0003.png"]
    assert sha(ran.paths[0]) != sha(ran.paths[1])
    ran = run("latents", "decode", "a.png", "--steps", "9")
    assert (ran.code, "0, 1, 2, 3, 4" in ran.stderr) == (2, True)


@pytest.mark.sample(4)
@pytest.mark.parametrize("step", range(STEPS))
@pytest.mark.parametrize("name", ["a.png", "b.png"])
def test_resume_unchanged_is_the_image_to_the_bit(run, name, step):
    ran = run("latents", "resume", name, "--from-step", str(step), "-o", "again.png")
    assert (ran.code, ran.stderr) == (0, "")
    assert sha("again.png") == sha(name)
    again, first = (read_image_info(path)["record"] for path in ("again.png", name))
    assert again.pop("job") != first.pop("job")  # asked in other words
    assert again == first


def test_resume_otherwise_is_another_image_and_says_so(run):
    argv = ("latents", "resume", "a.png", "--from-step", "2")
    for changes in (("--prompt", "a dog"), ("--guidance", "6"), ("--scheduler", "Heun")):
        ran = run(*argv, *changes, "-o", "other.png", "--force")
        assert ran.code == 0
        assert sha("other.png") != sha("a.png")
        assert "steps up to 2 are those of a.latents.safetensors" in ran.stderr
        assert read_image_info("other.png")["record"]["events"]


def test_a_picture_that_began_as_another_is_not_replayed(run):
    argv = ("--from-step", "2", "--prompt", "a dog", "-o", "mixed.png")
    assert run("latents", "resume", "a.png", *argv).code == 0
    ran = run("replay", "mixed.png", "--check")
    assert ran.code == 2
    assert "steps up to 2 are those of a.latents.safetensors" in ran.stderr
    assert "latents resume" in ran.stderr


def test_resume_refuses_what_the_file_does_not_hold(run):
    quick = ("--steps", "4", "--device", "cpu", "--seed", "1", "--save-latents", "every:2")
    takes = (("DPM++ 2M", 2), ("Euler a", 2), ("Euler", 0), ("DDIM Parallel", 0), ("TCD", 0))
    for scheduler, code in takes:
        argv = ("-s", scheduler, "--latents-kinds", "xt", "-o", "c.png", "--force")
        assert run("generate", "a dog", *quick, *argv).code == 0
        ran = run("latents", "resume", "c.png", "--from-step", "2", "-o", "d.png", "--force")
        assert ran.code == code, scheduler
        if code:
            assert "--save-latents all" in ran.stderr
        else:
            assert sha("d.png") == sha("c.png")
    ran = run("latents", "resume", "a.png", "--from-step", "4")
    assert (ran.code, "between 0 and 3" in ran.stderr) == (2, True)


def test_preview_is_near_the_image(run):
    import numpy as np

    assert run("latents", "preview", "a.png", "-o", "look.png").code == 0
    with Image.open("look.png") as look, Image.open("a.png") as image:
        small = [np.asarray(i.convert("RGB").resize((16, 16), Image.Resampling.BOX), float)
                 for i in (look, image)]  # fmt: skip
    assert np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1] > 0.8


def test_grid_and_animation_show_every_step(run):
    assert run("latents", "grid", "a.png", "-o", "grid.png").code == 0
    with Image.open("grid.png") as sheet:
        assert sheet.width > STEPS * 128
        assert sheet.height > 2 * 128
    for name, frames in (("a.gif", STEPS), ("a.webp", STEPS)):
        assert run("latents", "animate", "a.png", "-o", name).code == 0
        with Image.open(name) as moving:
            assert moving.n_frames == frames


def last_frame(path: str) -> np.ndarray:
    with Image.open(path) as moving:
        moving.seek(moving.n_frames - 1)
        return np.asarray(moving.convert("RGB"))


@pytest.mark.parametrize("scale", [1, 3])
def test_frames_have_their_step_below_unless_they_should_not(run, scale):
    assert run("latents", "preview", "a.png", "--kind", "x0", "-o", "look.png").code == 0
    look = enlarge(np.asarray(Image.open("look.png")), scale)
    argv = ("latents", "animate", "a.png", "--scale", str(scale))
    assert run(*argv, "-o", "labelled.webp").code == 0
    assert run(*argv, "--no-labels", "-o", "plain.webp").code == 0
    labelled, plain = last_frame("labelled.webp"), last_frame("plain.webp")
    assert np.array_equal(plain, look)
    assert np.array_equal(labelled[: len(look)], look)
    assert (labelled[len(look) :] < 128).any()


def test_a_grid_is_scaled_and_divided(run):
    sizes = []
    for options in ((), ("--scale", "2"), ("--columns", "2")):
        assert run("latents", "grid", "a.png", *options, "-o", "g.png", "--force").code == 0
        with Image.open("g.png") as sheet:
            sizes.append(sheet.size)
    (width, height), (wide, high), (narrow, tall) = sizes
    assert wide - width > 0.9 * STEPS * 128
    assert high - height > 0.9 * 2 * 128
    assert width - narrow == 2 * (128 + 4)
    assert tall - height > 2 * 128


def test_an_mp4_plays_every_step_and_lingers_on_the_last(run):
    import av
    import numpy as np

    assert run("latents", "preview", "a.png", "-o", "look.png").code == 0
    argv = ("latents", "animate", "a.png", "--kind", "xt", "--steps", "1,3,4", "--fps", "4")
    assert run(*argv, "-o", "a.mp4").code == 0
    with av.open("a.mp4") as container, Image.open("look.png") as look:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 4
        assert len(frames) == 3 + 3
        error = np.asarray(look.convert("RGB"), float) - frames[-1][: look.height]
    assert np.sqrt(np.mean(error**2)) < 12
    assert not np.array_equal(frames[0], frames[-1])


def test_frames_of_odd_sides_become_an_mp4(tmp_path):
    import av
    import numpy as np

    from sdcli.storage.images import animation

    frames = [np.full((33, 51, 3), level, np.uint8) for level in (0, 255)]
    target = animation.prepare_animation(str(tmp_path / "odd.mp4"), force=False)
    animation.write_animation(frames, target, "odd", fps=8.0, force=False)
    with av.open(str(tmp_path / "odd.mp4")) as container:
        assert {(f.width, f.height) for f in container.decode(video=0)} == {(52, 34)}


def test_without_the_library_an_mp4_is_refused_with_how_to_get_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr("sdcli.storage.images.animation.find_spec", lambda name: None)
    ran = run("latents", "animate", "a.png", "-o", "a.mp4")
    assert ran.code == 2
    assert "pip install av" in ran.stderr


def test_diff_finds_where_runs_part(run):
    same = run("latents", "diff", "a.png", "a.png", "--json").document
    assert same["parting"] is None
    assert {step["rmse"] for step in same["steps"]} == {0}
    apart = run("latents", "diff", "a.png", "b.png", "--json").document
    assert apart["steps"][0]["rmse"] == 0  # the same noise, whatever the scheduler makes of it
    assert apart["parting"] >= 1
    assert "apart from step" in run("latents", "diff", "a.png", "b.png").stdout


def test_path_ends_at_the_end(run):
    document = run("latents", "path", "a.png", "--json").document
    distances = [step["distance"] for step in document["steps"]]
    assert distances[-1] == 0
    assert distances == sorted(distances, reverse=True)
    assert 0 < document["straightness"] <= 1
    assert "straightness" in run("latents", "path", "a.png").stdout


def test_blend_begins_and_ends_with_the_images(run):
    for bend in ((), ("--slerp",)):
        ran = run("latents", "blend", "a.png", "b.png", "--frames", "3", *bend, "-o", "x.png")
        assert ran.code == 0
        first, middle, last = ran.paths
        assert (sha(first), sha(last)) == (sha("a.png"), sha("b.png"))
        assert sha(middle) not in (sha(first), sha(last))
    assert run("latents", "blend", "a.png", "b.png", "--frames", "1").code == 2


def test_noise_walks_a_picture_away(run):
    document = run("latents", "noise", "a.png", "--steps", "2", "-o", "n.png", "--json").document
    assert document["timesteps"] == [0, 500, 1000]
    with Image.open("n.png") as sheet:
        assert sheet.width > 3 * 128
        assert sheet.height > 2 * 128
    assert run("latents", "noise", "a.png", "--steps", "2", "-o", "n.webp").code == 0
    frame = last_frame("n.webp")
    assert frame.shape[1] == 2 * 128
    assert frame.shape[0] > 128


def neighbour_correlation(pixels: np.ndarray) -> float:
    """How much the colours of neighbouring squares of 8 x 8 pixels have in common."""
    grey = pixels.astype(float).mean(-1)
    squares = grey.reshape(16, 8, 16, 8).mean((1, 3))
    return float(np.corrcoef(squares[:, 1:].ravel(), squares[:, :-1].ravel())[0, 1])


def test_noise_looks_like_noise_beside_what_the_vae_makes_of_it(run):
    from sdcli.pipeline_spec import PipelineSpec
    from sdcli.workflows.noise_image import DECODED, LATENTS, noise_image

    noised = noise_image(
        Path("a.png"), [0, 1000], PipelineSpec(device="cpu"), seed=0, tiling="auto", warn=print
    )
    assert list(noised.rows) == [LATENTS, DECODED]
    clean, noise = noised.rows[LATENTS]
    assert noise.shape == noised.rows[DECODED][1].shape
    assert neighbour_correlation(clean) > 0.5
    assert abs(neighbour_correlation(noise)) < 0.15


def test_the_path_of_a_lone_image_is_that_of_its_run_again(run, tmp_path):
    known = run("latents", "path", "a.png", "--json").document
    (tmp_path / "alone").mkdir()
    shutil.copy("a.png", tmp_path / "alone" / "a.png")
    ran = run("latents", "path", "alone/a.png", "--json")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.document == {**known, "path": "alone/a.png"}
    assert [path.name for path in (tmp_path / "alone").iterdir()] == ["a.png"]
    Image.new("RGB", (8, 8)).save("foreign.png")
    assert run("latents", "path", "foreign.png").code == 2


def test_ways_of_schedulers_that_scale_otherwise_can_be_compared(run):
    starts = [run("latents", "path", n, "--json").document["steps"][0] for n in ("a.png", "b.png")]
    assert [round(start["distance"], 1) for start in starts] == pytest.approx([1.3, 1.3], abs=0.3)


def changed(path, name, change):
    """A dump with tensors otherwise, under another name."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(path, "np") as dump:
        tensors, metadata = {k: dump.get_tensor(k) for k in dump.keys()}, dump.metadata()  # noqa: SIM118
    save_file({k: change(t).copy() for k, t in tensors.items()}, name, metadata)
    return name


def test_latents_of_another_shape_are_not_gone_on_from(run):
    import numpy as np

    wide = changed("a.latents.safetensors", "w.safetensors", lambda t: np.concatenate([t] * 4))
    ran = run("latents", "resume", wide, "--from-step", "2")
    assert (ran.code, "16 channels" in ran.stderr) == (2, True)
    small = changed("a.latents.safetensors", "s.safetensors", lambda t: t[:, :4, :4])
    ran = run("latents", "resume", small, "--from-step", "2")
    assert (ran.code, "image size of 128x128" in ran.stderr) == (7, True)
    broken = changed("a.latents.safetensors", "n.safetensors", lambda t: t * np.float32("nan"))
    for verb in ("path", "preview", "grid", "decode"):
        ran = run("latents", verb, broken)
        assert (ran.code, "not finite" in ran.stderr) == (7, True), verb


def test_another_scheduler_begins_with_the_noise_of_a_zero_snr_run(run):
    argv = ("--steps", "3", "--seed", "1", "--device", "cpu", "--save-latents", "all")
    zero = "DDIM;rescale_betas_zero_snr=true;timestep_spacing=trailing"
    assert run("generate", "a dog", *argv, "-s", zero, "-o", "z.png").code == 0
    ran = run(
        "latents", "resume", "z.png", "--from-step", "0", "--scheduler", "Euler", "-o", "e.png"
    )
    assert ran.code == 0
    assert run("generate", "a dog", *argv[:6], "-s", "Euler", "-o", "plain.png").code == 0
    assert sha("e.png") == sha("plain.png")
    ran = run(
        "latents", "resume", "z.png", "--from-step", "2", "--scheduler", "Euler", "-o", "f.png"
    )
    assert ran.code == 0


@pytest.mark.parametrize("verb", ["decode", "preview"])
@pytest.mark.parametrize("steps", [[2], [1, 3]])
def test_pictures_of_steps_are_told_in_one_document(run, verb, steps):
    argv = ("--steps", ",".join(map(str, steps)), "-o", "some", "--json")
    ran = run("latents", verb, "a.png", *argv)
    assert ran.document["schema"] == "sdcli/written-images/1"
    told = ran.document["images"]
    assert [(image["step"], image["kind"]) for image in told] == [(s, "xt") for s in steps]
    assert all(Path(image["path"]).is_file() for image in told)


def test_going_back_before_the_branch_of_a_mixed_run_is_warned_of(run):
    kept = ("--save-latents", "all", "-o", "b2.png")
    assert run("latents", "resume", "a.png", "--from-step", "2", "-p", "a fish", *kept).code == 0
    for step, warned in ((1, True), (2, False), (3, False)):
        ran = run("latents", "resume", "b2.png", "--from-step", str(step), "-o", f"c{step}.png")
        assert (ran.code, "another run" in ran.stderr) == (0, warned)
        assert (sha(f"c{step}.png") == sha("b2.png")) is not warned


@pytest.mark.parametrize("verb", ["decode", "preview"])
def test_an_encoded_picture_can_be_seen(run, verb):
    assert run("vae", "encode", "a.png", "-o", "e.latents.safetensors").code == 0
    assert run("latents", verb, "e.latents.safetensors", "-o", "e.png").code == 0
    assert run("latents", "diff", "e.latents.safetensors", "e.latents.safetensors").code == 0


def test_latents_of_an_earlier_picture_of_that_name_are_not_taken(run):
    argv = ("generate", "a fish", "--steps", "1", "--size", "64x64", "-o", "a.png", "--force")
    assert run(*argv).code == 0
    ran = run("latents", "decode", "a.png", "-o", "old.png")
    assert (ran.code, "made later" in ran.stderr) == (2, True)
    assert run("latents", "decode", "a.latents.safetensors", "-o", "old.png").code == 0


@pytest.mark.parametrize("verb", ["decode", "preview", "grid", "noise"])
def test_stdout_is_a_picture_or_a_document(run, verb):
    ran = run("latents", verb, "a.png", "-o", "-", "--json")
    assert (ran.code, ran.document["error"]["code"]) == (2, "usage.out")
    ran = run("latents", verb, "a.png", "-o", "-")
    assert ran.code == 0


def test_a_misfit_vae_can_be_forced_where_it_is_suggested(run, tmp_path):
    shutil.copytree(EMBEDDED_FOLDER / "vae", tmp_path / "odd")
    config = tmp_path / "odd" / "config.json"
    config.write_text(config.read_text().replace('"scaling_factor": 1.0', '"scaling_factor": 0.5'))
    for verb in ("decode", "grid", "animate"):
        ran = run("latents", verb, "a.png", "--vae", "odd", "-o", f"{verb}.webp")
        assert (ran.code, "--force-vae" in ran.stderr) == (3, True), verb
        forced = run("latents", verb, "a.png", "--vae", "odd", "--force-vae", "-o", f"{verb}.webp")
        assert forced.code == 0, verb
    ran = run("latents", "grid", "a.png", "--force-vae")
    assert (ran.code, "without a VAE" in ran.stderr) == (2, True)
    ran = run("latents", "decode", "a.png", "--vae", "odd", "--force-vae", "-o", "odd.png")
    assert run("replay", "odd.png", "--check").code == 0


def test_decoding_says_what_it_was_done_with_and_keeps_the_tiles_of_the_run(run):
    tiled = ("generate", "a red star", "--size", "768x128", "--steps", "1", "--seed", "7")
    assert run(*tiled, "--vae-tiling", "on", "--save-latents", "final", "-o", "t.png").code == 0
    assert run("latents", "decode", "t.png", "-o", "u.png").code == 0
    assert run("latents", "decode", "t.png", "--vae-tiling", "off", "-o", "w.png").code == 0
    assert sha("t.png") == sha("u.png") != sha("w.png")
    assert run("replay", "u.png", "w.png", "--check").code == 0
    assert run("latents", "decode", "t.png", "-m", str(EMBEDDED_FOLDER), "-o", "m.png").code == 0
    assert read_image_info("m.png")["record"] is None  # no one request makes it


def test_a_taken_name_of_latents_is_told_before_anything_is_drawn(run):
    Path("c.latents.safetensors").write_bytes(b"mine")
    argv = ("generate", "a cat", "--steps", "1", "-o", "c.png", "--save-latents", "all")
    ran = run(*argv)
    assert (ran.code, "c.latents.safetensors exists" in ran.stderr) == (5, True)
    assert not Path("c.png").exists()
    assert run(*argv, "--force").code == 0


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("path", "nope.png"), "no file at nope.png"),
        (("animate", "a.png", "-o", "-"), "can't be written to stdout"),
        (("preview", "a.png", "-o", "x.mp4"), "unsupported output format .mp4"),
        (("noise", "a.png", "--to", "5", "--steps", "8"), "--steps: 8 is not between 1 and 5"),
        (("noise", "a.png", "--to", "1001"), "--to: 1001"),
        (("noise", "a.png", "-o", "n.gif", "--columns", "2"), "--columns has no effect"),
        (("noise", "a.png", "-o", "n.png", "--no-labels"), "--no-labels has no effect"),
        (("grid", "a.png", "--scale", "0"), "--scale"),
        (("grid", "a.png", "--columns", "0"), "--columns"),
        (("animate", "a.png", "--scale", "17"), "--scale"),
    ],
)
def test_what_cannot_be_is_said_plainly(run, argv, told):
    ran = run("latents", *argv)
    assert ran.code == 2
    assert told in ran.stderr


@pytest.mark.parametrize(("to", "times"), [("0", [0]), ("5", [0, 1, 2, 3, 4, 5])])
def test_a_short_walk_into_noise_has_as_many_pictures_as_times(run, to, times):
    ran = run("latents", "noise", "a.png", "--to", to, "-o", f"n{to}.png", "--json")
    assert ran.document["timesteps"] == times


def test_vae_decode_takes_the_image_beside_the_latents(run):
    assert run("vae", "decode", "a.png", "-o", "again.png").code == 0
    assert sha("again.png") == sha("a.png")


def test_a_broken_or_foreign_file_is_refused(run, tmp_path):
    dump = tmp_path / "a.latents.safetensors"
    dump.write_bytes(dump.read_bytes()[:-7])
    for verb in ("info", "decode", "preview", "grid", "animate", "path"):
        assert run("latents", verb, str(dump)).code == 7, verb
    ran = run("latents", "resume", str(dump), "--from-step", "1", "--json")
    assert ran.code == 7
    assert ran.document["error"]["code"] == "latents.corrupt"
    weights = EMBEDDED_FOLDER / "vae_tiny" / "diffusion_pytorch_model.safetensors"
    assert run("latents", "info", str(weights)).code == 2
    assert not list(tmp_path.glob("outputs/*"))


def test_a_decode_that_fails_keeps_the_latents_and_says_how(run, monkeypatch):
    from sdcli.errors import DeviceError

    def fail(*_: object, **__: object) -> None:
        raise DeviceError("VAE: out of memory, even in tiles", code="device.memory")

    quick = ("--steps", "2", "--seed", "3", "--device", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr("sdcli.engine.denoise.decode_images.decode_latents", fail)
        ran = run("generate", "a cat", *quick, "-o", "out")
    assert ran.code == 4
    [kept] = Path("out").iterdir()
    assert f"kept in {kept}" in ran.stderr
    assert f"sdcli latents decode {kept}" in ran.stderr
    whole = run("generate", "a cat", *quick)
    decoded = run("latents", "decode", str(kept), "-o", "kept.png")
    assert decoded.code == 0
    assert sha("kept.png") == sha(whole.paths[0])


def test_ctrl_c_keeps_the_steps_and_they_can_be_gone_on_from(run, monkeypatch):
    from sdcli.terminal.progress import ProgressBar

    def interrupt(self: object, event: object) -> None:
        if event.step == 3:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    argv = ("--steps", "4", "--seed", "7", "--device", "cpu", "-s", "DPM++ 2M")
    with monkeypatch.context() as patch:
        patch.setattr(ProgressBar, "on_step", interrupt)
        ran = run("generate", "a red star", *argv, "--save-latents", "all", "-o", "cut")
    assert ran.code == 130
    [kept] = Path("cut").iterdir()
    assert str(kept) in ran.stderr
    info = run("latents", "info", str(kept), "--json").document
    assert (info["is_whole"], info["steps"]["eps"]) == (False, [1, 2, 3])
    assert run("latents", "resume", str(kept), "--from-step", "3", "-o", "again.png").code == 0
    assert sha("again.png") == sha("a.png")


def test_what_cannot_be_meant_is_refused_before_anything_loads(run_cli):
    for argv in (
        ("--save-latents", "last"),
        ("--save-latents", "all", "--latents-kinds", "x1"),
        ("--latents-kinds", "xt"),
    ):
        ran = run_cli("generate", "a cat", *argv)
        assert ran.code == 2
        assert "latents" in ran.stderr


def test_info_and_diff_need_no_torch(run, tmp_path):
    import subprocess

    code = (
        "import sys; from sdcli.cli import main; "
        "c = [main(a.split()) for a in ('latents info a.png --json', 'latents diff a.png b.png', "
        "'latents path a.png', 'latents preview a.png')]; "
        "print(json.dumps([c, sorted({'torch', 'diffusers'} & set(sys.modules))]), file=sys.stderr)"
    )
    here = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    argv = [sys.executable, "-c", f"import json; {code}"]
    ran = subprocess.run(argv, cwd=tmp_path, env=here, capture_output=True, check=True)
    assert json.loads(ran.stderr) == [[0, 0, 0, 0], []]
