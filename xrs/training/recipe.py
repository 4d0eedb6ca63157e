"""Training by a file, so that a run can be repeated, sent to a cluster, and started again after a kill."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from xrs.errors import AssetReadError, ParameterError, XrsError
from xrs.models import Model
from xrs.training.train import train

__all__ = ["main", "open_data", "run"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train as the recipe says that the command line names, and write the model."""
    parser = argparse.ArgumentParser(prog="python -m xrs.train", description="Train a model as a recipe says.")
    parser.add_argument("recipe", help="A YAML file; see xrs.training.recipe.run.")
    try:
        model, path = run(parser.parse_args(arguments).recipe)
    except XrsError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    # Of several processes only the first writes.
    if os.environ.get("RANK", "0") == "0":
        model.save(path)
        scores = ", ".join(f"{name} {value:.4g}" for name, value in model.card.metrics.items())
        print(f"{path}: {scores}")


def run(recipe: str | Path) -> tuple[Model, str]:
    """Train as a recipe says.

    Parameters
    ----------
    recipe : str or Path
        A YAML file with ``data`` (see :func:`open_data`), ``pan`` likewise if the task needs it, ``output`` (the
        path of the model), and the other arguments of :func:`xrs.train`. For task ``spectral`` ``data`` holds ``ms``
        and ``hs``, each of which is told as data are; or there is a ``library`` in its place: a source's name, or a
        mapping with the ``path`` of spectra and other arguments of :func:`xrs.spectra.read_library`. Of several scenes
        ``data`` (and ``pan``) is a list. The checkpoint stands beside the output unless told otherwise. Relative paths
        are from the recipe's folder::

            data: {path: scene.nc, groups: [r10m, r20m]}
            output: model.safetensors
            task: sharpen
            network: dsen2
            features: 32

        Or::

            library: land
            sensor: sentinel-2a
            bands: [B02, B03, B04, B08]
            to: enmap
            output: model.safetensors
            task: spectral
            network: spectralift

    Returns
    -------
    (Model, str)
        The model, not yet written, and the path of the output.

    Raises
    ------
    ParameterError
        If the file is no mapping, or lacks ``data`` (or ``library``) or ``output``.
    AssetReadError
        If recipe or data cannot be read.
    """
    facts, folder = _read(Path(recipe)), Path(recipe).resolve().parent
    missing = sorted({"data", "output", "task", "network"} - set(facts) - ({"data"} if "library" in facts else set()))
    if missing:
        raise ParameterError(f"the recipe {recipe} has no {missing[0]!r}", "data (or library), output, task, network")
    cube = _cubes(facts.pop("data"), folder) if "data" in facts else None
    if isinstance(facts.get("library"), Mapping):
        facts["library"] = _library(facts["library"], folder)
    pan = _cubes(facts.pop("pan"), folder) if "pan" in facts else None
    output = str(folder / facts.pop("output"))
    checkpoint = folder / facts.pop("checkpoint", f"{output}.checkpoint")
    return train(cube, pan, checkpoint=checkpoint, **facts), output


def open_data(source: Mapping[str, Any], folder: Path) -> Any:
    """A lazy cube from what a recipe says of it.

    Parameters
    ----------
    source : mapping
        Either ``stac`` with a catalogue's path or URL, beside further arguments of :func:`xrs.open_stac`; or ``path``
        of a NetCDF file or Zarr store, with ``groups`` for several resolutions, ``group`` for one, ``scale`` to
        multiply digital numbers with and ``nodata``.
    folder : Path
        What relative paths start from.

    Raises
    ------
    ParameterError
        If neither is given, or an entry is unknown.
    AssetReadError
        If the data cannot be read.
    """
    entries = dict(source) if isinstance(source, Mapping) else {}
    if "stac" in entries:
        from xrs.io.stac import open_stac

        return open_stac(_place(str(entries.pop("stac")), folder), **entries)
    unknown = sorted(set(entries) - {"path", "groups", "group", "scale", "nodata"})
    if "path" not in entries or unknown:
        raise ParameterError(f"data: {source}", "stac, or path with group or groups, scale and nodata")
    path = _place(str(entries["path"]), folder)
    scale, nodata = float(entries.get("scale", 1.0)), entries.get("nodata")
    if "groups" not in entries:
        return _open(path, entries.get("group"), scale, nodata)
    return xr.DataTree.from_dict({name: _open(path, name, scale, nodata) for name in entries["groups"]})


def _cubes(source: Any, folder: Path) -> Any:
    """One cube, or the two of task ``spectral``; of several scenes a list."""
    if isinstance(source, list):
        return [_cubes(one, folder) for one in source]
    if isinstance(source, Mapping) and set(source) == {"ms", "hs"}:
        return open_data(source["ms"], folder), open_data(source["hs"], folder)
    return open_data(source, folder)


def _library(source: Mapping[str, Any], folder: Path) -> Any:
    from xrs.spectra.read import read_library

    if "path" not in source:
        raise ParameterError(f"library: {dict(source)}", "a source's name, or path")
    others = {name: value for name, value in source.items() if name != "path"}
    return read_library(folder / str(source["path"]), **others)


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        facts = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise AssetReadError(f"{path} cannot be read ({error})", "a recipe in YAML") from error
    if not isinstance(facts, dict):
        raise ParameterError(f"{path} holds a {type(facts).__name__}", "a mapping in YAML")
    return facts


def _place(name: str, folder: Path) -> str:
    return name if "://" in name else str(folder / name)


def _open(path: str, group: str | None, scale: float, nodata: float | None) -> xr.Dataset:
    engine = "zarr" if path.rstrip("/").endswith(".zarr") else None
    try:
        found = xr.open_dataset(path, group=group, engine=engine, chunks={}, decode_coords="all")
    except (OSError, ValueError, KeyError) as error:
        raise AssetReadError(f"{path} {group or ''} cannot be read ({error})", "a NetCDF file or Zarr store") from error

    def scaled(variable: xr.DataArray) -> xr.DataArray:
        if not {"y", "x"} <= set(variable.dims):
            return variable
        seen = variable if nodata is None else variable.where(variable != nodata)
        return (seen.astype("float32") * scale).astype("float32")

    return found.map(scaled, keep_attrs=True)
