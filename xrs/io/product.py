"""Zarr products: write a cube region by region so that a stopped run goes on, and open what is complete.

A product is a Zarr v3 group after the GeoZarr conventions. Child ``0`` holds the cube on its own grid, ``1``, ``2``
and so on its overviews. The root's attributes are written last, and are what makes a product complete.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox
from zarr.abc.store import Store

from xrs.cube import package_version, to_json
from xrs.errors import IncompleteProductError, ParameterError, ProductExistsError, StoreFullError
from xrs.io import _journal, _replace, _store
from xrs.io._geozarr import group_attrs, multiscale_attrs, overview_geobox
from xrs.io._journal import Journal
from xrs.io._packing import Packing, packing_of
from xrs.io._prepare import coordinates_of, prepare, variable_attrs
from xrs.io._regions import level_count, plan_layouts
from xrs.io._stacitem import stac_item
from xrs.io._write import VariablePlan, codec_of, create_arrays, steps_of
from xrs.lazy.store import array_token, run_steps

__all__ = ["ProductStatus", "open_product", "product_status", "to_product"]


@dataclass(frozen=True)
class ProductStatus:
    """What a place holds.

    Attributes
    ----------
    state : {"absent", "incomplete", "complete", "other"}
        ``other`` is anything that is not a product.
    regions, finished : int
        Regions of a product, and how many of them are written; zero where there is none.
    """

    state: str
    regions: int
    finished: int


@dataclass(frozen=True)
class _Job:
    """A checked request: what is to be stored, and how."""

    dataset: xr.Dataset
    geobox: GeoBox
    plans: tuple[VariablePlan, ...]
    packing: Packing | None
    title: str | None
    stac_item: bool
    journal: Journal

    @property
    def levels(self) -> int:
        return len(self.plans[0].layouts) - 1


def to_product(
    cube: xr.DataArray | xr.Dataset,
    url: str | Path | Store,
    *,
    packing: str | Mapping[str, float] | Packing | None = None,
    overviews: bool | int = True,
    chunks: Mapping[str, int] | None = None,
    shards: Mapping[str, int] | None = None,
    codec: str = "lz4",
    overwrite: bool = False,
    progress: bool = True,
    stac_item: bool = True,
    title: str | None = None,
    token: str | None = None,
    client: Any = None,
) -> str:
    """Write a cube as a Zarr v3 product, region by region.

    A run that was stopped, even killed, goes on where it stopped when the same call is made again: finished
    regions are not computed again, and the product is byte for byte that of a run that was never stopped.
    The bytes hold no clock time; the STAC item tells ``created`` only if ``SOURCE_DATE_EPOCH`` is set. One process
    may write a product at a time.

    Parameters
    ----------
    cube : xarray.DataArray or xarray.Dataset
        Dims ``y, x`` and optionally ``time, band``; in memory or lazy. Floats are stored as float32, NaN where
        missing; integers and booleans (classes, flags) as they are.
    url : str, pathlib.Path or zarr.abc.store.Store
        A local path, a URL that fsspec knows, or a store such as ``zarr.storage.ObjectStore``.
    packing : {None, "int16"} or mapping, optional
        ``"int16"`` stores floats as int16 with a scale of 1e-4 (an error of at most half of it) and -32768 for NaN;
        a mapping sets ``scale``, ``offset`` and ``fill``.
    overviews : bool or int
        Levels of halved resolution: True until the longer side is under 512 pixels, or their number. Floats are
        averaged without NaN, of integers and booleans each block's first pixel is taken.
    chunks, shards : mapping of str to int, optional
        Sizes along dims of what is read at once and of what is written at once; chosen from the cube's chunks if
        left out. A cube chunked otherwise is rechunked to the shards.
    codec : {"lz4", "zstd", "none"}
    overwrite : bool
        Replace an existing product: a local one is replaced only when the new one is complete, any other is
        cleared when writing begins. Also starts a half-written product of another cube anew.
    progress : bool
        Show a progress bar.
    stac_item : bool
        Write a STAC item beside the product, named as it with suffix ``.json`` (below ``stac/`` inside a bare
        store). A cube without coordinate ``time`` gets none.
    title : str, optional
    token : str, optional
        Names the data of the cube for the check that a stopped run is continued with the same; by default the
        values in memory or Dask's name of the graph. Give one if that name changes from run to run.
    client : distributed.Client, optional
        Where to compute; by default the active client, else threads.

    Returns
    -------
    str
        ``url`` as text.

    Raises
    ------
    ProductExistsError
        If the place holds a complete product and ``overwrite`` is False, or anything else: that is never touched.
    ProductMismatchError
        If it holds a half-written product of another cube or of other parameters.
    StoreFullError
        If the disk is full; finished regions stay.
    LayoutError, GridMismatchError, TimeAxisError, ChunkingError, ParameterError
        If the cube or a parameter is not as above; nothing is written.
    RadiometryError
        If a value does not fit the packing.

    Examples
    --------
    >>> import numpy as np, tempfile, xarray as xr
    >>> grid = {"y": [35.0, 25, 15, 5], "x": [5.0, 15, 25, 35]}
    >>> cube = xr.DataArray(np.ones((4, 4), "f4"), dims=("y", "x"), coords=grid)
    >>> place = tempfile.mkdtemp() + "/ones.zarr"
    >>> _ = to_product(cube, place, progress=False)
    >>> open_product(place)["data"].dtype
    dtype('float32')
    """
    place = str(url)
    store = _store.open_store(url)
    job = _plan(cube, packing_of(packing), overviews, chunks, shards, codec, title, stac_item, token)
    with _naming_full_disk(place):
        work = _claim(store, job, place, overwrite)
        if not _is_written(work):
            _write_regions(work, job, progress, client)
            _finish(work, store, job)
        _replace.settle(work, store)
        _journal.remove_journal(store)
    return place


def open_product(url: str | Path | Store, *, level: int = 0) -> xr.Dataset:
    """Open a complete product, lazily.

    Parameters
    ----------
    url : str, pathlib.Path or zarr.abc.store.Store
    level : int
        0 for the cube on its own grid, or an overview.

    Returns
    -------
    xarray.Dataset
        Dask-backed, chunked as it was written; packed variables are unpacked to float32. Attributes of the product
        stand in ``attrs``.

    Raises
    ------
    IncompleteProductError
        If the product is half written, or there is none.
    ProductExistsError
        If the place holds something else.
    ParameterError
        If there is no such level.

    Examples
    --------
    >>> import numpy as np, tempfile, xarray as xr
    >>> grid = {"y": [35.0, 25, 15, 5], "x": [5.0, 15, 25, 35]}
    >>> cube = xr.DataArray(np.arange(16, dtype="f4").reshape(4, 4), dims=("y", "x"), coords=grid, name="level")
    >>> place = to_product(cube, tempfile.mkdtemp() + "/levels.zarr", overviews=1, progress=False)
    >>> open_product(place, level=1)["level"].values
    array([[ 2.5,  4.5],
           [10.5, 12.5]], dtype=float32)
    """
    place = str(url)
    store = _store.open_store(url)
    state = _journal.probe(store)
    _journal.check_ours(state, place)
    if state.kind == "absent":
        raise IncompleteProductError(f"there is no product at {place}", "a product", "check the path")
    if state.kind == "incomplete":
        status = product_status(url)
        raise IncompleteProductError(
            f"the product {place} is half written: {status.finished} of {status.regions} regions",
            "a complete product",
            "repeat the call of to_product that began it; it goes on where it stopped",
        )
    root = zarr.open_group(store, mode="r")
    levels = len(root.attrs["multiscales"]["layout"])
    if not 0 <= level < levels:
        raise ParameterError(f"level={level}", f"0 to {levels - 1}", "level=0 is the full resolution")
    found = xr.open_zarr(store, group=str(level), chunks=None, consolidated=False, decode_coords="all", zarr_format=3)
    return _lazy_cube(_with_ancillaries(found), root[str(level)], array_token([place, level, _store.version_of(store)]))


def product_status(url: str | Path | Store) -> ProductStatus:
    """Tell what a place holds and how far a product is written, changing nothing."""
    store = _store.open_store(url)
    state = _journal.probe(store)
    if state.kind == "complete":
        regions = int(zarr.open_group(store, mode="r").attrs[_journal.MARK]["regions"])
        return ProductStatus("complete", regions, regions)
    if state.journal is None:
        return ProductStatus(state.kind, 0, 0)
    return ProductStatus(state.kind, state.journal.regions, len(_journal.finished(store) - {_SKELETON}))


#: CF's name for what a variable says of others that tell of it.
_ANCILLARY = "ancillary_variables"

#: Recorded once the metadata of all arrays are written, before any region.
_SKELETON = "skeleton"


def _plan(
    cube: xr.DataArray | xr.Dataset,
    packing: Packing | None,
    overviews: bool | int,
    chunks: Mapping[str, int] | None,
    shards: Mapping[str, int] | None,
    codec: str,
    title: str | None,
    item: bool,
    token: str | None,
) -> _Job:
    dataset, geobox = prepare(cube, title)
    codec_of(codec, 4)
    height, width = geobox.shape
    levels = level_count(height, width, overviews)
    plans = []
    for name, variable in dataset.data_vars.items():
        floats = variable.dtype.kind == "f"
        packed = packing if floats else None
        stored = variable.dtype.str.lstrip("<|=") if not floats else "float32"
        dims = tuple(map(str, variable.dims))
        layouts = plan_layouts(
            dims,
            variable.shape,
            variable.chunks,
            4 if floats else variable.dtype.itemsize,
            levels,
            chunks=chunks,
            shards=shards,
        )
        plans.append(
            VariablePlan(str(name), dims, "int16" if packed else np.dtype(stored).name, packed, codec, tuple(layouts))
        )
    journal = _identity(dataset, geobox, tuple(plans), title, item, token)
    return _Job(dataset, geobox, tuple(plans), packing, title, item, journal)


def _identity(
    dataset: xr.Dataset,
    geobox: GeoBox,
    plans: tuple[VariablePlan, ...],
    title: str | None,
    item: bool,
    token: str | None,
) -> Journal:
    facts: dict[str, Any] = {
        "version of xrs": package_version(),
        "grid": [str(geobox.crs), list(geobox.affine)[:6], list(geobox.shape)],
        "coordinates": {str(n): array_token(c.values) for n, c in dataset.coords.items() if n != "spatial_ref"},
        "attributes": to_json([dataset.attrs, {str(n): v.attrs for n, v in dataset.data_vars.items()}]),
        "storage": [asdict(plan) for plan in plans],
        "data": token or {str(n): array_token(v.data) for n, v in dataset.data_vars.items()},
        "title and STAC item": [title, item],
    }
    return Journal(facts, sum(1 for plan in plans for _ in plan.regions()))


def _claim(store: Store, job: _Job, place: str, overwrite: bool) -> Store:
    """Where to write: the place itself, or beside a local product that is to be replaced.

    What is there is checked; when this returns, the journal of this job is there.
    """
    _replace.recover(store)
    state = _journal.probe(store)
    _journal.check_ours(state, place)
    _check_item_place(store, place)
    if state.kind == "complete" and state.journal is None:
        if not overwrite:
            raise ProductExistsError(
                f"{place} holds a complete product", "a free path", "overwrite=True replaces it, or choose another path"
            )
        aside = _replace.beside(store)
        if aside is not None:
            return _claim(aside, job, str(aside), overwrite=True)
    elif state.journal is not None and (not overwrite or state.journal.digest == job.journal.digest):
        job.journal.check_same(state.journal, place)
        return store
    if state.kind != "absent":
        _store.delete_below(store)
    _journal.start_journal(store, job.journal)
    return store


def _is_written(store: Store) -> bool:
    return _journal.probe(store).kind == "complete"


def _write_regions(store: Store, job: _Job, progress: bool, client: Any) -> None:
    done = _journal.finished(store)
    if _SKELETON not in done:
        _write_skeleton(store, job)
        _journal.mark(store, _SKELETON)
    steps = [step for plan in job.plans for step in steps_of(store, plan, job.dataset[plan.name], done)]
    run_steps(steps, progress=progress, client=client)


def _write_skeleton(store: Store, job: _Job) -> None:
    """All that is not a region: groups, coordinates, metadata of arrays."""
    for name in _store.names_in(store) - {".xrs"}:
        _store.delete_below(store, name) if name != "zarr.json" else _store.delete(store, name)
    for level in range(job.levels + 1):
        coords = coordinates_of(job.dataset, job.geobox, level)
        coords.attrs = job.dataset.attrs | group_attrs(overview_geobox(job.geobox, level))
        coords.to_zarr(store, group=str(level), mode="a", zarr_format=3, consolidated=False)
    for plan in job.plans:
        create_arrays(store, plan, variable_attrs(job.dataset[plan.name], job.geobox))


def _finish(work: Store, store: Store, job: _Job) -> None:
    """What comes after the last region; the root's attributes make the product complete."""
    _store.sweep_partial(work)
    if job.stac_item:
        beside, prefix = _store.sibling(store)
        found = stac_item(job.dataset, job.geobox, _href(store, prefix), job.packing, job.title)
        if found is not None:
            _store.write(beside, prefix + _item_name(store), json.dumps(found, indent=2).encode())
    attrs = job.dataset.attrs | multiscale_attrs(job.geobox, job.levels)
    zarr.open_group(work, mode="a", zarr_format=3).update_attributes(
        attrs | {_journal.MARK: {"regions": job.journal.regions}}
    )


