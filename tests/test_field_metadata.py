"""Every option is declared once, as metadata of its field."""

from __future__ import annotations

from dataclasses import fields

import pytest

from sdcli.errors import UsageError
from sdcli.field_metadata import FieldInfo, field_infos
from sdcli.job import JOB_SETTINGS
from sdcli.pipeline_spec import PipelineSpec
from sdcli.prompts.fields import canonical_field
from sdcli.prompts.sweep import SWEPT
from sdcli.request import FIELD_TYPES, REQUEST_FIELDS, GenerationRequest
from sdcli.run_flags import RUN_FLAGS

OPTIONS = {**REQUEST_FIELDS, **field_infos(*RUN_FLAGS)}


def test_every_field_but_the_prompt_has_an_option() -> None:
    names = {f.name for cls in (GenerationRequest, PipelineSpec) for f in fields(cls)}
    assert names - set(REQUEST_FIELDS) == {"prompt", "spec", "row"}


@pytest.mark.parametrize("info", OPTIONS.values(), ids=list(OPTIONS))
def test_help_is_a_sentence_and_flags_are_long_first(info: FieldInfo) -> None:
    assert info.help.endswith((".", ":", "steps:1,5,9."))
    assert info.flag.startswith("--")
    assert all(len(flag) == 2 for flag in info.flags[1:])


def test_no_two_axes_share_a_rank() -> None:
    # They would be in the order of their declarations, whichever takes longer to load.
    assert len({*SWEPT.values()}) == len(SWEPT)


def test_no_two_options_share_a_flag() -> None:
    flags = [flag for name, info in OPTIONS.items() if name != "height" for flag in info.flags]
    assert len(flags) == len(set(flags))


@pytest.mark.parametrize("name", list(REQUEST_FIELDS))
def test_a_prompt_file_may_write_the_field_the_option_and_every_alias(name: str) -> None:
    info = REQUEST_FIELDS[name]
    for spelling in (name, *info.aliases):
        assert canonical_field(spelling) == name
    expected = "size" if name in ("width", "height") else name
    assert canonical_field(info.option_name) == expected


@pytest.mark.parametrize("name", list(field_infos(*RUN_FLAGS)))
def test_an_option_of_the_run_is_refused_in_a_prompt_file(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        canonical_field(name)


@pytest.mark.parametrize("name", [n for n, i in REQUEST_FIELDS.items() if i.minimum is not None])
def test_limits_are_those_of_the_field(name: str) -> None:
    info = REQUEST_FIELDS[name]
    assert info.minimum is not None
    assert info.maximum is not None
    for value in (info.minimum, info.maximum):
        GenerationRequest(prompt="", **{"count": 1, "seed": 0, name: value})
    for value in (info.minimum - 1, info.maximum + 1):
        with pytest.raises(UsageError, match=f"{name}.*is not between"):
            GenerationRequest(prompt="", **{name: value})


def test_numbers_can_be_swept() -> None:
    numbers = {name for name, kind in FIELD_TYPES.items() if kind in ("int", "float")}
    # Neither changes an image.
    assert numbers - {"count", "vram"} <= set(SWEPT)
    assert len(set(SWEPT.values())) == len(SWEPT)


def test_a_job_takes_over_every_setting_of_an_image() -> None:
    own = (
        {f.name for f in fields(GenerationRequest)}
        - {"prompt", "spec", "scheduler", "count"}
        # Where a request came from, and where its LoRAs and embeddings are looked up.
        - {"row", "lora_dir", "embedding_dir"}
        # Other options, which a job has, are chosen for it.
        - {"draft"}
    )
    assert set(JOB_SETTINGS) == own
