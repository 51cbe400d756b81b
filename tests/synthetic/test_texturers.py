"""Texturers, the maps they get, and the gates that check their pictures: hand-worked cases."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from homolog.core.errors import ConfigError, MissingDependencyError
from homolog.synthetic.meshes.colours import Colours
from homolog.synthetic.texturing.gates import (
    DepthGate,
    EdgeGate,
    GatedTexturer,
    MaskGate,
    derived_seed,
    edge_f1,
    iou,
    rank_correlation,
)
from homolog.synthetic.texturing.texturers import (
    Conditioning,
    IdentityTexturer,
    ProceduralTexturer,
    canny,
    drawn_prompt,
)


def test_canny_finds_the_outline_of_a_square_and_nothing_else() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[8:24, 10:22] = 255
    edges = canny(picture)
    inner, outer = np.zeros((32, 32), bool), np.zeros((32, 32), bool)
    inner[10:22, 12:20], outer[6:26, 8:24] = True, True
    assert edges.sum() > 40
    assert not (edges & (inner | ~outer)).any()
    assert not canny(np.full((32, 32, 3), 90, np.uint8)).any()


def test_without_kornia_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kornia.filters", None)
    with pytest.raises(MissingDependencyError, match=r"homolog-synthetic\[flux\]"):
        canny(np.zeros((8, 8, 3), np.uint8))


def test_near_surfaces_are_bright_and_the_background_is_black(conditioning: Conditioning) -> None:
    nearness, mask = conditioning.nearness(), conditioning.mask
    assert (nearness[~mask] == 0).all()
    assert nearness[mask].min() == 64
    assert nearness[mask].max() == 255
    middle = nearness[24][mask[24]].astype(int)
    assert (np.diff(middle) <= 0).all()


def test_edges_are_those_of_the_object_whatever_is_behind_it(conditioning: Conditioning) -> None:
    edges = conditioning.edges()
    outline = conditioning.mask ^ np.pad(conditioning.mask, 1)[2:, 1:-1]
    assert edge_f1(edges, outline, reach=2) > 0.6
    rows, columns = np.nonzero(edges)
    mask_rows, mask_columns = np.nonzero(conditioning.mask)
    assert rows.min() >= mask_rows.min() - 2
    assert columns.max() <= mask_columns.max() + 2


def test_a_larger_conditioning_is_rendered_anew(conditioning: Conditioning) -> None:
    large = conditioning.resized((96, 96))
    assert large.picture().shape == (96, 96, 3)
    covered = large.mask.reshape(48, 2, 48, 2).sum(axis=(1, 3))
    assert conditioning.mask[covered == 4].all()
    assert not conditioning.mask[covered == 0].any()
    assert ((covered == 4) | (covered == 0)).mean() > 0.9


def test_the_identity_keeps_the_picture_and_the_procedural_texturer_its_outline(
    conditioning: Conditioning,
) -> None:
    same = IdentityTexturer().retexture(conditioning, prompt="", seed=3)
    assert np.array_equal(same, conditioning.picture())
    texturer = ProceduralTexturer()
    first, again, other = (texturer.retexture(conditioning, prompt="", seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    background = ~conditioning.mask & (np.abs(conditioning.picture().astype(int) - 51).max(axis=2) == 0)
    assert (first[background] == 51).all()
    assert (np.abs(first[conditioning.mask].astype(int) - 51).max(axis=1) > 5).mean() > 0.5


def test_colours_of_a_mesh_are_painted_where_they_belong(conditioning: Conditioning) -> None:
    picture = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8)
    uv = np.array((((0, 0), (1, 0), (1, 1)), ((0, 0), (1, 1), (0, 1))), np.float32)
    colours = Colours(
        rgb=np.ones((2, 3, 3), np.float32), uv=uv, picture=np.zeros(2, np.int32), pictures=(picture,)
    )
    coloured = replace(conditioning, colours=colours).picture()
    # The tile's corners are those of the picture; between its four pixels it is read linearly, and it repeats.
    rows, columns = np.nonzero(conditioning.mask)
    top, bottom = rows.min() + 5, rows.max() - 5
    left, right = columns.min() + 5, columns.max() - 5
    assert [int(np.argmax(coloured[top, left])), int(np.argmax(coloured[top, right]))] == [0, 1]
    assert int(np.argmax(coloured[bottom, left])) == 2
    assert coloured[bottom, right, 2] < coloured[bottom, right, :2].min()
    assert (coloured[0, 0] == 51).all()


def test_f1_of_edges_counts_neighbours_within_reach() -> None:
    wanted, found = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    wanted[:, 5] = True
    found[:, 7] = True
    assert edge_f1(found, wanted, reach=2) == 1
    assert edge_f1(found, wanted, reach=1.9) == 0
    found[:, 15] = True
    assert edge_f1(found, wanted, reach=2) == pytest.approx(2 / 3)  # precision 1/2, recall 1
    empty = np.zeros((20, 20), bool)
    assert edge_f1(empty, empty, reach=2) == 1
    assert edge_f1(found, empty, reach=2) == 0
    assert edge_f1(empty, wanted, reach=2) == 0


def test_overlap_and_rank_correlation_of_hand_worked_cases() -> None:
    one, other = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    one[:2], other[1:3] = True, True
    assert iou(one, other) == pytest.approx(1 / 3)
    assert iou(~one & one, ~one & one) == 1
    rising = np.array((1.0, 2, 3, 4))
    assert rank_correlation(rising, np.exp(rising)) == pytest.approx(1)
    assert rank_correlation(rising, -rising) == pytest.approx(-1)
    assert rank_correlation(np.array((1.0, 2, 3)), np.array((1.0, 3, 2))) == pytest.approx(0.5)
    assert rank_correlation(rising, np.ones(4)) == 0


def test_the_edge_gate_accepts_the_same_picture_and_rejects_a_shifted_one(conditioning: Conditioning) -> None:
    gate, picture = EdgeGate(least=0.6), conditioning.picture()
    assert gate.reason(picture, conditioning) is None
    reason = gate.reason(np.roll(picture, 8, axis=(0, 1)), conditioning)
    assert reason is not None
    assert reason.startswith("edges: F1 0.")


def test_the_other_gates_give_reasons_with_numbers(conditioning: Conditioning) -> None:
    picture, mask = conditioning.picture(), conditioning.mask
    assert MaskGate(segment=lambda picture: mask).reason(picture, conditioning) is None
    refused = MaskGate(segment=lambda picture: np.roll(mask, 12, axis=1)).reason(picture, conditioning)
    assert refused is not None
    assert refused.startswith("foreground: IoU 0.")
    depth = conditioning.view.depth
    assert DepthGate(estimate=lambda picture: 3 * depth + 1).reason(picture, conditioning) is None
    assert DepthGate(estimate=lambda picture: -depth).reason(picture, conditioning) == (
        "depth: rank correlation -1.00 is below 0.8"
    )
    with pytest.raises(ConfigError, match=r"least in \[0, 1\]"):
        EdgeGate(least=2.0)


def test_rejected_pictures_are_made_again_with_other_seeds_and_counted(conditioning: Conditioning) -> None:
    seeds: list[int] = []

    class Seeded:
        def retexture(self, conditioning: Conditioning, *, prompt: str, seed: int) -> np.ndarray:
            seeds.append(seed)
            return np.full((*conditioning.size, 3), len(seeds), np.uint8)

    class Threshold:
        def __init__(self, least: int) -> None:
            self.least = least

        def reason(self, picture: np.ndarray, conditioning: Conditioning) -> str | None:
            return None if picture[0, 0, 0] >= self.least else "number: too low"

    texturer = GatedTexturer(texturer=Seeded(), gates=[Threshold(2)], tries=3)
    assert texturer.retexture(conditioning, prompt="", seed=9)[0, 0, 0] == 2
    assert seeds == [9, derived_seed(9, 1)]
    assert texturer.refused == {"number": 1}
    assert texturer.replaced == 0
    last = GatedTexturer(texturer=Seeded(), gates=[Threshold(200)], tries=2, last=IdentityTexturer())
    assert np.array_equal(last.retexture(conditioning, prompt="", seed=9), conditioning.picture())
    assert (last.refused["number"], last.replaced) == (2, 1)
    with pytest.raises(ConfigError, match="at least one gate"):
        GatedTexturer(texturer=Seeded(), gates=[])


def test_a_prompt_names_the_category_in_words() -> None:
    prompt = drawn_prompt("potted_plant", np.random.default_rng(0), ["a {category} {here}"])
    assert prompt == "a potted plant {here}"
