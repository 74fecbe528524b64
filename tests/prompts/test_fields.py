"""Test the names of fields in prompt files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.prompts.fields import NAMES, canonical_field


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("out", "the whole run's, not a line's", "--out"),
        ("save_latents", "the whole run's, not a line's", "--save-latents"),
        ("wildcard-mode", "the whole run's", "--wildcard-mode"),
        ("batch_size", "the whole run's", "--count"),
        ("Restore_Faces", "known to A1111, but not here", "leave it out"),
        ("cn", "known to kohya's scripts", "ControlNet"),
        ("stpes", "unknown field 'stpes'", "did you mean steps?"),
        ("qqq", "unknown field 'qqq'", "sdcli batch -h"),
    ],
)
def test_unsupported_names_have_hints(name, message, hint):
    with pytest.raises(UsageError, match=message) as caught:
        canonical_field(name)
    assert hint in caught.value.hint
    assert len(caught.value.hint) < 80


@given(st.sampled_from(NAMES), st.sampled_from(["_", "-", " "]), st.booleans())
def test_case_dashes_and_spaces_in_names_do_not_matter(name, separator, upper):
    written = name.replace("_", separator)
    assert canonical_field(written.upper() if upper else written) == name
