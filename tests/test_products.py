"""Products in blocks."""

from __future__ import annotations

import numpy as np
import pytest
from soundsearch_ingest.products import product


@pytest.mark.parametrize(
    "shape", [(0, 128, 3), (1, 128, 1), (5000, 128, 6), (700, 257, 64), (50, 300, 2000)]
)
def test_a_product_in_blocks_is_the_product(shape):
    rng = np.random.default_rng(0)
    rows, matrix = (rng.normal(0, 1, part).astype(np.float32) for part in (shape[:2], shape[1:]))
    found = product(rows, matrix)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, rows.astype(np.float64) @ matrix, rtol=1e-4, atol=1e-3)
    out = np.empty_like(found)
    assert product(rows, matrix, out) is out
    np.testing.assert_array_equal(out, found)
