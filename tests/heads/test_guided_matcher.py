"""The guided matcher: its symmetries, its guidance, and its options."""

import math
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from homolog.core.errors import CapabilityError, ConfigError, ShapeError, WeightsError
from homolog.core.features import PIXELS, Features
from homolog.core.keypoints import Keypoints
from homolog.core.protocols import SparseHead, TransferHead
from homolog.heads.attention import guided_edges, look_up
from homolog.heads.guided_matcher import TEMPERATURE, GuidedMatcher
from homolog.heads.optimal_transport import mutual_matches
from homolog.training.losses.sparse import assignment_loss


def features(count: int, seed: int, *, levels: int | None = None) -> Tensor:
    """Random features [N 3]; with few levels many of them are equal."""
    generator = torch.Generator().manual_seed(seed)
    if levels is None:
        return torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return torch.randint(1, 1 + levels, (count, 3), generator=generator).double()


def slow(guidance0: Tensor, guidance1: Tensor, keep: float) -> list[list[bool]]:
    """Sort the sources of each target, best first and equal ones by index, and take the first."""
    unit0, unit1 = (each / each.norm(dim=1, keepdim=True) for each in (guidance0, guidance1))
    cosines = unit0 @ unit1.T
    wanted = max(1, math.ceil(round(keep * len(guidance1), 6)))
    rows: list[list[bool]] = []
    for row in cosines.tolist():
        best = sorted(range(len(row)), key=lambda j: -row[j])[:wanted]  # Python's sort is stable
        rows.append([j in best for j in range(len(row))])
    return rows


@given(
    count0=st.integers(1, 9),
    count1=st.integers(1, 9),
    keep=st.sampled_from([0.3, 0.4, 0.5, 0.6, 1.0]),
    seed=st.integers(0, 99),
)
def test_each_keypoint_keeps_the_better_share_rounded_up(count0, count1, keep, seed):
    one, other = features(count0, seed), features(count1, seed + 1)
    edges0, edges1 = guided_edges(one[None], other[None], keep=keep)
    assert edges0[0].tolist() == slow(one, other, keep)
    assert edges1[0].tolist() == slow(other, one, keep)


@given(count=st.integers(1, 12), keep=st.sampled_from([0.3, 0.5, 0.6]))
def test_of_equals_the_first_are_kept(count, keep):
    same = torch.tensor([1.0, 2.0]).expand(1, count, 2)
    edges0, _ = guided_edges(same[:, :1], same, keep=keep)
    wanted = max(1, math.ceil(keep * count))
    assert edges0[0, 0].tolist() == [index < wanted for index in range(count)]


def test_ties_are_settled_row_by_row():
    # Cosines of the one target: 1, 0, 0, 0, -1: two of the three ties at 0 have no room.
    target = torch.tensor([[[1.0, 0.0]]])
    sources = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [-1.0, 0.0]]])
    edges0, _ = guided_edges(target, sources, keep=0.4)
    assert edges0[0, 0].tolist() == [True, True, False, False, False]


@given(
    counts=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=3),
    seed=st.integers(0, 50),
)
def test_padding_counts_for_nothing(counts, seed):
    length0, length1 = (max(1, *each) for each in zip(*counts, strict=True))
    pads = torch.full((len(counts), length0, 3), 7.0, dtype=torch.float64)
    pads1 = torch.full((len(counts), length1, 3), 7.0, dtype=torch.float64)
    for sample, (n, m) in enumerate(counts):
        pads[sample, :n], pads1[sample, :m] = features(n, seed + sample), features(m, seed + sample + 9)
    valid0 = torch.arange(length0) < torch.tensor([[n] for n, _ in counts])
    valid1 = torch.arange(length1) < torch.tensor([[m] for _, m in counts])
    edges0, edges1 = guided_edges(pads, pads1, valid0=valid0, valid1=valid1)
    for sample, (n, m) in enumerate(counts):
        if n and m:
            alone0, alone1 = guided_edges(pads[sample : sample + 1, :n], pads1[sample : sample + 1, :m])
            assert torch.equal(edges0[sample, :n, :m], alone0[0])
            assert torch.equal(edges1[sample, :m, :n], alone1[0])
        assert not edges0[sample, :, m:].any()
        assert not edges1[sample, :, n:].any()


