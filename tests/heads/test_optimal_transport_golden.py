"""Optimal transport against SuperGlue's own log-domain code, in both domains and both precisions."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from homolog.heads.optimal_transport import log_optimal_transport, mutual_matches, optimal_transport

Golden = dict[str, Any]
Transport = Callable[..., Tensor]
WAYS: list[Transport] = [log_optimal_transport, optimal_transport]
KEYS = {torch.float32: "log_assignment", torch.float64: "log_assignment_float64"}


@pytest.fixture(scope="module")
def golden(goldens: Path) -> Golden:
    found = json.loads((goldens / "sinkhorn.json").read_text(encoding="utf-8"))
    assert found["cases"]
    return found


def solved(transport: Transport, case: Golden, dtype: torch.dtype) -> Tensor:
    scores = torch.tensor(case["scores"], dtype=dtype).reshape(case["shape"])
    return transport(scores, torch.tensor(case["alpha"], dtype=dtype), iterations=case["iters"])


def numbers(values: Any) -> Any:
    """Turn the strings that stand for infinities and NaN into what they stand for."""
    return [numbers(each) for each in values] if isinstance(values, list) else float(values)


def absolute_tolerance(golden: Golden, case: Golden) -> float:
    allowed = golden["tolerance"]
    exception = re.search(r"\((.+): atol ([\d.e-]+)\)", allowed["against"])
    assert exception is not None
    return float(exception[2]) if case["name"] == exception[1] else allowed["atol"]


@pytest.mark.parametrize("dtype", KEYS)
@pytest.mark.parametrize("transport", WAYS)
def test_golden_assignments_are_those_of_superglue(golden, transport, dtype):
    for case in golden["cases"]:
        torch.testing.assert_close(
            solved(transport, case, dtype),
            torch.tensor(numbers(case[KEYS[dtype]]), dtype=dtype),
            rtol=golden["tolerance"]["rtol"],
            atol=absolute_tolerance(golden, case),
            equal_nan=True,
            msg=lambda said, name=case["name"]: f"{name}: {said}",
        )


@pytest.mark.parametrize("transport", WAYS)
def test_golden_mutual_matches_are_those_of_superglue(golden, transport):
    for case in golden["cases"]:
        for key, expected in case.items():
            threshold = re.fullmatch(r"matches0_thr([\d.]+)", key)
            if not threshold:
                continue
            found = mutual_matches(
                solved(transport, case, torch.float32), match_threshold=float(threshold[1])
            )
            assert found.partner.tolist() == expected, case["name"]
            torch.testing.assert_close(
                found.probability, torch.tensor(case["matching_scores0"]), rtol=2e-4, atol=1e-6
            )


@pytest.mark.parametrize("transport", WAYS)
def test_golden_columns_are_exact_and_rows_as_far_off_as_superglue_s(golden, transport):
    for case in golden["cases"]:
        if "row_mass_error_max" not in case or not case["iters"]:
            continue
        mass = solved(transport, case, torch.float64).exp()
        assert (mass[:, :, :-1].sum(dim=1) - 1).abs().max() < 1e-6, case["name"]
        rows = (mass[:, :-1].sum(dim=2) - 1).abs().max().item()
        assert rows == pytest.approx(case["row_mass_error_max"], rel=0.01, abs=3e-6), case["name"]
