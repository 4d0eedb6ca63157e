"""Cards, files and what is refused."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import torch
from models import pan_model, s2_model
from support import pan_pair, s2_tree

import xrs
from xrs.errors import ModelCardError, ParameterError, RadiometryError
from xrs.models import Card, ImageSpec, Model, Observed, load_keras_hdf5, match_images
from xrs.nets import get_network

FINE, COARSE = ImageSpec(("B04", "B08"), 1, (665.0, 833.0)), ImageSpec(("B11",), 2, (1610.0,))


@pytest.fixture(scope="module")
def model() -> Model:
    facts = {"psf": {"kind": "mtf"}, "metrics": {"RMSE": 0.004}, "training": {"data": "noise"}, "licence": "CC0-1.0"}
    return s2_model(s2_tree(2, sixty=False), **facts)


class TestFile:
    def test_comes_back_as_it_was(self, model: Model, tmp_path: Path) -> None:
        saved = model.save(tmp_path / "folder" / "m.safetensors")
        loaded = xrs.load_model(tmp_path / "folder" / "m.safetensors")
        assert loaded.card.to_json() == saved.card.to_json() == model.card.to_json()
        for name, values in model.weights().items():
            np.testing.assert_array_equal(loaded.weights()[name], values)
        assert [p.name for p in (tmp_path / "folder").iterdir()] == ["m.safetensors"]

    def test_other_tools_read_it(self, model: Model, tmp_path: Path) -> None:
        path = tmp_path / "m.safetensors"
        model.save(path)
        with safetensors.safe_open(path, "pt") as file:
            described = file.metadata()
            names = set(file.keys())
        assert names == set(model.build().state_dict())
        assert described["mlm:architecture"] == "dsen2"
        assert json.loads(described["mlm:input"])[1]["bands"] == ["B05", "B8A", "B11"]
        assert json.loads(described["mlm:input"])[0]["value_scaling"] == [{"type": "scale", "value": 0.2}]

    def test_url(self, model: Model, tmp_path: Path) -> None:
        model.save(tmp_path / "m.safetensors")
        assert xrs.load_model(f"file://{tmp_path}/m.safetensors").card.sha256 == model.card.sha256

    def test_pickles_are_light_unless_in_memory(self, model: Model, tmp_path: Path) -> None:
        saved = model.save(tmp_path / "m.safetensors")
        light, heavy = pickle.dumps(saved), pickle.dumps(xrs.load_model(saved, in_memory=True))
        assert len(light) < 1500 < len(heavy)
        (tmp_path / "m.safetensors").unlink()
        assert set(pickle.loads(heavy).weights()) == set(model.weights())
        with pytest.raises(ModelCardError, match="in_memory"):
            pickle.loads(light).weights()

    def test_tokens_tell_weights_and_card_apart(self, model: Model, tmp_path: Path) -> None:
        token = dask.base.tokenize
        other = s2_model(s2_tree(2, sixty=False), seed=1)
        assert token(model) == token(model.save(tmp_path / "m.safetensors"))
        assert token(model) != token(other)
        assert token(model) != token(Model(replace(model.card, scale=1.0), weights=model.weights()))

    def test_building_loads_the_weights(self, model: Model) -> None:
        for name, values in model.build().state_dict().items():
            np.testing.assert_array_equal(values.numpy(), model.weights()[name])


class TestRefused:
    def test_pickles(self, tmp_path: Path) -> None:
        for name in ("m.pt", "m.safetensors"):
            torch.save({"a": torch.zeros(2)}, tmp_path / name)
            with pytest.raises(ModelCardError, match="pickle.*from_module"):
                xrs.load_model(tmp_path / name)
        (tmp_path / "p.safetensors").write_bytes(pickle.dumps({"a": 1}))
        with pytest.raises(ModelCardError, match="pickle"):
            xrs.load_model(tmp_path / "p.safetensors")

    def test_damage(self, model: Model, tmp_path: Path) -> None:
        path = tmp_path / "m.safetensors"
        model.save(path)
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[-3] ^= 1
        for data in (whole[:-5], whole[:20], b"", b"not a model at all", bytes(flipped)):
            path.write_bytes(data)
            with pytest.raises(ModelCardError, match="damaged.*again"):
                xrs.load_model(path)

    def test_no_card_or_a_broken_one(self, tmp_path: Path) -> None:
        path = tmp_path / "m.safetensors"
        for metadata, match in (
            ({}, "without a card"),
            ({"xrs:card": "{"}, "cannot be read"),
            ({"xrs:card": '{"images": [], "network": "x", "task": "sharpen"}'}, "images of the ratios"),
            ({"xrs:card": '{"images": [], "colour": 1}'}, "colour"),
        ):
            path.write_bytes(safetensors.numpy.save({"a": np.zeros(2, np.float32)}, metadata=metadata))
            with pytest.raises(ModelCardError, match=match):
                xrs.load_model(path)

    def test_a_file_that_changed_since(self, model: Model, tmp_path: Path) -> None:
        saved = model.save(tmp_path / "m.safetensors")
        s2_model(s2_tree(2, sixty=False), seed=1).save(tmp_path / "m.safetensors")
        with pytest.raises(ModelCardError, match="other weights"):
            saved.weights()

    def test_weights_of_another_architecture(self, model: Model) -> None:
        wrong = Model(replace(model.card, config={"features": 16}), weights=model.weights())
        with pytest.raises(ModelCardError, match="do not fit the network 'dsen2'"):
            wrong.build()

    def test_hdf5_names_its_loader(self, tmp_path: Path) -> None:
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "m.hdf5", "w"):
            pass
        with pytest.raises(ModelCardError, match="load_keras_hdf5"):
            xrs.load_model(tmp_path / "m.hdf5")

    def test_no_such_model(self) -> None:
        with pytest.raises(ModelCardError, match="no file and no model 'nothing'.*list_models"):
            xrs.load_model("nothing")

    @pytest.mark.parametrize(
        "images",
        [
            (FINE,),
            (FINE, replace(COARSE, ratio=1)),
            (FINE, COARSE, replace(COARSE, ratio=3)),
            (FINE, replace(COARSE, bands=())),
            (replace(FINE, bands=("B04", "B04")), COARSE),
            (FINE, replace(COARSE, wavelengths=(1.0, 2.0))),
        ],
    )
    def test_cards_that_describe_no_model(self, images: tuple[ImageSpec, ...]) -> None:
        with pytest.raises(ModelCardError):
            Card("dsen2", "sharpen", images)


class TestFit:
    card = Card("dsen2", "sharpen", (FINE, COARSE), margin=3)
    nan = float("nan")

    def test_bands_are_found_by_key(self) -> None:
        observed = {
            "fine": Observed(("B02", "B08", "B04"), (492.0, 833.0, self.nan), 1),
            "r20m": Observed(("B11",), (1614.0,), 2),
        }
        inputs = match_images(self.card, observed, "r20m")
        assert [(i.role, i.bands) for i in inputs] == [("fine", (2, 1)), ("r20m", (0,))]

    @pytest.mark.parametrize(
        ("fine", "coarse", "match"),
        [
            (Observed(("B04",), (nan,), 1), Observed(("B11",), (nan,), 2), r"\['B04', 'B08'\] at 1 times"),
            (Observed(("B04", "B08"), (nan, nan), 1), Observed(("B12",), (nan,), 2), r"has the bands \['B12'\]"),
            (Observed(("B04", "B08"), (nan, nan), 1), Observed(("",), (nan,), 2), "1 bands without keys"),
            (Observed(("B04", "B08"), (nan, nan), 1), Observed(("B11",), (nan,), 3), "are 3 times the finest.*2 times"),
            (Observed(("B04", "B08"), (nan, 860.0), 1), Observed(("B11",), (nan,), 2), "B08 of fine.*860 nm.*833 nm"),
        ],
    )
    def test_what_differs_is_named(self, fine: Observed, coarse: Observed, match: str) -> None:
        with pytest.raises(ModelCardError, match=match):
            match_images(self.card, {"fine": fine, "r20m": coarse}, "r20m")


class TestOperators:
    def test_wrong_models(self) -> None:
        tree = s2_tree(3)
        twenty = s2_model(tree)
        with pytest.raises(ModelCardError, match=r"r60m has the bands \['B01', 'B09'\].*model=\[one, other\]"):
            tree.rsfuse.sharpen(method="dsen2", model=twenty)
        with pytest.raises(ModelCardError, match="is a dsen2.*a vdsen2"):
            tree.rsfuse.sharpen(method="vdsen2", model=twenty)
        ms, pan, _ = pan_pair(6, 4)
        with pytest.raises(ModelCardError, match="are 4 times the finest.*2 times"):
            xrs.pansharpen(ms, pan, method="pnn", model=pan_model(ms, ratio=2))
        with pytest.raises(ModelCardError, match="B08 of ms is centred at 900 nm"):
            moved = ms.assign_coords(wavelength=("band", [492.0, 560.0, 665.0, 900.0]))
            xrs.pansharpen(moved, pan, method="pnn", model=pan_model(ms))

    @pytest.mark.parametrize(
        ("params", "match"),
        [
            ({"model": 3}, "model is a int"),
            ({"model": []}, "one or more models"),
            ({"device": "tpu"}, "'auto', 'cpu', 'cuda'"),
            ({"dtype": "float16"}, "'float32' or 'bfloat16'"),
            ({"batch_size": 0}, "whole number from 1 on"),
        ],
    )
    def test_wrong_parameters(self, params: dict[str, object], match: str) -> None:
        ms, pan, _ = pan_pair(4, 4)
        given = {"model": pan_model(ms)} if params and "model" not in params else {}
        with pytest.raises(ParameterError, match=match):
            xrs.pansharpen(ms, pan, method="pnn", **given, **params)

    @pytest.mark.parametrize(("scale", "factor"), [(0.2, 1e4), (2000.0, 1.0)])
    def test_digital_numbers_are_not_taken_for_reflectance(self, scale: float, factor: float) -> None:
        ms, pan, _ = pan_pair(8, 4)
        with pytest.raises(RadiometryError, match="scale and offset"):
            xrs.pansharpen(ms * factor, pan * factor, method="pnn", model=pan_model(ms, scale=scale))

    def test_absent_gpu(self) -> None:
        if torch.cuda.is_available():
            pytest.skip("a GPU is there")
        ms, pan, _ = pan_pair(4, 4)
        with pytest.raises(ParameterError, match="sees 0 GPU"):
            xrs.pansharpen(ms, pan, method="pnn", model=pan_model(ms), device="cuda")

    def test_models_are_listed(self) -> None:
        table = xrs.list_models()
        assert {"name", "network", "task", "bands", "sha256"} <= set(table)


class TestKeras:
    @pytest.mark.parametrize("whole", [True, False])
    @pytest.mark.parametrize("names", ["conv2d", "conv2d_1"])
    def test_published_layout(self, tmp_path: Path, whole: bool, names: str) -> None:
        module = get_network("dsen2").build((4, 3), (1, 2), seed=5, features=8, blocks=2)
        path = tmp_path / "dsen2.hdf5"
        _write_keras(path, [v.numpy() for v in module.state_dict().values()], whole=whole, names=names)
        images = (ImageSpec(("B04", "B03", "B02", "B08")), ImageSpec(("B05", "B8A", "B11"), 2))
        model = load_keras_hdf5(path, images)
        inputs = torch.rand(1, 4, 20, 20), torch.rand(1, 3, 10, 10)
        with torch.inference_mode():
            torch.testing.assert_close(model.build()(*inputs), module(*inputs))
        assert model.card.config == {"features": 8, "blocks": 2}
        assert (model.card.scale, model.card.margin) == (0.2, 4)
        saved = model.save(tmp_path / "m.safetensors")
        assert s2_tree(3, sixty=False).rsfuse.sharpen(method="dsen2", model=saved)["B11"].notnull().all()

    def test_other_files(self, tmp_path: Path) -> None:
        h5py = pytest.importorskip("h5py")
        images = (ImageSpec(("B04",)), ImageSpec(("B11",), 2))
        (tmp_path / "text.hdf5").write_text("no")
        with h5py.File(tmp_path / "empty.hdf5", "w"):
            pass
        for name in ("text.hdf5", "empty.hdf5"):
            with pytest.raises(ModelCardError, match="cannot be read as weights of Keras"):
                load_keras_hdf5(tmp_path / name, images)
        _write_keras(tmp_path / "other.hdf5", [np.zeros((8, 9, 3, 3), np.float32), np.zeros(8, np.float32)] * 4)
        with pytest.raises(ModelCardError, match="8 tensors"):
            load_keras_hdf5(tmp_path / "other.hdf5", images)


def _write_keras(path: Path, tensors: list[np.ndarray], *, whole: bool = True, names: str = "conv2d") -> None:
    """Write what Keras' ``model.save`` (``whole``) or ``save_weights`` writes, layers without weights included."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        layers = [b"input_1"]
        root.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        for n, (kernel, bias) in enumerate(zip(tensors[::2], tensors[1::2], strict=True)):
            layer = f"{names}_{n}" if n else names
            group = root.create_group(layer)
            group[f"{layer}/kernel:0"], group[f"{layer}/bias:0"] = kernel.transpose(2, 3, 1, 0), bias
            group.attrs["weight_names"] = [f"{layer}/kernel:0".encode(), f"{layer}/bias:0".encode()]
            layers.append(layer.encode())
        root.attrs["layer_names"] = layers
        if whole:
            file.create_group("optimizer_weights")


def test_a_tensor_of_no_dims_keeps_its_shape(tmp_path: Path) -> None:
    from xrs.models.weights import hash_of, pack, unpack

    weights = {"scale": np.array(2.5, np.float32), "taps": np.ones((2, 3), np.float32)[:, ::-1]}
    card = Card("light", "sharpen", (ImageSpec(("a",)), ImageSpec(("b",), 2)), sha256=hash_of(weights))
    _, again = unpack(pack(card, weights), "here")
    assert again["scale"].shape == ()
    np.testing.assert_array_equal(again["taps"], weights["taps"])