def _item_name(store: Store) -> str:
    return _store.name_of(store).removesuffix(".zarr") + ".json"


def _href(store: Store, prefix: str) -> str:
    return "../" if prefix else f"./{_store.name_of(store)}"


def _check_item_place(store: Store, place: str) -> None:
    """Refuse to write a STAC item over a file that is none of ours."""
    beside, prefix = _store.sibling(store)
    content = _store.read(beside, prefix + _item_name(store))
    if content is None:
        return
    try:
        ours = json.loads(content)["assets"]["data"]["href"] == _href(store, prefix)
    except (ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise ProductExistsError(
            f"{prefix + _item_name(store)} beside {place} is not the STAC item of this product",
            "a free name for the item",
            "choose another path, or stac_item=False",
        )


@contextmanager
def _naming_full_disk(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StoreFullError(
            f"no space is left for {place} ({error.strerror})",
            "room for the whole product",
            "free some space and repeat the call: it goes on from the regions that are written",
        ) from error


def _with_ancillaries(found: xr.Dataset) -> xr.Dataset:
    """Standard deviations and the like as variables, which a band names; xarray takes them for coordinates."""
    named = {n: v.encoding.pop(_ANCILLARY) for n, v in found.data_vars.items() if _ANCILLARY in v.encoding}
    beside = [name for names in named.values() for name in names.split()]
    restored = {n: found[n].assign_attrs({_ANCILLARY: names}) for n, names in named.items()}
    return found.assign(restored).reset_coords(beside)


def _lazy_cube(found: xr.Dataset, group: zarr.Group, token: str) -> xr.Dataset:
    """Coordinates in memory with names as fixed-width text; variables as float32, chunked by shards.

    A task then reads each object once, and the names of the graph are the same in each run.
    """
    coords = {n: c.compute() for n, c in found.coords.items()}
    texts = {n: c.copy(data=c.values.astype(object).astype(str)) for n, c in coords.items() if c.dtype.kind in "TO"}
    variables = {}
    for name, variable in found.data_vars.items():
        lazy = variable.chunk(dict(zip(variable.dims, group[str(name)].shards, strict=True)), token=f"{name}-{token}")
        variables[name] = lazy.astype("float32") if lazy.dtype == np.float64 else lazy
    return found.assign(variables).assign_coords(coords | texts)
