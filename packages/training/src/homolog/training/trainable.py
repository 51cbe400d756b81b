"""Which parameters learn, and how fast."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from homolog.core.errors import ConfigError
from homolog.training.stage import Stage


def freeze(module: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Let only parameters of certain names learn.

    Frozen parts are put into evaluation mode, trained ones into training mode: a module learns if any of
    its own or lower parameters does.

    Args:
        module: the matcher.
        patterns: as in file names: `head.*`, `backbone.fusion.blocks.?.*`; `!` in front excludes again what
            those before it chose.

    Returns:
        The names of the parameters that learn.

    Raises:
        ConfigError: a pattern that fits no parameter.
    """
    names = [name for name, _ in module.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern.removeprefix("!")) for name in names):
            raise ConfigError(
                f"trainable: no parameter is called {pattern}; parts are {', '.join(_tops(names))}"
            )
    learning = [name for name in names if _chosen(name, patterns)]
    if not learning:
        raise ConfigError(f"trainable: the patterns {list(patterns)} leave nothing to learn")
    chosen = set(learning)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in chosen)
    _set_modes(module, training=False)
    return learning


def _set_modes(module: nn.Module, *, training: bool) -> None:
    own = [parameter.requires_grad for parameter in module.parameters()]
    # What has no parameters, such as dropout, does as the part that it belongs to.
    module.training = any(own) if own else training
    for part in module.children():
        _set_modes(part, training=module.training)


def groups(module: nn.Module, stage: Stage) -> list[dict[str, object]]:
    """Return the optimiser's parameter groups, one for each learning rate."""
    rates: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            rates.setdefault(_factor(name, stage), []).append(parameter)
    return [
        {"params": parameters, "lr": stage.learning_rate * factor}
        for factor, parameters in sorted(rates.items())
    ]


def _chosen(name: str, patterns: Sequence[str]) -> bool:
    chosen = False
    for pattern in patterns:
        if fnmatchcase(name, pattern.removeprefix("!")):
            chosen = not pattern.startswith("!")
    return chosen


def _factor(name: str, stage: Stage) -> float:
    fitting = [factor for pattern, factor in stage.factors.items() if fnmatchcase(name, pattern)]
    return float(fitting[-1]) if fitting else 1.0


def _tops(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))[:12]
