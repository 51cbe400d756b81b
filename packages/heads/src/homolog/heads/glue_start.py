"""Weights with which a glue begins as what it has to beat: nearest neighbours by the descriptors' cosines.

This is ours, for trainings of minutes. Random weights first have to learn that a descriptor resembles
itself; from here on, layers only learn what neighbours and the other image add to that.
"""

from collections.abc import Iterable
from math import sqrt
from typing import cast

import torch
from torch import Tensor, nn

from homolog.core.errors import ConfigError
from homolog.heads.assignment import Assignment
from homolog.heads.glue_layer import GlueLayer
from homolog.heads.keypoint_position import KeypointPosition

TEMPERATURE = 40.0
"""Score of two equal descriptors. XFeat's partners have a cosine of 0.75 to 0.95 and each point ten others of
0.7; on training pairs 20 leaves most partners undecided, and beyond 60 wrong ones are too sure."""

NO_PARTNER = 0.8
"""Cosine that is as good as having no partner, where there is a dustbin."""

MATCHABLE = 2.0
"""Logit of having a partner, where there is no dustbin: 0.88."""


@torch.no_grad()
def start_as_nearest(
    input_: nn.Module,
    encoder: KeypointPosition | None,
    inside: Iterable[nn.Module],
    across: Iterable[nn.Module],
    assignment: Assignment,
) -> None:
    """Make scores the cosines of unit descriptors, `TEMPERATURE` times.

    The first projection becomes an isometry whose tokens have entries of about 1, the last a multiple of
    the identity. Positions are zero, and layers add nothing: the last weights of each are zero, and learn at
    once. What layers across images could add is there from the start: they listen to what resembles
    them, and half of their hidden units say how it differs.

    Args:
        input_: what brings descriptors to the network's width, or an identity.
        encoder: of positions, or None.
        inside: the layers inside of images.
        across: the layers across images.
        assignment: the last part.

    Raises:
        ConfigError: a projection that loses something, or none at the end whose scale could be set.
    """
    if assignment.projection is None:
        raise ConfigError(
            "guided_glue: start=nearest expects projection=true, which sets the scale of scores"
        )
    squared = _isometric(input_)
    if encoder is not None:
        nn.init.zeros_(encoder.layers[-1].get_parameter("weight"))
    for layer in inside:
        nn.init.zeros_(cast(GlueLayer, layer).narrow.weight)
    for layer in across:
        _listen_to_the_nearest(cast(GlueLayer, layer), squared)
    width = assignment.projection.out_features
    gain = sqrt(TEMPERATURE * (sqrt(width) if assignment.scaled else 1.0) / squared)
    _set(assignment.projection, torch.eye(width) * gain)
    if assignment.dustbin is not None:
        assignment.dustbin.fill_(TEMPERATURE * NO_PARTNER)
    if assignment.matchability is not None:
        nn.init.zeros_(assignment.matchability.weight)
        nn.init.constant_(assignment.matchability.bias, MATCHABLE)


def _isometric(input_: nn.Module) -> float:
    """Keep all angles between descriptors; return the squared length that tokens have then."""
    if not isinstance(input_, nn.Linear):
        return 1.0
    if input_.in_features > input_.out_features:
        raise ConfigError(
            f"guided_glue: start=nearest expects a width of at least input_dim, got {input_.out_features} "
            f"and {input_.in_features}; use start=random"
        )
    squared = float(input_.out_features)
    nn.init.orthogonal_(input_.weight, gain=sqrt(squared))
    nn.init.zeros_(input_.bias)
    return squared


def _listen_to_the_nearest(layer: GlueLayer, squared: float) -> None:
    width = layer.query.out_features
    # Each head sees its share of the cosine, and divides by the root of its length.
    gain = sqrt(TEMPERATURE * sqrt(layer.heads * width) / squared)
    compared = _turn(width) * gain
    heard = _turn(width)
    _set(layer.query, compared)
    _set(layer.key, compared)
    _set(layer.value, heard)
    _set(layer.join, heard.T)
    differing = _turn(width)
    layer.widen.weight[:width] = torch.cat((differing, -differing), dim=1)
    nn.init.zeros_(layer.narrow.weight)


def _turn(width: int) -> Tensor:
    return nn.init.orthogonal_(torch.empty(width, width))


def _set(linear: nn.Linear, weight: Tensor) -> None:
    linear.weight.copy_(weight)
    nn.init.zeros_(linear.bias)
