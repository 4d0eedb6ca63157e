"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real satellite data in the folder ``XRS_DATA``, else beside the checkout; tests that need them skip without."""
    folder = Path(os.environ.get("XRS_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"real satellite data are not at {folder} (XRS_DATA names their folder, see docs/benchmarks.md)")
    return folder
