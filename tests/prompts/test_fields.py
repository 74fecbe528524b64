"""Test the names of fields in prompt files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.prompts.fields import NAMES, canonical_field


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
