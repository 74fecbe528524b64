"""Mistakes in Python are answered in the terms of Python."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer

import sdcli
from sdcli import GenerationRequest, SdcliError
from sdcli.cli import app
from sdcli.errors import ModelError, UsageErrors
from sdcli.library.error_messages import python_terms, rewrite_error

MISTAKES: list[tuple[dict[str, Any], str, str | None]] = [
    # Arguments of generate("a cat", …), a part of the message, and the hint.
    ({"steps": 0}, "steps: 0 is not between 1 and 1000", None),
    ({"num_inference_steps": 0}, "num_inference_steps: 0 is not between", None),
    ({"cfg_scale": 3000}, "guidance: 3000.0 is not between 0 and 1000", None),
    ({"height": 8.5}, "height: 8.5 is not a whole number", None),
    ({"seed": "abc"}, "seed: 'abc' is not a whole number", None),
    ({"count": 0}, "count: 0 is not between", None),
    ({"steps": [4, 0]}, "steps: 0 is not between", None),
    ({"guidance": 10**400}, "guidance: a number of this size is too large", None),
    ({"guidance": True}, "guidance: True is not a number", None),
    ({"guidance": float("nan")}, "guidance: nan is not a finite number", None),
    ({"steps": {}}, "steps: an object is not a single value", None),
    ({"size": "100x96"}, "width: 100 is not a multiple of 8", "the nearest is 96"),
    ({"size": "big"}, "size: 'big' is not WIDTHxHEIGHT", "e.g. size='512x768'"),
    ({"size": "64x64", "width": 64}, "size can't be used together with width or height", None),
    ({"steps": 2, "num_inference_steps": 2}, "num_inference_steps is set twice", None),
    ({"prompt": "a dog"}, "the prompt is set twice", "leave prompt out"),
    ({"scheduler": "eulr"}, "unknown scheduler 'eulr'", "did you mean Euler?"),
    ({"scheduler": "euler", "eta": 1}, "would ignore it",
     "use scheduler='DDIM', or leave eta out"),
    ({"scheduler": "LMS", "steps": 1001}, "steps: 1001 is not between", None),
    ({"guidance": 1, "negative": "red"}, "negative_prompt has no effect at guidance 1",
     "use a guidance above 1, or leave it out"),
    ({"guidance_from": 1, "guidance_to": 1}, "no step lies between",
     "use a wider interval, or guidance=1 for no guidance"),
    ({"clip_skip": 50}, "skips all 3 layers", "at most 2"),
    ({"vae_tiling": "x"}, "vae_tiling: 'x' is not auto, on, off", None),
    ({"dtype": "f16"}, "dtype: 'f16' is not one of auto, float32", None),
    ({"device": "gpu"}, "device: 'gpu' is not auto, cpu", None),
    ({"replace": "x"}, "replace: 'x' is not OLD=NEW,NEW",
     "e.g. replace='cat=dog,fox'; cat=cat,dog also keeps the original"),
    ({"wildcard_mode": "x"}, "wildcard_mode: 'x' is not random or all", None),
    ({"batch_size": 0}, "batch_size: 0 is not 'auto' or a whole number", None),
    ({"save_latents": "al"}, "save_latents: 'al' is not final, all", "did you mean all?"),
    ({"latents_kinds": "xt"}, "no effect without save_latents", "add save_latents='all'"),
    ({"sidecar": True}, "sidecar has no effect without out", "add out='cat.png'"),
    ({"force": True}, "force has no effect without out", "add out='cat.png'"),
    ({"out": "cat.gif"}, "unsupported output format .gif",
     "use .png, .jpg, .jpeg, .webp, or a folder"),
    ({"out": "-"}, "out: '-' is not a file or a folder",
     "e.g. out='cat.png', or out='outputs' for a folder"),
    ({"stpes": 8}, "generate() has no argument 'stpes'", "did you mean steps?"),
    ({"sidecars": 8}, "generate() has no argument 'sidecars'", "did you mean sidecar?"),
    ({"on_steps": 8}, "generate() has no argument 'on_steps'", "did you mean on_step?"),
    ({"xyzzy": 8}, "generate() has no argument 'xyzzy'", "sdcli help python"),
    ({"generator": 8}, "generate() has no argument 'generator'", "use seed"),
    ({"num_images_per_prompt": 8}, "no argument 'num_images_per_prompt'", "use count"),
    ({"torch_dtype": 8}, "no argument 'torch_dtype'", "use dtype"),
    ({"sampler_index": 8}, "no argument 'sampler_index'", "use scheduler"),
    ({"output_type": "pil"}, "no argument 'output_type'",
     "a result has .image (PIL) and .pixels (numpy)"),
    ({"callback_on_step_end": print}, "no argument 'callback_on_step_end'", "use on_step"),
    ({"controlnet_conditioning_scale": 1}, "no argument 'controlnet_conditioning_scale'",
     "use control_image"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "message", "hint"), MISTAKES, ids=lambda v: str(v)[:40])
def test_a_mistake_is_answered_in_python(
    settings: dict[str, Any], message: str, hint: str | None
) -> None:
    with pytest.raises(SdcliError) as caught:
        sdcli.generate("a cat", **settings)
    error = caught.value
    assert message in str(error)
    assert error.message == str(error)
    assert error.hint == hint
    assert getattr(error, "__notes__", []) == ([f"hint: {hint}"] if hint else [])
    assert not re.search(r"(?<!\w)--?[a-z]", f"{error.message} {error.hint}")


@pytest.mark.parametrize("prompts", [None, [], 5, [5], object()])
def test_prompts_of_another_kind_are_refused(prompts: Any) -> None:
    with pytest.raises(SdcliError, match="prompt"):
        sdcli.generate(prompts)


def test_the_places_of_a_list_are_named_and_all_errors_raised() -> None:
    prompts = ["a cat", {"prompt": "a dog", "steps": 0}, {"prompt": "x", "stpes": 1}]
    with pytest.raises(UsageErrors) as caught:
        sdcli.generate(prompts)
    assert caught.value.__notes__ == [
        "- prompts[1]: steps: 0 is not between 1 and 1000",
        "- prompts[2]: unknown field 'stpes' (did you mean steps?)",
    ]
    with pytest.raises(SdcliError, match=r"^width: 100 is not a multiple"):
        sdcli.generate(["a cat", "a dog"], size="100x96")


def test_a_request_takes_no_further_settings() -> None:
    with pytest.raises(SdcliError, match="has its own settings"):
        sdcli.generate(GenerationRequest(prompt="a cat"), steps=3)
    with pytest.raises(SdcliError, match="eta: Euler has no eta"):
        sdcli.generate([GenerationRequest(prompt="a cat", scheduler="euler", eta=0.5)])


def options(command: str) -> list[str]:
    """The names of a command's options, as Python would write them."""
    group: Any = typer.main.get_command(app)
    params = group.commands[command].params
    return sorted({p.name for p in params if p.param_type_name == "option" and p.name != "help"})


