"""The options that choose what is loaded, as values of their own types."""

from __future__ import annotations

import inspect
from typing import Any

from sdcli.commands.options.parsing import parse_dtype
from sdcli.commands.options.typer_options import group_parameters
from sdcli.pipeline_spec import PipelineSpec


class SpecFlags:
    """The fields of a PipelineSpec on the command line."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    @classmethod
    def option_parameters(cls) -> list[inspect.Parameter]:
        """One option for each field."""
        return group_parameters(PipelineSpec)

    def spec(self) -> PipelineSpec:
        """The spec that the options ask for. Raises UsageError."""
        return PipelineSpec(**{**self._values, "dtype": parse_dtype(self._values["dtype"])})
