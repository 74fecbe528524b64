"""Names of samplers and schedules, and the rows that they find."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.catalog.schedulers.lookup import (
    find_sampler,
    normalize_name,
    sampler_index,
    schedule_suffixes,
)
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.catalog.schedulers.unsupported import UNSUPPORTED


@given(st.text(max_size=30))
def test_a_key_is_its_own_key(text):
    key = normalize_name(text)
    assert normalize_name(key) == key
    assert normalize_name(text.swapcase()) in (key, normalize_name(text.swapcase().lower()))


@pytest.mark.parametrize("name", ["DPM++ 2M", "dpm++_2m", "DPMPP-2M", " dpmpp2m "])
def test_case_spaces_and_plus_signs_do_not_matter(name):
    assert normalize_name(name) == "dpmpp2m"


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_every_name_of_a_row_finds_it(row):
    for name in (row.name, *row.aliases):
        for typed in (name, name.upper(), name.replace("_", " "), name.replace(" ", "_")):
            match, schedule = find_sampler(typed)
            assert (match.sampler, match.is_class_name, schedule) == (row, False, None)


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_a_class_name_finds_the_first_row_of_the_class(row):
    first = next(other for other in SAMPLERS if other.class_name == row.class_name)
    match, schedule = find_sampler(row.class_name)
    assert (match.sampler, match.is_class_name, schedule) == (first, True, None)


def test_no_name_belongs_to_two_samplers():
    keys = [normalize_name(name) for row in SAMPLERS for name in {row.name, *row.aliases}]
    rows = {key: sampler_index()[key].sampler.name for key in keys}
    for row in SAMPLERS:
        assert {rows[normalize_name(name)] for name in (row.name, *row.aliases)} == {row.name}


def test_no_unsupported_name_finds_a_sampler():
    assert not [name for name in UNSUPPORTED if find_sampler(name)]


def test_a_suffix_comes_before_the_suffixes_that_it_ends_with():
    keys = [key for key, _ in schedule_suffixes()]
    for i, key in enumerate(keys):
        assert not any(later.endswith(key) for later in keys[i + 1 :] if later != key)


@pytest.mark.parametrize("name", ["", "quxx", "karras", "karras euler"])
def test_an_unknown_name_finds_nothing(name):
    assert find_sampler(name) is None