def takes(function: Any, name: str) -> bool:
    """Whether the argument is taken: another one, which is unknown, is named instead."""
    with pytest.raises(SdcliError) as caught:
        function(["a cat"], **{name: None, "xyzzy": 1})
    return "'xyzzy'" in caught.value.message


NOT_IN_PYTHON = {
    "archive", "as_input", "dry_run", "format", "gpus", "grid", "grid_columns", "grid_scale",
    "json", "jsonl", "list_done", "null", "preview", "preview_out", "preview_vae", "profile",
    "quiet", "ray", "shard", "shards_of", "trace", "verbose", "warm", "workers",
}  # fmt: skip


@pytest.mark.parametrize("command", ["generate", "batch"])
def test_every_option_of_the_command_line_is_taken_or_answered(command: str) -> None:
    function, names = getattr(sdcli, command), options(command)
    assert {name for name in names if not takes(function, name)} == NOT_IN_PYTHON & set(names)
    for name in NOT_IN_PYTHON & set(names):
        with pytest.raises(SdcliError) as caught:
            function(["a cat"], **{name: "x"})
        assert caught.value.message == f"{command}() has no argument '{name}'"
        assert caught.value.hint not in (None, "sdcli help python")
        assert "did you mean" not in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("--steps 3, or another --scheduler", "steps=3, or another scheduler"),
        ("use -s DDIM, or leave --eta out", "use scheduler='DDIM', or leave eta out"),
        ("choose another name, or add --force", "choose another name, or add force=True"),
        ("try --dtype float32 or --vae-tiling on", "try dtype='float32' or vae_tiling='on'"),
        ("use --extra keep or --extra ignore", "use extra='keep' or extra='ignore'"),
        ("columns of the file (--extra keep)", "columns of the file (extra='keep')"),
        ("add --inpaint-area mask", "add inpaint_area='mask'"),
        ("--wildcard-mode random fills it", "wildcard_mode='random' fills it"),
        ("e.g. --device cuda or --device cuda:1", "e.g. device='cuda' or device='cuda:1'"),
        ("and --offline is set", "and offline=True is set"),
        ("skip them with --keep-going", "skip them with keep_going=True"),
        ("e.g. -m org/model-1.5", "e.g. model='org/model-1.5'"),
        ("width (--size): 12 is too small", "width: 12 is too small"),
        ("guidance_scale (--guidance): 1", "guidance: 1"),
        ("--batch-size 1 is exact", "batch_size=1 is exact"),
        ("a well-known --no-such-option", "a well-known --no-such-option"),
        ("sdcli schedulers list", "sdcli.schedulers()"),
    ],
)
def test_options_become_arguments(text: str, python: str) -> None:
    assert python_terms(text) == python


def test_an_error_is_rewritten_once() -> None:
    """The error of a model that does not load is raised by each later call."""
    error = ModelError("no model", code="model.missing", hint="add --offline")
    for _ in range(2):
        rewrite_error(error)
    assert error.__notes__ == ["hint: add offline=True"]
