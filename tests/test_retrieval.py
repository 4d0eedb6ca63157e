"""Retrieval: published networks against the toolbox's test cases, lines on indices, and what the operator promises."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support import cube, nothing_computed, rechunked

from xrs.cube import geobox_of, to_dataset
from xrs.errors import (
    BandNotFoundError,
    LayoutError,
    ModelCardError,
    ParameterError,
    RadiometryError,
)
from xrs.methods import methods_of
from xrs.methods.retrieval._variables import VARIABLES, limited
from xrs.models import load_model
from xrs.operators.retrieve import retrieve

NAMES = sorted(methods_of("retrieval"))
KEYS = ("B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12")
CENTRES = {
    "B02": 492.4, "B03": 559.8, "B04": 664.6, "B05": 704.1, "B06": 740.5, "B07": 782.8, "B08": 832.8, "B8A": 864.7,
    "B11": 1613.7, "B12": 2202.4,
}  # fmt: skip
LEAFY = (0.04, 0.06, 0.03, 0.10, 0.30, 0.37, 0.39, 0.41, 0.19, 0.10)
SOIL = (0.08, 0.11, 0.15, 0.18, 0.20, 0.22, 0.23, 0.24, 0.31, 0.27)

#: Test cases of the toolbox (auxiliary data 2.1): bands, cosines of view zenith, sun zenith and relative azimuth, result.
CASES = {
    "LAI": """
        0.067268,0.032837,0.10986,0.32729,0.38126,0.411,0.11839,0.01038,0.92825,0.55324,0.51356,2.8937
        0.033677,0.036348,0.065154,0.26169,0.34073,0.3016,0.19126,0.071958,0.94491,0.34567,-0.53688,1.3444
        0.075794,0.022088,0.065046,0.37086,0.52279,0.55548,0.12344,0.030334,0.9691,0.72715,0.62834,6.6507
        0.095824,0.02704,0.12562,0.47486,0.57579,0.58588,0.27051,0.097625,0.92452,0.71477,0.73251,3.8213
        0.16211,0.068304,0.18252,0.48123,0.53226,0.55714,0.22544,0.076089,0.98216,0.88551,0.96168,3.0745""",
    "FAPAR": """
        0.10733,0.07007,0.1355,0.2912,0.33657,0.3335,0.16552,0.11706,0.9694,0.86803,-0.82835,0.574918
        0.21207,0.2414,0.23862,0.27521,0.33035,0.33301,0.34619,0.32453,0.99653,0.847,0.98009,0.1027861
        0.034238,0.015797,0.060207,0.24988,0.29787,0.31909,0.11146,0.02158,0.99861,0.39824,-0.50711,0.8848122
        0.02917,0.0306,0.053506,0.07636,0.10822,0.10407,0.11714,0.11524,0.99569,0.56655,0.53872,0.2019804""",
    "CCC": """
        0.066303,0,0.07076,0.18934,0.24781,0.25357,0.1322,0.036814,0.91932,0.84968,0.97304,83.89022
        0.03368,0.028083,0.059354,0.12855,0.13722,0.13284,0.054111,0.034816,0.9223,0.8081,0.93461,47.47804
        0.099343,0.085062,0.13557,0.25421,0.29606,0.31657,0.15461,0.094641,0.96252,0.70505,-0.65667,45.12247""",
}

#: The same with the coefficients of one satellite (auxiliary data 3.0), leaf area.
OF_SATELLITES = {
    "S2A": """
        0.04951,0.016356,0.092664,0.37585,0.55148,0.58363,0.15155,0.058694,0.98909,0.85184,0.99553,7.191455
        0.071,0.073963,0.099735,0.13736,0.16579,0.17208,0.15594,0.11651,0.99872,0.84778,-0.74218,0.6298495
        0.079461,0.048113,0.10799,0.28343,0.30126,0.3135,0.13943,0.032617,0.99133,0.71466,0.71145,1.695212
        0.10532,0.034935,0.13434,0.47733,0.54259,0.58975,0.16901,0.051678,0.99431,0.76013,0.7985,4.802658""",
    "S2B": """
        0.062568,0.068825,0.094908,0.1237,0.13325,0.13871,0.16872,0.15302,0.98237,0.48369,-0.50595,0.36835
        0.07826,0.027157,0.10027,0.35385,0.4639,0.50203,0.20724,0.081792,0.99953,0.85965,-0.99999,4.2085
        0.071242,0.025558,0.092635,0.29276,0.36303,0.38733,0.12478,0.04073,0.99672,0.81535,0.69861,3.3243
        0.052036,0.023415,0.07396,0.3093,0.4335,0.52176,0.23355,0.084692,0.98839,0.40976,0.57126,5.0137""",
}


def table(text: str) -> np.ndarray:
    return np.array([[float(value) for value in line.split(",")] for line in text.split()])


def field(*spectra: tuple[float, ...], times: int = 0, shape: tuple[int, int] = (7, 9)) -> xr.DataArray:
    """Sentinel-2's ten bands of a mixture that goes from one spectrum to another."""
    rng = np.random.default_rng(5)
    one, other = np.asarray(spectra or (LEAFY, SOIL))[[0, -1]]
    share = rng.random((max(times, 1), 1, *shape))
    values = (share * one[:, None, None] + (1 - share) * other[:, None, None]).astype("float32")
    bands = {key: ("", centre) for key, centre in CENTRES.items()}
    return cube(shape, 10.0, bands=bands, times=times, values=values if times else values[0])


