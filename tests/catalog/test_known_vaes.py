"""The table of known VAEs."""

from __future__ import annotations

import pytest

from sdcli.catalog.known_vaes import OWN_VAE, TINY_VAE, VAE_CLASSES, VAES, find_known_vae


@pytest.mark.parametrize("row", VAES, ids=lambda row: row.name)
def test_a_row_is_found_by_name_and_by_id(row):
    assert find_known_vae(row.name) is find_known_vae(row.repo) is row
    assert row.class_name in VAE_CLASSES


def test_the_names_are_unique_and_distinct_from_the_models_own_vaes():
    names = [OWN_VAE, TINY_VAE, *(row.name for row in VAES), *(row.repo for row in VAES)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["", OWN_VAE, TINY_VAE, "TAESD", "someone/taesd"])
def test_other_names_are_unknown(name):
    assert find_known_vae(name) is None
