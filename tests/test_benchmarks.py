"""The benchmarks run: every module imports, and the cheapest give their tables."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.__main__ import BENCHMARKS, main  # noqa: E402
from benchmarks.common import Table, Times, alternate, cpu_ratio, machine_limits, ratio  # noqa: E402


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_imports_and_has_tables_or_is_a_program(name: str) -> None:
    module = importlib.import_module(f"benchmarks.bench_{name}")
    assert callable(getattr(module, "tables", None) or module.main)
    assert module.__doc__


def test_no_benchmark_is_left_out() -> None:
    assert {path.stem.removeprefix("bench_") for path in (ROOT / "benchmarks").glob("bench_*.py")} == set(BENCHMARKS)


def test_runs_alternate_and_warm_up() -> None:
    seen: list[str] = []
    times = alternate({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, rounds=3, warmups=1)
    assert seen == ["a", "b"] * 4
    assert {len(one.seconds) for one in times.values()} == {3}


def test_ratios_are_of_neighbouring_rounds() -> None:
    slow, quick = Times((2.0, 40.0, 6.0), (1.0, 1.0, 1.0)), Times((1.0, 20.0, 2.0), (2.0, 2.0, 2.0))
    assert ratio(slow, quick) == 2.0
    assert cpu_ratio(slow, quick) == 0.5
    assert slow.median == 6.0


def test_limits_are_those_of_a_real_memory() -> None:
    limits = machine_limits(2, megabytes=16, rounds=2)
    assert 1e8 < limits.fresh < 1e13
    assert 1e8 < limits.copy < 1e13


def test_tables_in_every_form() -> None:
    table = Table("Speed", ("method", "s", "ratio"), notes="One thread.")
    table.add("ours", 0.01234, None)
    table.add("peer", 1234.5, float("nan"))
    assert table.as_text().splitlines()[2].split() == ["ours", "0.0123", "-"]
    assert "| peer | 1,234 | - |" in table.as_md()
    assert table.as_csv().splitlines() == ["table,method,s,ratio", "Speed,ours,0.01234,", "Speed,peer,1234.5,nan"]


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["speeed"])
    assert "accuracy" in capsys.readouterr().err


def test_both_halo_operators_give_the_same_pixels_in_few_tasks() -> None:
    from benchmarks import bench_tiles

    bench_tiles.check_same(bench_tiles.operators(8, 3))
    graph = bench_tiles.operators(8, 4)["xrs"]().__dask_graph__()
    assert len(dict(graph)) <= 3 * 16


def test_our_program_equals_the_operator(tmp_path: Path) -> None:
    import rasterio
    import xarray as xr

    import xrs
    from benchmarks import bench_gdal

    ms, pan, out = (tmp_path / name for name in ("ms.tif", "pan.tif", "out.tif"))
    bench_gdal.write_case(ms, pan, 512)
    bench_gdal.fuse_files(ms, pan, out, 2)
    cubes = []
    for place in (ms, pan):
        with rasterio.open(place) as file:
            step = file.res[0]
            y, x = 5e6 - (np.arange(file.height) + 0.5) * step, 5e5 + (np.arange(file.width) + 0.5) * step
            cubes.append(xr.DataArray(file.read().astype("float32"), dims=("band", "y", "x"), coords={"y": y, "x": x}))
    expected = xrs.pansharpen(*cubes, "brovey", kernel="cubic")
    with rasterio.open(out) as file:
        np.testing.assert_allclose(file.read(), expected.values, atol=0.51)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiles", "accuracy"])
def test_a_quick_run_prints_tables(name: str) -> None:
    command = [sys.executable, "-m", "benchmarks", name, "--quick", "--md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.count("| ---") >= 2
