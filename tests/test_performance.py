"""Figures of whole layers: pooled over heads, and refused without captured heads."""

import pytest

from flows import performance
from flows.__main__ import main


def report(heads, n, density, cycles, error):
    return {
        "heads": heads, "n_q": n, "n_k": n, "d": 16, "density": density, "cycles": cycles, "error_vs_dense": error,
        "error_vs_masked": error, "error_vs_float_masked": error,
    }  # fmt: skip


def test_cycles_and_kept_scores_are_added_up_and_errors_are_means_over_heads():
    found = performance.pooled([report(1, 10, 0.5, 100, 0.1), report(3, 10, 0.25, 300, 0.2)], multipliers=8)
    assert found["cycles"] == 400
    assert found["density"] == pytest.approx((50 + 75) / 400)
    assert found["efficiency"] == pytest.approx((50 + 75) * 32 / (8 * 400))
    assert found["speedup_vs_dense"] == pytest.approx(400 * 32 / (8 * 400))
    assert found["error_vs_dense"] == pytest.approx((0.1 + 3 * 0.2) / 4)


def test_a_folder_without_captured_heads_is_refused(tmp_path, capsys):
    assert main(["performance", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "has no minilm_l*_n*_float.npz" in said and "Traceback" not in said
