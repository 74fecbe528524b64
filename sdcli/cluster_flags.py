"""Options that divide a batch among processes and machines."""

from __future__ import annotations

from dataclasses import dataclass

from sdcli.field_metadata import setting

MOST_WORKERS = 256
"""The largest number of worker processes."""


@dataclass(frozen=True, kw_only=True)
class ClusterFlags:
    """Which processes make the images of a batch, and which share of them."""

    workers: int | None = setting(
        None,
        "--workers",
        metavar="N",
        help="Make the images in N processes, which share the CPU's cores.",
        minimum=1,
        maximum=MOST_WORKERS,
    )
    gpus: str | None = setting(
        None,
        "--gpus",
        metavar="LIST",
        help="Make the images in one process for each GPU: all, or numbers as in 0,1.",
    )
    shard: str | None = setting(
        None,
        "--shard",
        metavar="I/N",
        help="Make only one of N shares, counted from 1. auto reads the share from torchrun or a "
        "Slurm array, auto/N from a Kubernetes indexed job.",
    )
    ray: str | None = setting(
        None,
        "--ray",
        metavar="ADDRESS",
        help="Make the images on a Ray cluster: auto or HOST:PORT joins one, local starts one on "
        "this machine.",
    )
