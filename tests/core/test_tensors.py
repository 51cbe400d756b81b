"""Mapping, moving and stacking values that hold tensors."""

from typing import Any, NamedTuple

import pytest
import torch

from homolog.core.camera import Camera
from homolog.core.dense import Transfer
from homolog.core.errors import ShapeError
from homolog.core.keypoints import Keypoints
from homolog.core.tensors import map_tensors, move, stack


class _Pair(NamedTuple):
    left: torch.Tensor
    right: str


def test_every_tensor_at_any_depth_is_mapped_and_everything_else_kept() -> None:
    value: Any = {
        "a": [torch.ones(2), "text"],
        "b": (torch.ones(1), {"c": _Pair(torch.ones(3), "right")}),
        "d": None,
    }
    doubled: Any = map_tensors(lambda tensor: tensor * 2, value)
    assert doubled["a"][0].tolist() == [2, 2]
    assert doubled["a"][1] == "text"
    assert doubled["b"][1]["c"].left.tolist() == [2, 2, 2]
    assert isinstance(doubled["b"][1]["c"], _Pair)
    assert doubled["d"] is None
    assert value["a"][0].tolist() == [1, 1]  # the value given stays what it was


def test_a_dataclass_stays_a_dataclass_of_its_kind() -> None:
    keypoints = Keypoints(xy=torch.zeros(2, 2), score=torch.zeros(2))
    moved = move(keypoints, "meta")
    assert isinstance(moved, Keypoints)
    assert moved.xy.device.type == "meta"
    assert moved.descriptor is None


def test_stacking_adds_a_first_axis_everywhere() -> None:
    values = [{"x": torch.full((2,), float(i)), "y": [torch.tensor(i)], "name": f"n{i}"} for i in range(3)]
    stacked: Any = stack(values)
    assert stacked["x"].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert stacked["y"][0].tolist() == [0, 1, 2]
    assert stacked["name"] == "n0"


def test_stacking_named_tuples_gives_one() -> None:
    stacked = stack([Transfer(torch.zeros(4, 2), torch.ones(4)) for _ in range(3)])
    assert isinstance(stacked, Transfer)
    assert stacked.xy.shape == (3, 4, 2)


@pytest.mark.usefixtures("unchecked")
def test_a_dataclass_that_cannot_be_stacked_raises_its_own_error() -> None:
    with pytest.raises(ShapeError, match=r"Camera: expected K \[3 3\], got \[2, 3, 3\]"):
        stack([Camera(K=torch.eye(3)), Camera(K=torch.eye(3))])


def test_stacking_values_of_different_structure_is_an_error() -> None:
    with pytest.raises(ShapeError, match="expected at least one value to stack, got none"):
        stack([])
    with pytest.raises(ShapeError, match=r"expected tensors of one shape to stack, got \[\(2,\), \(3,\)\]"):
        stack([torch.zeros(2), torch.zeros(3)])
    with pytest.raises(ShapeError, match="expected a tensor in every value or in none, got both"):
        stack([{"x": torch.zeros(2)}, {"x": None}])
