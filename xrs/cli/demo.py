"""``xrs demo``: the whole job where the truth is known."""

from __future__ import annotations

import click

from xrs.cli._options import Command
from xrs.cli._session import say, timed
from xrs.cli._tables import show_frame

__all__ = ["demo"]


@click.command(cls=Command)
@click.argument("out", default="demo-output")
@click.option("--size", type=click.IntRange(64), default=256, show_default=True, help="Pixels of 10 m along a side.")
@click.option("--every", default="5D", show_default=True, metavar="STEP", help="Time between two looks.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of landscape, weather and noise.")
def demo(out: str, size: int, every: str, seed: int) -> None:
    """Run the whole job on the embedded scene, where the truth is known.

    A season of a landscape as Sentinel-2 sees it through clouds is sharpened to 10 m, its NDVI smoothed and filled, and
    all of it held against the truth. The folder OUT gets the product, the scores (quality.csv) and a figure.
    """
    from xrs.demo import run_demo

    with timed(f"done; {out} holds product.zarr, quality.csv and figure.png;"):
        result = run_demo(out, size=size, every=every, seed=seed, tell=say)
    show_frame(result.sharpening, title="20 m bands at 10 m against the truth (RMSE in reflectance)")
    show_frame(result.smoothing, title="Filling NDVI against the truth")
