"""Read the records that programs write as one JSON object: mflux, SwarmUI and Draw Things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sdcli.interop.foreign_record import ForeignRecord

_MFLUX: Final = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "width": "width",
    "height": "height",
    "model": "model",
}
_SWARM: Final = {
    "prompt": "prompt",
    "negativeprompt": "negative_prompt",
    "seed": "seed",
    "steps": "num_inference_steps",
    "cfgscale": "guidance_scale",
    "width": "width",
    "height": "height",
    "model": "model",
    "vae": "vae",
}
_DRAW_THINGS: Final = {
    "c": "prompt",
    "uc": "negative_prompt",
    "seed": "seed",
    "steps": "num_inference_steps",
    "scale": "guidance_scale",
    "model": "model",
}
SWARM_KEY: Final = "sui_image_params"


def read_json_record(facts: Mapping[str, Any]) -> ForeignRecord | None:
    """Read a JSON object of one of these programs, None for any other."""
    if any(name.startswith("mflux") for name in facts):
        return _record("mflux", facts, _MFLUX)
    params = facts.get(SWARM_KEY)
    if isinstance(params, dict):
        return _read_swarm(facts, params)
    if isinstance(facts.get("c"), str) and {"steps", "sampler"} <= facts.keys():
        return _read_draw_things(facts)
    return None


def _record(
    generator: str, facts: Mapping[str, Any], names: Mapping[str, str], **more: object
) -> ForeignRecord:
    fields = {field: facts[name] for name, field in names.items() if name in facts} | more
    extra = {name: value for name, value in facts.items() if name not in names}
    return ForeignRecord(generator=generator, fields=fields, extra=extra)


def _read_swarm(facts: Mapping[str, Any], params: Mapping[str, Any]) -> ForeignRecord:
    settings = dict(params)
    sampler, schedule = settings.pop("sampler", None), settings.pop("scheduler", None)
    schedule = None if schedule == "normal" else schedule
    extra = facts.get("sui_extra_data")
    if isinstance(extra, dict) and "original_prompt" in extra:
        settings["original_prompt"] = extra["original_prompt"]
    return _record("SwarmUI", settings, _SWARM, scheduler=sampler, schedule=schedule)


def _read_draw_things(facts: Mapping[str, Any]) -> ForeignRecord:
    settings = dict(facts)
    # The settings again, with the names of its scripts.
    settings.pop("v2", None)
    sampler, size = settings.pop("sampler", None), str(settings.pop("size", ""))
    width, _, height = size.partition("x")
    return _record(
        "Draw Things", settings, _DRAW_THINGS,
        scheduler=sampler, width=width, height=height,
    )  # fmt: skip
