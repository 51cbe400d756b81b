"""Mutual nearest neighbours and dual softmax against XFeat's, kornia's and LoFTR's own answers.

Thresholds, ratios and temperatures are part of the names in the golden file and are read from there.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from homolog.heads.nearest import dual_softmax, first_of_each_row, mutual_nearest, peaks_both_ways

Case = dict[str, Any]


@pytest.fixture(scope="module")
def golden(goldens: Path) -> dict[str, Any]:
    return json.loads((goldens / "mutual_nn.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cases(golden) -> list[Case]:
    assert golden["cases"]
    return golden["cases"]


def descriptors(case: Case) -> tuple[Tensor, Tensor]:
    return torch.tensor(case["desc0"]), torch.tensor(case["desc1"])


def named(case: Case, pattern: str) -> list[tuple[float, Any]]:
    """Return the number in each key that has this pattern, and what it holds."""
    found = [(float(match[1]), value) for key, value in case.items() if (match := re.fullmatch(pattern, key))]
    assert found, f"{case['name']}: nothing is named {pattern}"
    return found


def pairs(index0: Tensor, index1: Tensor) -> list[list[int]]:
    return torch.stack((index0, index1), dim=1).tolist()


def has_ties(case: Case) -> bool:
    return any(len(torch.unique(each, dim=0)) < len(each) for each in descriptors(case))


def test_golden_cosines_above_a_minimum_are_those_of_xfeat(cases):
    for case in cases:
        for match_threshold, expected in named(case, r"xfeat_match_min_cossim_(-?[\d.]+)"):
            index0, index1, cosine = mutual_nearest(*descriptors(case), match_threshold=match_threshold)
            assert pairs(index0, index1) == sorted(expected), (case["name"], match_threshold)
            torch.testing.assert_close(cosine, torch.tensor(case["cosine"])[index0, index1])


def test_golden_pairs_without_a_minimum_are_those_of_xfeat_in_batches(cases):
    for case in cases:
        index0, index1, _ = mutual_nearest(*descriptors(case))
        assert pairs(index0, index1) == sorted(case["xfeat_batch_match"]), case["name"]


def test_golden_nearest_by_exact_distance_are_those_of_kornia_even_with_ties(cases):
    for case in cases:
        index0, index1, _ = mutual_nearest(*descriptors(case), metric="euclidean")
        assert pairs(index0, index1) == sorted(case["kornia_match_mnn_exact_dm"]), case["name"]


def test_golden_distances_without_ties_are_those_of_kornia(cases):
    compared = [case for case in cases if not has_ties(case)]
    assert compared
    for case in compared:
        index0, index1, closeness = mutual_nearest(*descriptors(case), metric="euclidean")
        assert pairs(index0, index1) == sorted(case["kornia_match_mnn"]), case["name"]
        # kornia orders its pairs by the smaller side.
        distance = dict(zip(map(tuple, case["kornia_match_mnn"]), case["kornia_match_mnn_dist"], strict=True))
        expected = [distance[i, j] for i, j in zip(index0.tolist(), index1.tolist(), strict=True)]
        torch.testing.assert_close(-closeness, torch.tensor(expected))


def test_golden_ratio_test_both_ways_is_that_of_kornia(cases):
    for case in cases:
        for ratio, expected in named(case, r"kornia_match_smnn_([\d.]+)"):
            index0, index1, _ = mutual_nearest(*descriptors(case), metric="euclidean", ratio=ratio)
            assert pairs(index0, index1) == sorted(expected), (case["name"], ratio)


def test_golden_smallest_chunk_finds_the_same(cases):
    for case in cases:
        index0, index1, _ = mutual_nearest(*descriptors(case), chunk=1)
        assert pairs(index0, index1) == sorted(case["xfeat_batch_match"]), case["name"]


def test_golden_dual_softmax_is_that_of_loftr(cases):
    for case in cases:
        descriptor0, descriptor1 = descriptors(case)
        for temperature, expected in named(case, r"dual_softmax_T([\d.]+)"):
            found = dual_softmax(descriptor0 @ descriptor1.T, temperature)
            torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_golden_peaks_of_the_dual_softmax_are_those_of_loftr(cases):
    for case in cases:
        descriptor0, descriptor1 = descriptors(case)
        ((temperature, _),) = named(case, r"dual_softmax_T([\d.]+)")
        for match_threshold, expected in named(case, r"loftr_rule_matches_thr([\d.]+)"):
            probability = dual_softmax(descriptor0 @ descriptor1.T, temperature)
            mask = peaks_both_ways(probability, match_threshold=match_threshold)
            assert mask.nonzero().tolist() == sorted(case["loftr_rule_mask_pairs"]), case["name"]
            assert pairs(*first_of_each_row(mask)) == sorted(expected), case["name"]