def test_the_two_graphs_are_not_each_other_s_transposes():
    edges0, edges1 = guided_edges(features(8, 0)[None], features(8, 1)[None])
    assert not torch.equal(edges0[0], edges1[0].T)


@pytest.mark.parametrize("keep", [0.0, 1.5, -1.0])
def test_a_share_beyond_all_or_nothing_is_refused(keep):
    with pytest.raises(ConfigError, match=r"expected keep in \(0, 1\]"):
        guided_edges(features(2, 0)[None], features(2, 1)[None], keep=keep)


def test_the_centre_of_a_cell_reads_that_cell_and_the_release_reads_it_half_a_cell_before():
    map_ = torch.arange(12.0).reshape(1, 3, 4)
    size = (30, 40)  # cells of 10 x 10 pixels, the first one centred on pixel 4.5
    centre = torch.tensor([[14.5, 4.5]])
    assert look_up(map_, centre, size)[0, 0].item() == pytest.approx(1.0, abs=1e-5)
    corner = torch.tensor([[10.0, 0.0]])
    assert look_up(map_, corner, size, lookup="release")[0, 0].item() == pytest.approx(1.0, abs=1e-5)
    features_ = Features(maps={"m": map_[None, None]}, image_size=size)
    anywhere = torch.rand(20, 2) * torch.tensor([40.0, 30.0]) - 0.5
    assert torch.equal(look_up(map_, anywhere, size), features_.at("m", anywhere))


def test_another_way_to_look_is_refused(unchecked):
    with pytest.raises(ConfigError, match="expected lookup to be one of centre, release"):
        look_up(torch.zeros(1, 2, 2), torch.zeros(1, 2), (4, 4), lookup="corner")  # type: ignore[arg-type]


SIZE = (48, 64)
TIGHT: dict[str, Any] = {"rtol": 0, "atol": 1e-9}
"""In float64; rounding differs between kernels with and without a mask."""


def matcher(seed: int = 0, **options: Any) -> GuidedMatcher:
    """A tiny matcher in float64 whose every parameter is random, biases included."""
    torch.manual_seed(seed)
    small: dict[str, Any] = {
        "input_dim": 6, "width": 8, "layers": 2, "heads": 2, "iterations": 20, "match_threshold": 0.0,
    }  # fmt: skip
    head = GuidedMatcher(None, **(small | options)).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return head


