"""Test the names of fields in prompt files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.prompts.fields import NAMES, canonical_field, parse_data, parse_text


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("out", "--out"),
        ("save_latents", "--save-latents"),
        ("wildcard-mode", "--wildcard-mode"),
        ("batch_size", "--count"),
        ("Restore_Faces", "leave it out"),
        ("cn", "sdcli calls it controlnet"),
        ("stpes", "did you mean steps?"),
        ("qqq", "sdcli batch -h"),
    ],
)
def test_names_that_no_row_can_set_have_hints(name, hint):
    with pytest.raises(UsageError, match=f"'{name}'") as caught:
        canonical_field(name)
    assert caught.value.code == "usage.field"
    assert hint in caught.value.hint
    assert len(caught.value.hint) < 80


@given(st.sampled_from(NAMES), st.sampled_from(["_", "-", " "]), st.booleans())
def test_case_dashes_and_spaces_in_names_do_not_matter(name, separator, upper):
    written = name.replace("_", separator)
    assert canonical_field(written.upper() if upper else written) == name


@pytest.mark.parametrize("name", ["dtype", "vram"])
def test_auto_is_the_default_where_it_is_a_word_for_it(name: str) -> None:
    assert parse_text(name, "auto") is parse_data(name, "auto") is None


def test_auto_is_no_number_elsewhere() -> None:
    with pytest.raises(UsageError, match="'auto' is not a number"):
        parse_text("guidance_scale", "auto")