def pixels(rows: np.ndarray) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
    """Rows of eight bands and three cosines as a cube of one row, with angles by pixel."""
    both = np.repeat(rows, 2, axis=0)
    bands = {key: ("", CENTRES[key]) for key in KEYS}
    scene = cube((2, len(rows)), 10.0, bands=bands, values=both.reshape(len(rows), 2, -1).T[:8].astype("float32"))
    degrees = np.rad2deg(np.arccos(both.reshape(len(rows), 2, -1).T[8:11]))
    names = ("view_zenith", "sun_zenith", "relative_azimuth")
    return scene, {name: xr.DataArray(d, dims=("y", "x")) for name, d in zip(names, degrees, strict=True)}


def run(name: str, scene: xr.DataArray, **options: object) -> xr.DataArray:
    return retrieve(scene, method=name, **{"sun_zenith": 40.0, **options})


@pytest.mark.parametrize("variable", CASES)
def test_snap_gives_the_results_of_the_toolboxs_test_cases(variable: str) -> None:
    rows = table(CASES[variable])
    scene, angles = pixels(rows)
    found = retrieve(scene, variable, "snap", **angles)
    np.testing.assert_allclose(found.values[0], rows[:, -1], rtol=2e-4)


@pytest.mark.parametrize("satellite", OF_SATELLITES)
def test_snap_with_the_coefficients_of_one_satellite(satellite: str) -> None:
    rows = table(OF_SATELLITES[satellite])
    scene, angles = pixels(rows)
    found = retrieve(scene, "LAI", "snap", coefficients=satellite, **angles)
    np.testing.assert_allclose(found.values[0], rows[:, -1], rtol=2e-4)
    with pytest.raises(ParameterError, match="'2016'"):
        retrieve(scene, "FAPAR", "snap", coefficients=satellite, **angles)


