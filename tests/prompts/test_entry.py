"""Test entries and their locations."""

from __future__ import annotations

import pytest

from sdcli.errors import UsageError
from sdcli.prompts.entry import PromptEntry, SourceLocation, relocated_error


@pytest.mark.parametrize(
    ("location", "text"),
    [
        (SourceLocation("f"), "f"),
        (SourceLocation("f", 3), "f:3"),
        (SourceLocation("f", 3, 4), "f:3:4"),
        (SourceLocation("f", 3).at_column(7), "f:3:7"),
    ],
)
def test_unknown_parts_of_a_location_are_not_printed(location, text):
    assert str(location) == text


def test_a_field_without_a_location_has_that_of_its_entry():
    location = SourceLocation("f", 3)
    assert PromptEntry(fields={}, location=location).location_of("seed") == location
    entry = PromptEntry(fields={}, location=location, locate=lambda name: location.at_column(9))
    assert str(entry.location_of("seed")) == "f:3:9"


def test_a_relocated_error_keeps_its_code_and_hint():
    error = relocated_error(SourceLocation("f", 3), UsageError("x", code="usage.seed", hint="y"))
    assert (str(error), error.code, error.hint) == ("f:3: x", "usage.seed", "y")
