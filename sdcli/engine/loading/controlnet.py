"""Load the ControlNets and T2I-Adapters of jobs, and keep those of the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import ControlNetModel, T2IAdapter

from sdcli.checkpoints.adapters.controlnet_file import (
    COMPONENT,
    ControlnetFile,
    read_controlnet,
)
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.engine.loading.components import load_component
from sdcli.engine.loading.placement import Placement
from sdcli.engine.loading.planned_files import check_unchanged
from sdcli.engine.runtime import memory
from sdcli.job import Job
from sdcli.listed_files import SEPARATOR, split_files
from sdcli.pipeline_spec import PipelineSpec


@dataclass(kw_only=True, eq=False)
class LoadedControlnets:
    """The ControlNets of the last job that had any, by the hashes of their weights."""

    spec: PipelineSpec
    placement: Placement
    dtype: torch.dtype
    _models: dict[str, Any] = field(default_factory=dict)
    _files: dict[str, WeightFiles] = field(default_factory=dict)
    _configs: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def load(self, job: Job, wanted: Sequence[bool]) -> list[Any]:
        """Return the ControlNets of a job, None for those that are not wanted.

        Others are forgotten. Raises CorruptError, DeviceError, and ModelError for a file that has
        changed since the job was planned.
        """
        names = split_files(job.controlnet)
        planned = job.controlnet_sha256.split(SEPARATOR)
        used = {digest for digest, want in zip(planned, wanted, strict=True) if want}
        for digest in self._models.keys() - used:
            self.placement.drop(self._models.pop(digest))
            del self._files[digest], self._configs[digest]
        for name, digest in zip(names, planned, strict=True):
            if digest not in used:
                continue
            file = _open(name, digest, self.spec)
            # With another configuration, the same weights make another network.
            if digest not in self._models or self._configs[digest] != file.config:
                self.placement.drop(self._models.get(digest))
                self._models[digest] = self._load(file)
                self._files[digest], self._configs[digest] = file.files, file.config
            self.placement.place(self._models[digest], runs_often=True)
        return [self._models.get(digest) for digest in planned]

    def _load(self, file: ControlnetFile) -> Any:
        with memory.out_of_memory_as_device_error(f"controlnet: {file.path}"):
            return load_component(
                COMPONENT,
                T2IAdapter if file.is_t2i_adapter else ControlNetModel,
                file.config_file,
                file.config,
                file.files,
                self.dtype,
            )

    @property
    def models(self) -> dict[str, Any]:
        """The loaded models by their names in messages."""
        return {f"{COMPONENT} {digest[:8]}": model for digest, model in self._models.items()}

    @property
    def files(self) -> dict[str, WeightFiles]:
        """The files of the loaded models by the same names."""
        return {f"{COMPONENT} {digest[:8]}": files for digest, files in self._files.items()}


def _open(name: str, planned: str, spec: PipelineSpec) -> ControlnetFile:
    file = read_controlnet(name, spec)
    check_unchanged(COMPONENT, file.path, file.sha256, planned)
    return file