def test_snap_against_its_literal_sums() -> None:
    """Leaf area with the fifteen digits of the ATBD, written out neuron by neuron."""
    b03, b04, b05, b06, b07, b8a, b11, b12 = (LEAFY[list(CENTRES).index(key)] for key in KEYS)
    view, sun, azimuth = (math.cos(math.radians(a)) for a in (8.0, 40.0, 100.0))

    def n(value: float, low: float, high: float) -> float:
        return 2 * (value - low) / (high - low) - 1

    x = (
        n(b03, 0, 0.253061520471542), n(b04, 0, 0.290393577911328), n(b05, 0, 0.305398915248555),
        n(b06, 0.006637972542253, 0.608900395797889), n(b07, 0.013972727018939, 0.753827384322927),
        n(b8a, 0.026690138082061, 0.782011770669178), n(b11, 0.016388074192258, 0.493761397883092),
        n(b12, 0, 0.493025984460231), n(view, 0.918595400582046, 1), n(sun, 0.342022871159208, 0.936206429175402),
        azimuth,
    )  # fmt: skip
    neurons = (
        (4.96238030555279, (-0.023406878966470, 0.921655164636366, 0.135576544080099, -1.938331472397950,
         -3.342495816122680, 0.902277648009576, 0.205363538258614, -0.040607844721716, -0.083196409727092,
         0.260029270773809, 0.284761567218845)),
        (1.416008443981500, (-0.132555480856684, -0.139574837333540, -1.014606016898920, -1.330890038649270,
         0.031730624503341, -1.433583541317050, -0.959637898574699, 1.133115706551000, 0.216603876541632,
         0.410652303762839, 0.064760155543506)),
        (1.075897047213310, (0.086015977724868, 0.616648776881434, 0.678003876446556, 0.141102398644968,
         -0.096682206883546, -1.128832638862200, 0.302189102741375, 0.434494937299725, -0.021903699490589,
         -0.228492476802263, -0.039460537589826)),
        (1.533988264655420, (-0.109366593670404, -0.071046262972729, 0.064582411478320, 2.906325236823160,
         -0.673873108979163, -3.838051868280840, 1.695979344531530, 0.046950296081713, -0.049709652688365,
         0.021829545430994, 0.057483827104091)),
        (3.024115930757230, (-0.089939416159969, 0.175395483106147, -0.081847329172620, 2.219895367487790,
         1.713873975136850, 0.713069186099534, 0.138970813499201, -0.060771761518025, 0.124263341255473,
         0.210086140404351, -0.183878138700341)),
    )  # fmt: skip
    levels = [2 / (1 + math.exp(-2 * (b + sum(w * v for w, v in zip(ws, x, strict=True))))) - 1 for b, ws in neurons]
    last = (-1.500135489728730, -0.096283269121503, -0.194935930577094, -0.352305895755591, 0.075107415847473)
    total = 1.096963107077220 + sum(w * level for w, level in zip(last, levels, strict=True))
    expected = 0.5 * (total + 1) * (14.4675094548151 - 0.000319182538301) + 0.000319182538301
    angles = {"sun_zenith": 40.0, "view_zenith": 8.0, "relative_azimuth": 100.0}
    found = retrieve(field(LEAFY), "LAI", "snap", **angles)
    np.testing.assert_allclose(found.values, expected, rtol=1e-5)


def test_snap_knows_its_domain() -> None:
    scene = field(LEAFY)
    bright = scene.copy(deep=True)
    bright.loc[{"band": "B03"}] = 0.3  # above the domain's 0.263
    odd = scene.copy(deep=True)
    odd.loc[{"band": "B12"}] = 0.45  # within the box, and nothing green looks like it
    for domain, of_bright, of_odd in (("grid", False, False), ("box", False, True), ("any", True, True)):
        assert np.isfinite(run("snap", scene, domain=domain)).all()
        assert np.isfinite(run("snap", bright, variable="FCOVER", domain=domain)).all() == of_bright
        assert np.isfinite(run("snap", odd, variable="FCOVER", domain=domain)).any() == of_odd


def test_values_beyond_the_range() -> None:
    lai = VARIABLES["LAI"]
    given_, expected = [-0.3, -0.1, 0.0, 7.9, 8.1, 8.3, np.nan], [np.nan, 0.0, 0.0, 7.9, 8.0, np.nan, np.nan]
    np.testing.assert_allclose(limited(np.array(given_, "float32"), lai), expected, rtol=1e-6)


def test_lines_on_indices() -> None:
    scene = field(LEAFY)
    b = dict(zip(CENTRES, LEAFY, strict=True))
    seli = (b["B8A"] - b["B05"]) / (b["B8A"] + b["B05"])
    np.testing.assert_allclose(run("index", scene), 5.405 * seli - 0.114, rtol=1e-5)
    ndvi = (b["B08"] - b["B04"]) / (b["B08"] + b["B04"])
    np.testing.assert_allclose(run("index", scene, variable="FAPAR"), 1.1638 * ndvi - 0.1426, rtol=1e-5)
    edge = run("index", scene, variable="CCC", calibration=(40.0, 5.0))
    np.testing.assert_allclose(edge, 40.0 * (b["B07"] / b["B05"] - 1) + 5.0, rtol=1e-5)
    mtci = run("index", scene, variable="CAB", index="MTCI", calibration=(10.0, 1.0))
    np.testing.assert_allclose(mtci, 10 * (b["B06"] - b["B05"]) / (b["B05"] - b["B04"]) + 1, rtol=1e-5)
    with pytest.raises(ParameterError, match="calibration="):
        run("index", scene, variable="CCC")
    with pytest.raises(ParameterError, match="one of"):
        run("index", scene, variable="CWC")


