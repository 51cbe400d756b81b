"""Load a matcher by its name, ready to use."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from homolog.core.cache import FeatureCache
from homolog.core.device import choose_device
from homolog.core.errors import ConfigError
from homolog.core.protocols import KeepsFeatures, Matcher
from homolog.zoo.build import build
from homolog.zoo.catalogue import untrained
from homolog.zoo.compose import compose
from homolog.zoo.fingerprint import extraction_fingerprint

logger = logging.getLogger(__name__)


def load_matcher(
    name: str = "small",
    *overrides: str,
    device: str = "auto",
    cache: FeatureCache | None = None,
    configs: Path | None = None,
) -> Matcher:
    """Compose, build and place a matcher.

    Args:
        name: a file of `configs/matcher/`; `homolog list` shows them.
        overrides: settings as on the command line: `"points.resize=1024"`, `"points.head=nearest"`.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        cache: where to keep extracted features on disk, such as `FeatureCache()`; None keeps them in
            memory only.
        configs: another configs folder; None takes the one that came with homolog.

    Returns:
        The matcher in evaluation mode on the device.

    Raises:
        ConfigError: a name or a setting that does not exist, or no such device.
        MissingDependencyError: a package to install first; the message has the pip line.
        WeightsError: weights cannot be obtained or do not fit.
    """
    config = compose("match", (f"matcher={name}", *overrides), configs=configs)
    return build_matcher(config, device=device, cache=cache)


def build_matcher(
    config: Mapping[str, Any], *, device: str = "auto", cache: FeatureCache | None = None
) -> Matcher:
    """Build the matcher of a composed configuration, in evaluation mode, on a device.

    Parts without weights are logged as a warning. The cache is not used when the matcher keeps no
    features, or when some of its weights are random.

    Raises:
        ConfigError: the configuration is not that of a matcher, or there is no such device.
    """
    place = choose_device(device)
    if parts := untrained(config):
        logger.warning(
            "untrained: %s; random weights give random results, train them or give weights as PART.checkpoint=FILE",
            ", ".join(dict.fromkeys(parts)),
        )
    built = build(config)
    if not isinstance(built, Matcher):
        raise ConfigError(f"expected the configuration of a matcher, got one of {type(built).__name__}")
    if isinstance(built, nn.Module):
        built.eval().to(place)
    if cache is not None and isinstance(built, KeepsFeatures):
        fingerprint = extraction_fingerprint(config)
        if fingerprint is not None:
            built.use_cache(cache, fingerprint)
    return built
