"""The feature cache that a command line asks for."""

import torch

from homolog.core.cache import FeatureCache


def kept_features(kept: str) -> FeatureCache | None:
    """Return the cache that `--cache` names: features as they are, in bfloat16, or none when `off`."""
    return None if kept == "off" else FeatureCache(dtype=torch.bfloat16 if kept == "half" else None)