class TestEveryMethod:
    @pytest.mark.parametrize("name", NAMES)
    def test_any_chunking_gives_the_same_pixels_and_stays_lazy(self, name: str) -> None:
        scene = field(times=3, shape=(12, 17))
        expected = run(name, scene)
        assert expected.dtype == np.float32
        assert np.isfinite(expected).any()
        for y, x, time in (((5, 7), (17,), 1), ((12,), (1, 16), 3), (4, 6, 2)):
            with nothing_computed():
                lazy = run(name, rechunked(scene, y, x, time))
            assert lazy.chunks is not None
            assert lazy.dtype == np.float32
            np.testing.assert_allclose(lazy.compute(scheduler="threads"), expected, rtol=0, atol=1e-6 * 8)

    @pytest.mark.parametrize("name", NAMES)
    def test_labels(self, name: str) -> None:
        scene = field(times=2).assign_attrs(units="1", standard_name="surface_bidirectional_reflectance", platform="x")
        out = run(name, scene)
        assert (out.name, out.dims, geobox_of(out)) == ("LAI", ("time", "y", "x"), geobox_of(scene))
        assert (out.attrs["units"], out.attrs["standard_name"]) == ("m2 m-2", "leaf_area_index")
        assert (out.attrs["valid_min"], out.attrs["valid_max"], out.attrs["platform"]) == (0.0, 8.0, "x")
        assert out.attrs["xrs:method"] == name
        assert name in out.attrs["history"]
        assert "band" not in out.coords
        alone = run(name, scene.isel(time=0))
        assert alone.dims == ("y", "x")
        np.testing.assert_array_equal(alone, out.isel(time=0))

    @pytest.mark.parametrize("name", NAMES)
    @given(holes=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6), st.integers(0, 8)), max_size=5))
    @settings(max_examples=8, deadline=None)
    def test_missing_values_stay_local(self, name: str, holes: list[tuple[int, int, int]]) -> None:
        scene = field()
        whole = run(name, scene)
        holed = scene.copy(deep=True)
        used = set(KEYS) if name != "index" else {"B05", "B8A"}
        expected = np.isnan(whole.values)
        for band, y, x in holes:
            holed.values[band, y, x] = np.nan
        # A pixel needs all bands of the cube: one that is missing tells of a cloud's edge or a defect.
        expected |= np.isnan(holed.values).any(axis=0)
        assert used <= set(CENTRES)
        found = run(name, holed)
        np.testing.assert_array_equal(np.isnan(found), expected)
        np.testing.assert_array_equal(found.values[~expected], whole.values[~expected])

    @pytest.mark.parametrize("name", NAMES)
    def test_input_is_untouched_tokens_are_deterministic_and_it_pickles(self, name: str) -> None:
        scene = field()
        before = scene.copy(deep=True)
        lazy = [run(name, rechunked(scene, 4, 9)) for _ in range(2)]
        assert lazy[0].data.name == lazy[1].data.name
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy[0])).compute(), lazy[1].compute())
        xr.testing.assert_identical(before, scene)

    @pytest.mark.parametrize("name", NAMES)
    def test_all_missing_gives_all_missing(self, name: str) -> None:
        assert np.isnan(run(name, field() * np.float32(np.nan))).all()

    @pytest.mark.parametrize("name", NAMES)
    def test_a_dataset_with_a_quality_layer_is_the_same(self, name: str) -> None:
        scene = field()
        bands = to_dataset(scene).assign(SCL=(("y", "x"), np.full((7, 9), 4, "uint8")))
        np.testing.assert_array_equal(run(name, bands), run(name, scene))

    @pytest.mark.parametrize("name", NAMES)
    def test_leaves_have_more_leaf_area_than_soil(self, name: str) -> None:
        leaves, soil = (run(name, field(spectrum)) for spectrum in (LEAFY, SOIL))
        assert float(leaves.min()) > 1.5
        assert not float(soil.max()) > 0.7

    @pytest.mark.parametrize("name", NAMES)
    def test_wrong_input(self, name: str) -> None:
        scene = field()
        with pytest.raises(RadiometryError, match="1e-4"):
            run(name, (scene * 1e4).astype("uint16"))
        with pytest.raises(RadiometryError, match="1e-4"):
            run(name, (scene * 1e4).astype("float32"))
        with pytest.raises(RadiometryError, match="1e-4"):
            run(name, rechunked((scene * 1e4).astype("float32"), 4, 4)).compute()
        with pytest.raises(BandNotFoundError, match="B05"):
            run(name, scene.sel(band=["B03", "B04"]))
        with pytest.raises(LayoutError, match="sharpen"):
            run(name, xr.DataTree.from_dict({"r10m": to_dataset(scene)}))
        with pytest.raises(BandNotFoundError, match="wavelengths"):
            run(name, scene.drop_vars("wavelength"))
        moved = scene.assign_coords(wavelength=("band", scene.wavelength.values + 60.0))
        with pytest.raises(BandNotFoundError, match="centred at"):
            run(name, moved)
        with pytest.raises(ParameterError, match="landsat-8"):
            run(name, scene.assign_attrs(platform="landsat-8"))
        with pytest.raises(ParameterError, match="one of"):
            run(name, scene, variable="biomass")
        with pytest.raises(ParameterError, match="takes no parameter"):
            run(name, scene, magic=1)
        with pytest.raises(ParameterError, match="True or False"):
            run(name, scene, uncertainty="laplace")

    @pytest.mark.parametrize("name", NAMES)
    def test_bands_may_be_known_by_the_sensor_alone(self, name: str) -> None:
        scene = field()
        bare = scene.drop_vars("wavelength")
        np.testing.assert_array_equal(run(name, bare, sensor="sentinel-2b"), run(name, scene))
        np.testing.assert_array_equal(run(name, bare.assign_attrs(platform="Sentinel-2A")), run(name, scene))


