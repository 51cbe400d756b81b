"""A training as data: a matcher, an objective, sources, and stages that build on one another."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from homolog.core.coords import Size
from homolog.core.errors import ConfigError, did_you_mean
from homolog.training.map_cache import MapCache
from homolog.training.mixture import Source
from homolog.training.objective import Objective
from homolog.training.sparse_source import SparseSource
from homolog.training.stage import Stage
from homolog.training.validation import Validation


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What `homolog train` runs; a recipe's YAML gives it.

    Attributes:
        matcher: name of the product that is trained.
        settings: of it, as for `homolog match`: `head.width=64`.
        parts: what is exported after each stage: paths of the matcher's parts (`head`, `backbone.fusion`) whose
            setting `checkpoint` reads a `state_dict`. All that learns has to lie in one of them.
        objective: how the terms of the loss come about.
        sources: by name, what makes each; made when a stage asks for it, so that nobody needs the data of
            stages that do not run.
        stages: by name, in their order.
        size: (height, width) of the images that networks see, pixels.
        sparse: names of the sources of which keypoints, boxes and masks may be read, and no dense truth: what
            stands in for annotated photos.
        swap: how often the images of a pair change places, so that no network learns their order.
        seed: of everything that is drawn.
        cache: remembers the maps of frozen backbones; None computes them in every step.
        validation: held-out samples that are looked at every so many steps; None looks at none.
        checkpoint_every: steps between two checkpoints.
        log_every: steps between two rows of the log.
        trainer: further arguments of Lightning's Trainer: `strategy`, `devices`, `num_nodes`.
        loggers: by name, further loggers beside the CSV; each is called with `save_dir`.
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
        """Refuse what cannot be run, before anything is.

        Raises:
            ConfigError: no stages, numbers out of range, or a stage that asks for a term or a source that
                does not exist.
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

    def chosen(self, names: Iterable[str] | None) -> list[str]:
        """Return the names of some of the stages, in the order of the recipe; None takes all.

        Raises:
            ConfigError: no such stage.
        """
        wanted = list(self.stages) if names is None else list(names)
        _check_names("no stage", wanted, self.stages)
        return [name for name in self.stages if name in wanted]

    def sources_of(self, stage: str) -> dict[str, Source]:
        """Make the sources that a stage draws from.

        Raises:
            DataError: one that is not there.
        """
        made = {name: self.sources[name]() for name, share in self.stages[stage].data.items() if share}
        return {
            name: SparseSource(source) if name in self.sparse else source for name, source in made.items()
        }


def _check_names(what: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{what} {name}{did_you_mean(name, known)}")