def image(count: int, seed: int, *, guided: bool = True) -> tuple[Keypoints, Features]:
    """Keypoints of an image and its one map."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    xy = torch.rand(count, 2, generator=generator, dtype=torch.float64) * torch.tensor([63.0, 47.0])
    keypoints = Keypoints(xy=xy, score=draw(count), descriptor=draw(count, 6))
    return keypoints, Features(maps={"map" if guided else PIXELS: draw(1, 1, 5, 6, 8)}, image_size=SIZE)


def assigned(head: GuidedMatcher, *sides: tuple[Keypoints, Features]) -> Tensor:
    one, other = (head.pad([keypoints], features) for keypoints, features in sides)
    return head.log_assignment(one, other)[0]


def moved(side: tuple[Keypoints, Features], xy: Tensor) -> tuple[Keypoints, Features]:
    keypoints, features = side
    return Keypoints(xy=xy, score=keypoints.score, descriptor=keypoints.descriptor), features


COUNTS = st.integers(1, 7)
EVERY_ASSIGNMENT = ("sinkhorn", "double_softmax")
EVERY_GUIDANCE = ("cross", "self_and_cross", "none")
EVERY_POSITION = ("guided", "entangled", "self_only", "none")


@settings(max_examples=30)
@given(
    guidance=st.sampled_from(EVERY_GUIDANCE),
    assignment=st.sampled_from(EVERY_ASSIGNMENT),
    count0=COUNTS,
    count1=COUNTS,
    seed=st.integers(0, 50),
)
def test_exchanging_the_images_transposes_the_assignment(guidance, assignment, count0, count1, seed):
    # Sinkhorn treats rows and columns alike only once it has converged.
    head = matcher(guidance=guidance, assignment=assignment, iterations=300)
    one, other = image(count0, seed), image(count1, seed + 1)
    with torch.no_grad():
        forth, back = assigned(head, one, other), assigned(head, other, one)
    torch.testing.assert_close(forth, back.T, rtol=0, atol=1e-5)


def test_exchanging_the_images_exchanges_the_matches():
    head = matcher(iterations=300)
    one, other = image(9, 1), image(7, 2)
    forth = head(one[0], other[0], one[1], other[1])
    back = head(other[0], one[0], other[1], one[1])
    assert len(forth) > 2
    pairs = {(*a, *b) for a, b in zip(forth.xy0.tolist(), forth.xy1.tolist(), strict=True)}
    assert pairs == {(*b, *a) for a, b in zip(back.xy0.tolist(), back.xy1.tolist(), strict=True)}


@pytest.mark.parametrize("position", EVERY_POSITION)
def test_with_queries_and_keys_that_read_nothing_guided_positions_do_not_matter(position):
    head = matcher(position=position)
    with torch.no_grad():
        for layer in (*head.inside, *head.across):
            layer.get_parameter("query.weight").zero_()
            layer.get_parameter("key.weight").zero_()
    one, other = image(6, 1), image(5, 2)
    # Both have to read their guidance at the old places: only the encoded position may move.
    sides = head.pad([one[0]], one[1]), head.pad([other[0]], other[1])
    with torch.no_grad():
        here = head.log_assignment(*sides)
        sides[0].place.add_(0.3)
        there = head.log_assignment(*sides)
    assert torch.equal(here, there) == (position != "entangled")


@pytest.mark.parametrize(("position", "matters"), [(p, p != "none") for p in EVERY_POSITION])
def test_else_positions_matter_unless_they_are_left_out(position, matters):
    head = matcher(position=position, guidance="none")
    one, other = image(6, 1), image(5, 2)
    away = moved(one, one[0].xy.flip(0))
    with torch.no_grad():
        assert torch.equal(assigned(head, one, other), assigned(head, away, other)) == (not matters)


def test_self_only_leaves_positions_out_across_images_alone():
    head = matcher(position="self_only", layers=1)
    free = matcher(position="self_only", layers=1)
    with torch.no_grad():
        for layer in (*head.inside, *free.inside):
            layer.get_parameter("query.weight").zero_()
            layer.get_parameter("key.weight").zero_()
        one, other = image(6, 1), image(5, 2)
        sides = free.pad([one[0]], one[1]), free.pad([other[0]], other[1])
        here = free.log_assignment(*sides)
        sides[0].place.add_(0.3)
        assert torch.equal(here, free.log_assignment(*sides))


@settings(max_examples=50)
@given(
    guidance=st.sampled_from(EVERY_GUIDANCE),
    assignment=st.sampled_from(EVERY_ASSIGNMENT),
    norm=st.sampled_from(["layer", "batch"]),
    counts=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=4),
    extra=st.integers(0, 4),
    seed=st.integers(0, 50),
)
def test_a_batch_padded_to_any_length_gives_each_pair_what_it_gets_alone(
    guidance, assignment, norm, counts, extra, seed
):
    head = matcher(guidance=guidance, assignment=assignment, norm=norm)
    pairs = [(image(n, seed + 2 * i), image(m, seed + 2 * i + 1)) for i, (n, m) in enumerate(counts)]
    sides = [
        head.pad(
            [pair[side][0] for pair in pairs],
            Features(maps={"map": torch.cat([pair[side][1]["map"] for pair in pairs])}, image_size=SIZE),
            length=max(1, *(count[side] for count in counts)) + extra,
        )
        for side in (0, 1)
    ]
    whole = head.log_assignment(*sides)  # with gradients, so in the log domain
    for sample, (n, m) in enumerate(counts):
        alone = assigned(head, *pairs[sample])
        rows, columns = [*range(n), -1], [*range(m), -1]
        torch.testing.assert_close(
            whole[sample][rows][:, columns], alone[rows][:, columns], equal_nan=True, **TIGHT
        )


@pytest.mark.parametrize(
    ("count0", "count1"), [*product((0, 1), (0, 1)), (1, 9), (9, 1), (0, 9), (9, 0), (3, 8)]
)
def test_any_number_of_keypoints_works(count0, count1):
    head = matcher()
    one, other = image(count0, 1), image(count1, 2)
    found = head(one[0], other[0], one[1], other[1])
    assert len(found) <= min(count0, count1)
    assert found.score.isfinite().all()
    if count0 == count1 == 1:
        assert len(found) == 1


@torch.no_grad()
def test_matches_are_the_mutual_ones_above_the_minimum_in_keypoint_coordinates():
    one, other = image(9, 1), image(8, 2)
    loose = matcher()
    probability = mutual_matches(assigned(loose, one, other)[None], match_threshold=0.0).probability[0]
    cut = float(probability[probability > 0].median())
    strict = matcher(match_threshold=cut)
    found = strict(one[0], other[0], one[1], other[1])
    assert 0 < len(found) < len(loose(one[0], other[0], one[1], other[1]))
    whole = assigned(strict, one, other).exp()[:-1, :-1]
    for xy0, xy1, score in zip(found.xy0, found.xy1, found.score, strict=True):
        i = int((one[0].xy == xy0).all(dim=1).nonzero())
        j = int((other[0].xy == xy1).all(dim=1).nonzero())
        assert whole[i, j] == whole[i].max() == whole[:, j].max()
        torch.testing.assert_close(score, whole[i, j])
        assert score > cut


def twin(head: GuidedMatcher, one: tuple[Keypoints, Features], other: tuple[Keypoints, Features]) -> Tensor:
    """Equations 1 to 5 keypoint by keypoint, head by head, edge by edge: the descriptors of both images."""
    assert head.encoder is not None
    sides = [head.pad([keypoints], features) for keypoints, features in (one, other)]
    d = [head.input(side.descriptor)[0] for side in sides]
    p = [head.encoder(side.place, side.score, None)[0] for side in sides]
    guidance = [side.guidance[0] for side in sides if side.guidance is not None]

    def half(target: int, source: int, i: int) -> list[int]:
        best = F.cosine_similarity(guidance[target][i][None], guidance[source], dim=1).tolist()
        return sorted(range(len(best)), key=lambda j: -best[j])[: -(-len(best) // 2)]

    def updated(layer: Any, target: int, i: int, source: int, attended: list[int]) -> Tensor:
        wide = d[target].shape[1] // layer.heads
        query = layer.query(d[target][i] + p[target][i])
        read = torch.zeros_like(query)
        for h in range(layer.heads):
            part = slice(h * wide, (h + 1) * wide)
            keys = [layer.key(d[source][j] + p[source][j])[part] for j in attended]
            values = [layer.value(d[source][j])[part] for j in attended]
            weights = torch.stack([query[part] @ key / wide**0.5 for key in keys]).softmax(dim=0)
            read[part] = sum(w * v for w, v in zip(weights, values, strict=True))
        hidden = layer.widen(torch.cat((d[target][i], layer.join(read))))
        return d[target][i] + layer.narrow(F.gelu(layer.norm.layer(hidden)))

    for inside, across in zip(head.inside, head.across, strict=True):
        d = [
            torch.stack([updated(inside, t, i, t, list(range(len(d[t])))) for i in range(len(d[t]))])
            for t in (0, 1)
        ]
        d = [
            torch.stack([updated(across, t, i, 1 - t, half(t, 1 - t, i)) for i in range(len(d[t]))])
            for t in (0, 1)
        ]
    return head.assignment(d[0][None], d[1][None])[0]


@torch.no_grad()
def test_it_computes_the_equations_of_the_paper():
    head = matcher()
    one, other = image(5, 3), image(7, 4)
    torch.testing.assert_close(assigned(head, one, other), twin(head, one, other), **TIGHT)


@pytest.mark.parametrize(
    "options",
    [
        *({"position": position} for position in EVERY_POSITION),
        *({"guidance": guidance} for guidance in EVERY_GUIDANCE),
        {"encoding": "fourier"},
        {"use_score": True},
        {"norm": "batch"},
        {"assignment": "double_softmax"},
        {"projection": False, "scaled": False},
        {"width": 6, "heads": 1},
        {"lookup": "release"},
    ],
)
def test_under_every_option_all_parameters_learn_from_a_padded_batch(options):
    head = matcher(**options).train()
    pairs = [(image(5, 1), image(4, 2)), (image(3, 3), image(6, 4)), (image(0, 5), image(2, 6))]
    sides = [
        head.pad(
            [pair[side][0] for pair in pairs],
            Features(maps={"map": torch.cat([pair[side][1]["map"] for pair in pairs])}, image_size=SIZE),
        )
        for side in (0, 1)
    ]
    truth0 = torch.tensor([[0, 2, -1, -2, 3], [5, -1, 1, -2, -2], [-2] * 5])
    truth1 = torch.tensor([[0, -1, 1, 4, -2, -2], [-1, 2, -1, -1, -2, 0], [-1, -1, -2, -2, -2, -2]])
    loss = assignment_loss(head.log_assignment(*sides), truth0, truth1)
    assert loss.total.isfinite().all()
    loss.total.sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A bias of the keys moves all scores of a row alike, which a softmax does not see.
        assert parameter.grad.abs().sum() > 0 or name.endswith("key.bias"), name


@pytest.mark.parametrize(
    ("option", "one", "other"),
    [
        ("guidance", "cross", "none"), ("guidance", "cross", "self_and_cross"), ("keep", 0.3, 0.6),
        ("position", "guided", "entangled"), ("position", "guided", "self_only"), ("position", "guided", "none"),
        ("encoding", "mlp", "fourier"), ("divisor", 0.7, 0.5), ("lookup", "centre", "release"),
        ("iterations", 20, 1), ("scaled", True, False),
    ],
)  # fmt: skip
def test_every_option_changes_the_result(option, one, other):
    pair = image(9, 1), image(8, 2)
    with torch.no_grad():
        change = assigned(matcher(**{option: one}), *pair) - assigned(matcher(**{option: other}), *pair)
    assert change.abs().max() > 1e-7


def test_keeping_all_is_no_guidance():
    pair = image(9, 1), image(8, 2)
    with torch.no_grad():
        torch.testing.assert_close(
            assigned(matcher(keep=1.0), *pair), assigned(matcher(guidance="none"), *pair), **TIGHT
        )


def test_it_says_the_same_twice_and_after_saving(tmp_path: Path):
    head = matcher()
    pair = image(9, 1), image(8, 2)
    torch.save({name: value.float() for name, value in head.state_dict().items()}, tmp_path / "weights.pt")
    options: dict[str, Any] = {"input_dim": 6, "width": 8, "layers": 2, "heads": 2, "iterations": 20}
    again = GuidedMatcher(tmp_path / "weights.pt", **options)
    assert not again.training
    with torch.inference_mode():
        first = assigned(head, *pair)
        assert torch.equal(first, assigned(head, *pair))
        torch.testing.assert_close(assigned(again.double(), *pair), first, rtol=0, atol=1e-4)
    options["layers"] = 3
    with pytest.raises(WeightsError, match=r"guided_matcher from weights\.pt: the weights do not fit"):
        GuidedMatcher(tmp_path / "weights.pt", **options)


def test_half_precision_stays_near_single_precision():
    head = matcher().float()
    pair = [
        (Keypoints(xy=k.xy.float(), score=k.score.float(), descriptor=k.descriptor.float()), f.to("cpu", torch.float32))
        for k, f in (image(9, 1), image(8, 2))
        if k.descriptor is not None
    ]  # fmt: skip
    with torch.inference_mode():
        single = assigned(head, *pair)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = assigned(head, *pair)
    assert half.dtype == torch.float32
    assert (half.exp() - single.exp()).abs().max() < 0.05


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"guidance": "inter"}, "expected guidance to be one of cross, self_and_cross, none"),
        ({"position": "late"}, "expected position to be one of guided, entangled, self_only, none"),
        ({"keep": 0.0}, r"expected keep in \(0, 1\] and at least 1 layer, got 0.0 and 9"),
        ({"layers": 0}, "at least 1 layer, got 0.5 and 0"),
        ({"heads": 3}, "expected a width that 3 heads divide, got 256"),
        ({"norm": "group"}, "expected norm to be one of layer, batch"),
        ({"encoding": "sine"}, "expected encoding to be one of mlp, fourier"),
        ({"divisor": 0.0}, "expected a divisor above 0, got 0"),
        ({"assignment": "hungarian"}, "expected assignment to be one of sinkhorn, double_softmax"),
    ],
)
def test_options_that_make_no_sense_are_refused(unchecked, options: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        GuidedMatcher(None, **options)


def test_keypoints_without_descriptors_are_refused():
    bare = Keypoints(xy=torch.zeros(3, 2), score=torch.zeros(3))
    with pytest.raises(CapabilityError, match="expected keypoints with descriptors, got none"):
        matcher(guidance="none")(bare, bare, image(1, 1)[1], image(1, 1)[1])


def test_descriptors_of_another_detector_are_refused():
    one = image(3, 1)
    with pytest.raises(ShapeError, match="expected descriptors of length 9, got 6"):
        matcher(input_dim=9)(one[0], one[0], one[1], one[1])


def test_without_a_backbone_it_says_what_to_do_and_without_guidance_it_needs_none():
    one, other = image(3, 1, guided=False), image(4, 2, guided=False)
    with pytest.raises(
        CapabilityError, match=r"expected features that guide, got none; give the matcher a backbone"
    ):
        matcher()(one[0], other[0], one[1], other[1])
    assert len(matcher(guidance="none")(one[0], other[0], one[1], other[1])) <= 3


def test_of_several_maps_one_has_to_be_chosen():
    keypoints, features = image(3, 1)
    two = Features(maps={"map": features["map"], "more": -features["map"]}, image_size=SIZE)
    with pytest.raises(ConfigError, match=r"expected one of the maps map, more to guide; set head\.map"):
        matcher()(keypoints, keypoints, two, two)
    with torch.no_grad():
        chosen = assigned(matcher(map="map"), (keypoints, two), (keypoints, two))
        torch.testing.assert_close(chosen, assigned(matcher(), (keypoints, features), (keypoints, features)))


def test_maps_of_another_number_of_images_are_refused():
    keypoints, features = image(3, 1)
    with pytest.raises(ShapeError, match="expected maps of 2 images of one view"):
        matcher().pad([keypoints, keypoints], features)


def test_it_pairs_keypoints_and_does_not_transfer_points():
    head = matcher()
    assert isinstance(head, SparseHead)
    assert not isinstance(head, TransferHead)


@pytest.mark.parametrize("assignment", EVERY_ASSIGNMENT)
@pytest.mark.parametrize(("input_dim", "scaled"), [(16, True), (24, True), (24, False)])
@torch.no_grad()
def test_from_the_start_nearest_scores_are_cosines_and_true_partners_are_found(assignment, input_dim, scaled):
    head = GuidedMatcher(
        None, input_dim=input_dim, width=24, layers=2, heads=2, assignment=assignment, scaled=scaled, start="nearest"
    ).double()  # fmt: skip
    generator = torch.Generator().manual_seed(3)
    descriptor = F.normalize(torch.randn(9, input_dim, generator=generator, dtype=torch.float64), dim=1)
    order = torch.randperm(9, generator=generator)
    noisy = descriptor[order] + 0.05 * torch.randn(9, input_dim, generator=generator, dtype=torch.float64)
    sides = []
    for seed, described in ((1, descriptor), (2, F.normalize(noisy, dim=1))):
        keypoints, features = image(9, seed)
        sides.append((keypoints.described_by(described), features))
    tokens = [head.input(keypoints.descriptor) for keypoints, _ in sides]
    scores = head.assignment._scores(tokens[0][None], tokens[1][None])[0]
    torch.testing.assert_close(scores, TEMPERATURE * descriptor @ sides[1][0].descriptor.T, rtol=0, atol=1e-5)
    found = mutual_matches(assigned(head, *sides)[None], match_threshold=0.2)
    assert found.partner[0].tolist() == order.argsort().tolist()


def test_from_the_start_nearest_every_layer_learns_within_three_steps():
    torch.manual_seed(0)
    head = GuidedMatcher(
        None, input_dim=6, width=8, layers=2, heads=2, assignment="double_softmax", start="nearest"
    ).double()
    one, other = image(9, 1), image(8, 2)
    truth = torch.arange(8)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        assignment_loss(
            assigned(head, one, other)[None], F.pad(truth, (0, 1), value=-1)[None], truth[None]
        ).total.sum().backward()
        optimizer.step()
    still = [name for name, each in head.named_parameters() if each.grad is None or not each.grad.any()]
    # A bias of all keys moves no softmax.
    assert [name for name in still if not name.endswith("key.bias")] == []


def test_a_start_that_cannot_be_is_refused(unchecked):
    with pytest.raises(ConfigError, match="a width of at least input_dim"):
        GuidedMatcher(None, input_dim=16, width=8, layers=1, heads=2, start="nearest")
    with pytest.raises(ConfigError, match="projection=true"):
        GuidedMatcher(None, input_dim=8, width=8, layers=1, heads=2, start="nearest", projection=False)
    with pytest.raises(ConfigError, match="expected start to be one of random, nearest"):
        GuidedMatcher(None, start="closest")  # pyright: ignore[reportArgumentType]