def test_history_tells_what_was_taken() -> None:
    """The shipped model by its hash, the usual index and its line, though nobody named them."""
    sha256 = load_model("s2-canopy-10").card.sha256[:12]
    shipped, named = run("canopy", field()), run("canopy", field(), model="s2-canopy-10")
    assert sha256 in json.loads(shipped.attrs["xrs:parameters"])["model"]
    assert sha256 in shipped.attrs["history"]
    assert shipped.attrs["xrs:parameters"] == named.attrs["xrs:parameters"]
    line = json.loads(run("index", field()).attrs["xrs:parameters"])
    assert (line["index"], line["calibration"]) == ("SeLI", [5.405, -0.114])


def test_lines_that_are_none() -> None:
    for wrong in (("a", 0), (1.0, None), (1.0, np.nan), (1.0,), "ab"):
        with pytest.raises(ParameterError, match="slope, offset"):
            run("index", field(), variable="CCC", calibration=wrong)
    with pytest.raises(ParameterError, match="one of"):
        run("index", field(), index=["SeLI"])


def test_uncertainty() -> None:
    scene = field(times=2)
    both = run("canopy", scene, uncertainty=True)
    xr.testing.assert_equal(both.LAI.drop_attrs(), run("canopy", scene).drop_attrs())
    assert both.LAI.attrs["ancillary_variables"] == "LAI_std"
    assert both.LAI_std.attrs["units"] == "m2 m-2"
    assert (np.isnan(both.LAI) == np.isnan(both.LAI_std)).all()
    assert float(both.LAI_std.min()) > 0.0
    for name in ("snap", "index"):
        with pytest.raises(ParameterError, match="knows nothing of its errors"):
            run(name, scene, uncertainty=True)


def test_models_of_other_tasks_are_refused() -> None:
    with pytest.raises(ModelCardError, match="light"):
        run("canopy", field(), model="s2-20m-light")
    with pytest.raises(ParameterError, match="by snap"):
        run("snap", field(), variable="CAB")
