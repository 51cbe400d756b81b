"""What protocols read of a record of tracks: how it was asked for, and its scale."""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.record import Record


def check_queries(record: Record, allowed: Collection[str], *, protocol: str) -> None:
    """Refuse a record whose queries were chosen by another rule than a protocol scores.

    Args:
        record: whose fact `queries` names the rule, as `sample_queries` does.
        allowed: the rules that fit.
        protocol: for the message.

    Raises:
        ConfigError: it was another one.
    """
    mode = record.facts.get("queries", "none")
    if mode not in allowed:
        raise ConfigError(
            f"{protocol}: expected records of {' or '.join(sorted(allowed))} queries, got {mode} in {record.name}; "
            "choose the task that asks for them"
        )


def raster_scale(record: Record, raster: Sequence[int]) -> Float[np.ndarray, "2"]:
    """Return the factors (x, y) from pixels of a record's video to those of a raster it is stretched to.

    They scale distances; the half pixel between origins cancels there.

    Args:
        record: with `size`.
        raster: (height, width).

    Raises:
        ShapeError: no size, or an empty one.
    """
    height, width = (float(side) for side in record["size"])
    if height <= 0 or width <= 0:
        raise ShapeError(f"{record.name}: expected a size above 0, got {width:g} x {height:g}")
    return np.array([raster[1] / width, raster[0] / height])


def rasters_seen(records: Sequence[Record]) -> str:
    """Say on which rasters a tracker saw the frames."""
    return ", ".join(sorted({record.facts.get("raster", "not recorded") for record in records})) or "none"
