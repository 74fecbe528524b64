"""Descriptions of constructor options, without Diffusers."""

from __future__ import annotations

import pytest

from sdcli.catalog.schedulers.class_options import CONSTRUCTORS
from sdcli.catalog.schedulers.option_info import option_info


def test_a_class_can_differ_from_the_general_description():
    general = option_info("DDIMScheduler", "prediction_type")
    special = option_info("PNDMScheduler", "prediction_type")
    assert general.description == special.description
    assert set(special.accepted) == set(general.accepted) - {"sample"}


def test_an_option_that_the_class_ignores_cannot_be_set():
    info = option_info("LCMScheduler", "timestep_spacing")
    assert info.fixed_reason
    assert info.accepted == ()
    assert option_info("DDIMScheduler", "timestep_spacing").accepted


def test_every_option_accepts_values_or_has_a_reason_not_to():
    for class_name, options in CONSTRUCTORS.items():
        for key in options:
            info = option_info(class_name, key)
            assert bool(info.accepted) != bool(info.fixed_reason), (class_name, key)


def test_an_unknown_option_is_a_key_error():
    with pytest.raises(KeyError):
        option_info("DDIMScheduler", "solver_odrer")


def test_numbers_have_an_ascending_range():
    for class_name, options in CONSTRUCTORS.items():
        for key in options:
            accepted = option_info(class_name, key).accepted
            if accepted and not isinstance(accepted[0], str):
                low, high = accepted
                assert low < high
                assert type(low) is type(high)
