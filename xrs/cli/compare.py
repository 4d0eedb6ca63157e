"""``xrs compare``: methods scored by Wald's protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from xrs.cli._options import Command, SeveralValues, catalogue_options
from xrs.cli._rasters import open_groups, open_raster
from xrs.cli._session import timed
from xrs.cli._tables import show_frame

__all__ = ["compare"]


@click.command(cls=Command)
@click.argument("source")
@click.argument("pan", required=False)
@click.option("--methods", cls=SeveralValues, metavar="NAME ...", help="Methods; all of the family if not given.")
@click.option("--sensor", metavar="NAME", help="The instrument whose point spread degrades the observations.")
@click.option("--peak", type=float, help="Peak of PSNR; the largest value if not given.")
@click.option("--border", type=click.IntRange(0), help="Pixels left out along the edges; two coarse ones if not given.")
@click.option("--csv", type=click.Path(dir_okay=False, path_type=Path), help="Write the table to a file too.")
@catalogue_options
def compare(
    source: str,
    pan: str | None,
    methods: Sequence[str],
    sensor: str | None,
    peak: float | None,
    border: int | None,
    csv: Path | None,
    **filters: Any,
) -> None:
    """Score methods by Wald's protocol: degrade, fuse, hold against what was observed.

    SOURCE is a multispectral raster, with PAN beside it; or alone a STAC catalogue or a file with a group for each
    grid. All is held in memory: of a catalogue choose an area and dates.

    \b
    Examples:
      xrs compare ms.tif pan.tif --methods brovey gsa mtf_glp_fs
      xrs compare catalog.json --datetime 2018-06-30 --methods exp atprk
    """  # noqa: D301  # click wants the character, not the escape
    from xrs.operators.compare import compare as score

    sources = (open_groups([source], **filters),) if pan is None else (open_raster(source), open_raster(pan))
    wanted: dict[str, Any] = {"methods": list(methods) or None, "peak": peak, "border": border}
    with timed("compared"):
        table = score(*sources, sensor=sensor, **wanted)
    show_frame(table, title="Wald's protocol, the best first")
    if csv is not None:
        table.to_csv(csv)
