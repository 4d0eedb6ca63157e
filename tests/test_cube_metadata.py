"""What a result says of itself, and what it no longer says of the cube it was made of."""

from __future__ import annotations

import xarray as xr
from support import s2_tree

import xrs
from xrs.cube import provenance


def test_references_are_those_of_the_last_step() -> None:
    source = xr.DataArray([1.0], attrs={"history": "seen", "references": "https://doi.org/10.1/old", "title": "a"})
    with_doi, without = (provenance(source, "verb", {}, doi=doi) for doi in ("10.2/new", ""))
    assert with_doi["references"] == "https://doi.org/10.2/new"
    assert "references" not in without
    assert without["history"].splitlines()[0] == "seen"
    assert without["title"] == "a"


def test_a_verb_without_a_doi_keeps_none_of_an_earlier_one() -> None:
    sharp = s2_tree(2).rsfuse.sharpen(method="exp")
    assert "doi.org" in sharp.attrs["references"]
    seen = xrs.degrade(sharp, 2)
    assert "doi.org" not in str(seen.attrs.get("references"))
    assert sharp.attrs["history"] in seen.attrs["history"]
