"""Cached pairs: the same loss as from the images, computed once, rejected if made with other settings."""

from functools import partial
from typing import Any

import pytest
import torch

from homolog.core.errors import ConfigError, DataError
from homolog.training.batch import collate, swapped
from homolog.training.cached_pairs import CachedPairs
from homolog.training.objectives.base import Step
from homolog.training.objectives.graph_matcher import GraphMatcherObjective
from homolog.training.stage import freeze
from homolog.zoo.build import build, resolved
from homolog.zoo.compose import compose

SIZE = (128, 160)
STEP = Step(wanted=["assignment"], generator=torch.Generator(), options={})


class Counting:
    """A source, a detector or a backbone that counts how often it is made and asked."""

    def __init__(self, inner):
        self.inner, self.made, self.asked = inner, 0, 0

    def make(self):
        self.made += 1
        return self

    def __len__(self):
        return len(self.inner)

    def __getitem__(self, index):
        self.asked += 1
        return self.inner[index]

    def __call__(self, *given):
        self.asked += 1
        return self.inner(*given)


@pytest.fixture(scope="module")
def matcher():
    torch.manual_seed(0)
    made = build(
        compose(
            "match", ["matcher=mini_omniglue", "head.checkpoint=null", "head.layers=1", "head.start=random"]
        )
    )
    freeze(made, ["head.*"])
    return made


def pairs(tmp_path, given_pairs, matcher, **changes):
    given: dict[str, Any] = {
        "source": lambda: given_pairs,
        "detector": lambda: matcher.detector,
        "backbone": lambda: matcher.backbone,
        "map": "blocks.4",
        "folder": tmp_path / "pairs",
        "count": 3,
        "size": SIZE,
        "keypoints": 48,
    }
    return CachedPairs(**(given | changes))


def test_cached_pairs_give_the_same_loss_and_gradient_as_images(tmp_path, shifts, matcher):
    source = shifts(size=96)
    cached = pairs(tmp_path, source, matcher)
    losses, gradients = [], []
    for samples in ([source[0], source[2]], [cached[0], cached[2]]):
        matcher.zero_grad()
        loss = GraphMatcherObjective(keypoints=48)(matcher, collate(samples, size=SIZE), STEP)["assignment"]
        loss.backward()
        losses.append(loss.item())
        gradients.append(matcher.head.assignment.projection.weight.grad.clone())
    # One pair at a time, kernels round differently.
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-2, atol=1e-4)


def test_a_pair_is_computed_once_and_parts_are_made_only_if_needed(tmp_path, shifts, matcher):
    source, detector = Counting(shifts(size=96)), Counting(matcher.detector)
    first = pairs(tmp_path, source, matcher, source=source.make, detector=detector.make)
    assert (source.made, detector.made) == (0, 0)
    seen = [first[1], first[1]]
    again = pairs(tmp_path, source, matcher, source=source.make, detector=detector.make)[1]
    assert (source.made, source.asked, detector.made, detector.asked) == (1, 1, 1, 1)
    for each in (seen[1], again):
        assert torch.equal(each.keypoints0.xy, seen[0].keypoints0.xy)
        assert each.keypoints1.descriptor is not None
        assert seen[0].keypoints1.descriptor is not None
        assert torch.equal(each.keypoints1.descriptor, seen[0].keypoints1.descriptor)
        assert torch.equal(each.matches0, seen[0].matches0)
    assert (seen[0].matches0 >= 0).sum() > 8
    assert len(seen[0].keypoints0) == 48


def test_swapping_the_images_does_not_change_a_cached_pair(tmp_path, shifts, matcher):
    pair = pairs(tmp_path, shifts(size=96), matcher)[0]
    objective = GraphMatcherObjective()
    losses = [
        objective(matcher, collate([each], size=SIZE), STEP)["assignment"].item()
        for each in (pair, swapped(pair))
    ]
    assert losses[0] == losses[1]


def test_without_a_backbone_there_is_no_guidance(tmp_path, shifts, matcher):
    pair = pairs(tmp_path, shifts(size=96), matcher, backbone=None)[0]
    assert pair.guidance0 is None
    assert pair.guidance1 is None


def test_a_folder_made_with_other_settings_is_rejected(tmp_path, shifts, matcher):
    made = partial(shifts, size=96, seed=1)
    cache = pairs(tmp_path, None, matcher, source=made)
    assert not (tmp_path / "pairs").exists()  # constructing it writes nothing
    cache[0]
    pairs(tmp_path, None, matcher, source=made, count=2)
    with pytest.raises(ConfigError, match="another source, keypoints"):
        pairs(tmp_path, None, matcher, source=partial(shifts, size=96, seed=2), keypoints=32)
    (tmp_path / "pairs/pairs.json").unlink()  # as of an earlier version
    with pytest.raises(ConfigError, match="choose another folder"):
        pairs(tmp_path, None, matcher, source=made)


def test_other_weights_in_a_file_of_the_same_name_are_other_parts(tmp_path, shifts, matcher):
    def detector(checkpoint):
        raise AssertionError(f"{checkpoint} is not needed")

    for content, rejected in ((b"one", False), (b"one", False), (b"two", True)):
        (tmp_path / "weights").write_bytes(content)
        make = partial(detector, checkpoint=tmp_path / "weights")
        if rejected:
            with pytest.raises(ConfigError, match="another detector"):
                pairs(tmp_path, None, matcher, source=shifts, detector=make)
        else:
            cache = pairs(tmp_path, None, matcher, source=shifts, detector=make)
            with pytest.raises(AssertionError, match="is not needed"):
                cache[0]


def test_a_damaged_file_and_a_pair_that_does_not_exist_are_named(tmp_path, shifts, matcher):
    cached = pairs(tmp_path, shifts(size=96), matcher)
    cached[0]
    (tmp_path / "pairs" / "000001.safetensors").write_bytes(b"half")
    with pytest.raises(DataError, match=r"000001\.safetensors: expected a cached pair"):
        cached[1]
    with pytest.raises(IndexError):
        cached[3]


def test_a_batch_of_cached_and_other_pairs_is_rejected(tmp_path, shifts, matcher):
    source = shifts(size=96)
    batch = collate([source[0], pairs(tmp_path, source, matcher)[1]], size=SIZE)
    with pytest.raises(DataError, match="got 1 of 2"):
        GraphMatcherObjective()(matcher, batch, STEP)


def test_the_recipe_s_parts_are_those_of_its_product():
    recipe, product = (
        resolved(compose("train", ["recipe=mini_omniglue"])),
        resolved(compose("match", ["matcher=mini_omniglue"])),
    )
    for source in recipe["sources"].values():
        for part in ("detector", "backbone"):
            given = {name: value for name, value in source[part].items() if name != "_partial_"}
            assert given == product[part]
        assert source["map"] == product["head"]["map"]
        assert source["size"] == recipe["size"]
