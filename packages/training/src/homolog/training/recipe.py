"""A recipe: the matcher, the objective, the data sources and the stages of a training."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homolog.core.coords import Size
from homolog.core.errors import ConfigError, did_you_mean
from homolog.training.data import Source, SparseSource
from homolog.training.map_cache import MapCache
from homolog.training.objectives.base import Objective
from homolog.training.stage import Stage
from homolog.training.validation import Validation


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A training for `homolog train`, from a YAML file in `configs/recipe`.

    Attributes:
        matcher: name of the product to train.
        objective: computes the loss terms.
        sources: factories of the data sources by name; called only for stages that use the source.
        stages: stages by name, in order.
        size: (height, width) of the network's input images, in pixels.
        parts: paths of the parts that are saved after each stage, such as `head` or `backbone.fusion`. Each needs a
            setting `checkpoint` that loads the saved file. Every trainable parameter must be in one of them.
        settings: settings of the product, as for `homolog match`: `head.width=64`.
        sparse: names of sources of which only the keypoints are used as labels, to imitate annotated photos.
        swap: probability of swapping the images of a pair, so that no network learns their order.
        seed: seed of all random numbers.
        cache: cache of the feature maps of frozen backbones; None computes them in every step.
        validation: held-out samples to evaluate at intervals; None evaluates none.
        checkpoint_every: steps between checkpoints.
        log_every: steps between rows of the log.
        trainer: further arguments of Lightning's Trainer: `strategy`, `devices`, `num_nodes`.
        loggers: factories of further loggers by name; each is called with `save_dir`.
    """

    matcher: str
    objective: Objective
    sources: Mapping[str, Callable[[], Source]]
    stages: Mapping[str, Stage]
    size: Sequence[int]
    parts: Sequence[str]
    settings: Sequence[str] = ()
    sparse: Sequence[str] = ()
    swap: float | int = 0.5
    seed: int = 0
    cache: MapCache | None = None
    validation: Validation | None = None
    checkpoint_every: int = 500
    log_every: int = 10
    trainer: Mapping[str, Any] = field(default_factory=dict[str, Any])
    loggers: Mapping[str, Callable[..., Any]] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Validate the recipe.

        Raises:
            ConfigError: no stages, numbers out of range, or a stage with an unknown loss term or source.
        """
        if not self.stages or len(self.size) != 2 or min(self.size) < 1 or not self.parts:
            raise ConfigError(
                "expected at least one stage, a size [height, width] and the parts to export, got "
                f"{list(self.stages)}, {list(self.size)} and {list(self.parts)}"
            )
        if self.seed < 0 or self.checkpoint_every < 1 or self.log_every < 1 or not 0 <= self.swap <= 1:
            raise ConfigError(
                "expected a seed of 0 or more, checkpoint_every and log_every of at least 1 and swap in [0, 1], got "
                f"{self.seed}, {self.checkpoint_every}, {self.log_every} and {self.swap}"
            )
        for name, stage in self.stages.items():
            _check_names(f"stage {name}: no loss", stage.losses, self.objective.terms)
            _check_names(f"stage {name}: no source", stage.data, self.sources)
        _check_names("sparse: no source", self.sparse, self.sources)

    @property
    def image_size(self) -> Size:
        """(height, width) in pixels."""
        return self.size[0], self.size[1]

    def select(self, names: Iterable[str] | None) -> list[str]:
        """Return the names of the given stages in the order of the recipe; None selects all.

        Raises:
            ConfigError: an unknown stage.
        """
        wanted = list(self.stages) if names is None else list(names)
        _check_names("no stage", wanted, self.stages)
        return [name for name in self.stages if name in wanted]

    def sources_of(self, stage: str) -> dict[str, Source]:
        """Make the data sources of a stage.

        Raises:
            DataError: missing data.
        """
        made = {name: self.sources[name]() for name, weight in self.stages[stage].data.items() if weight}
        return {
            name: SparseSource(source) if name in self.sparse else source for name, source in made.items()
        }


def _check_names(what: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{what} {name}{did_you_mean(name, known)}")
