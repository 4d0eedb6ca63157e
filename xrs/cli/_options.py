"""Options that commands share, and one that takes several values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from xrs.cli._app import DEBUG

__all__ = [
    "BBOX",
    "Command",
    "Setting",
    "SeveralValues",
    "catalogue_options",
    "compute_options",
    "geotiff_options",
    "store_options",
]

Function = TypeVar("Function", bound=Callable[..., Any])


class SeveralValues(click.Option):
    """An option whose values may follow each other, be joined by commas, or come with the option repeated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **(kwargs | {"multiple": True}))

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Split at commas, then convert each value."""
        parts = [part for given in value or () for part in str(given).split(",") if part]
        return super().type_cast_value(ctx, parts)


class Command(click.Command):
    """A command that knows ``--debug``, and whose :class:`SeveralValues` take all words up to the next option."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        debug = click.Option(
            ["--debug"], is_flag=True, expose_value=False, callback=_set_debug, help="Show tracebacks of errors."
        )
        self.params.append(debug)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat such options before each of their values, then parse."""
        names = {name for p in self.params if isinstance(p, SeveralValues) for name in p.opts}
        return super().parse_args(ctx, list(_repeated(args, names)))


def _repeated(args: list[str], names: set[str]) -> Iterator[str]:
    option, fresh = "", False
    for position, word in enumerate(args):
        if word == "--":
            yield from args[position:]
            return
        if word.startswith("-") and not fresh:
            name, joined, _ = word.partition("=")
            option, fresh = (name, not joined) if name in names else ("", False)
        elif option and not fresh:
            yield option
        else:
            fresh = False
        yield word


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[DEBUG] = value


class _Bbox(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    name = "W,S,E,N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            west, south, east, north = map(float, value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not west,south,east,north in degrees, such as 2.85,50.80,2.95,50.86", param, ctx)
        return west, south, east, north


BBOX = _Bbox()


class Setting(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``name=value``; the value is a number, true, false, null or a list after JSON, else text."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A pair of name and value."""
        if not isinstance(value, str):
            return value
        name, equals, text = value.partition("=")
        if not (name and equals):
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text


def _all(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


#: What of a catalogue is opened, as :func:`xrs.open_stac` takes it.
catalogue_options = _all(
    click.option("--collections", cls=SeveralValues, metavar="NAME ...", help="Collections; all if not given."),
    click.option("--bbox", type=BBOX, help="Area in degrees; all of it if not given."),
    click.option("--datetime", metavar="TIME", help="Dates: 2018, 2018-05/2018-06, 2018-05-03/.. ."),
    click.option("--bands", cls=SeveralValues, metavar="NAME ...", help="Bands; all if not given."),
    click.option(
        "--mask",
        type=click.Choice(["auto", "none"]),
        default="auto",
        show_default=True,
        help="Mask clouds and their shadows by the product's own layer, or nothing.",
    ),
    click.option(
        "--groupby",
        type=click.Choice(["time", "solar_day"]),
        default="time",
        show_default=True,
        help="What makes one date of the cube.",
    ),
    click.option(
        "--on-missing",
        type=click.Choice(["raise", "skip"]),
        default="raise",
        show_default=True,
        help="What to do with files that cannot be read.",
    ),
)

compute_options = _all(
    click.option("--workers", type=click.IntRange(1), help="Processes of a local Dask cluster; threads if not given."),
    click.option("--scheduler-address", metavar="ADDRESS", help="A running Dask cluster, such as tcp://10.0.0.5:8786."),
)

store_options = _all(
    click.option("--packing", type=click.Choice(["int16"]), help="Store int16 with a scale of 1e-4; else float32."),
    click.option("--overwrite", is_flag=True, help="Replace what an earlier run wrote."),
)

#: How a GeoTIFF is written.
geotiff_options = _all(
    click.option(
        "--dtype",
        type=click.Choice(["float32", "uint8", "uint16", "int16"]),
        default="float32",
        show_default=True,
        help="Of a GeoTIFF; integers are rounded, 0 is missing.",
    ),
    click.option(
        "--compress",
        type=click.Choice(["deflate", "zstd", "lzw", "none"]),
        default="deflate",
        show_default=True,
        help="Of a GeoTIFF.",
    ),
    click.option(
        "--cog/--no-cog", default=True, show_default=True, help="Write a GeoTIFF cloud optimised, with overviews."
    ),
)
