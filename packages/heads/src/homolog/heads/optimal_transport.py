"""Optimal assignment with a dustbin: Sinkhorn's iterations, once for training and once for speed.

Source: Sarlin et al., "SuperGlue" (CVPR 2020), section 3.2, and Cuturi, "Sinkhorn Distances" (2013).
Every point has mass 1. A dustbin on each side takes what finds no partner: that of side 0 holds as much
mass as side 1 has points, and the other way round. The iteration starts with potentials of zero and
updates rows before columns, so that columns are exact at the end while rows still converge.

`Assignment` goes from descriptors to the log of an assignment, `mutual_matches` from there to matches.
"""

from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from homolog.core.errors import ConfigError, one_of

_NOWHERE = -1e9
"""Score of a cell that padding made: finite, so that no row is empty, and nothing after an exponential."""

_REACH = 15.0
"""By how much potentials may grow before they are absorbed; e^30 times e^-80 is still next to nothing."""

_FLOOR = -80.0
"""Below this an entry is left out: its exponential would be slow, denormal arithmetic."""

_CHECK = 10
"""Iterations between two looks at the convergence."""


def log_optimal_transport(
    scores: Float[Tensor, "B N M"],
    dustbin: Float[Tensor, ""],
    *,
    iterations: int = 100,
    valid0: Bool[Tensor, "B N"] | None = None,
    valid1: Bool[Tensor, "B M"] | None = None,
) -> Float[Tensor, "B N+1 M+1"]:
    """Assign in the log domain: gradients flow to the scores and the dustbin. For training.

    Args:
        scores: how well each pair fits, unbounded.
        dustbin: the score of every pair with a dustbin.
        iterations: of rows and columns; LoFTR takes 3, SuperGlue 100.
        valid0: False where a row is padding; None when there is none.
        valid1: False where a column is padding; None when there is none.

    Returns:
        The log of the assignment; the last row and column are the dustbins. Padding is -inf. A side
        without points leaves the other's whole mass in the dustbin and -inf in the corner; without any
        points at all there is nothing to assign, and the corner is NaN, as in SuperGlue's own code.

    Raises:
        ConfigError: a negative number of iterations.
    """
    _check_iterations(iterations)
    with torch.autocast(scores.device.type, enabled=False):
        problem = _set_up(scores, dustbin, valid0, valid1)
        u = problem.total[:, None].expand_as(problem.log_mass0)
        v = torch.zeros_like(problem.log_mass1)
        for _ in range(iterations):
            u = _or_zero(problem.log_mass0 - (problem.table + v[:, None]).logsumexp(dim=2), problem.valid0)
            v = _or_zero(problem.log_mass1 - (problem.table + u[..., None]).logsumexp(dim=1), problem.valid1)
        return _finished(problem, u, v)


@torch.no_grad()
def optimal_transport(
    scores: Float[Tensor, "B N M"],
    dustbin: Float[Tensor, ""],
    *,
    iterations: int = 100,
    tolerance: float = 1e-6,
    valid0: Bool[Tensor, "B N"] | None = None,
    valid1: Bool[Tensor, "B M"] | None = None,
) -> Float[Tensor, "B N+1 M+1"]:
    """Assign with products of a matrix and a vector instead of exponentials. For inference, without gradient.

    The iterates are those of `log_optimal_transport`. Potentials that grow are absorbed into the matrix
    (Schmitzer, "Stabilized sparse scaling algorithms for entropy regularized transport problems", 2019,
    section 3.3). No score can make it overflow: the dustbin bounds the first step by log(N M), no later
    step is longer than the one before, and the potentials are looked at before they can leave the range.

    Args:
        scores: how well each pair fits, unbounded.
        dustbin: the score of every pair with a dustbin.
        iterations: at most.
        tolerance: stop when no row's mass in the batch is off by more than this fraction of it; 0 never
            stops.
        valid0: False where a row is padding; None when there is none.
        valid1: False where a column is padding; None when there is none.

    Returns:
        As `log_optimal_transport`.

    Raises:
        ConfigError: a negative number of iterations, or a negative tolerance.
    """
    _check_iterations(iterations)
    if tolerance < 0:
        raise ConfigError(f"expected a tolerance of 0 or more, got {tolerance}")
    with torch.autocast(scores.device.type, enabled=False):
        problem = _set_up(scores, dustbin, valid0, valid1)
        if iterations == 0:
            u = problem.total[:, None].expand_as(problem.log_mass0)
            return _finished(problem, u, torch.zeros_like(problem.log_mass1))
        return _finished(problem, *_scaled(problem, iterations, tolerance))


class _Problem(NamedTuple):
    """What both ways start from.

    Attributes:
        table: [B N+1 M+1] scores with the dustbins.
        log_mass0: [B N+1] of the rows, log_mass1: [B M+1] of the columns.
        valid0: [B N+1] or None, valid1: [B M+1] or None; dustbins are valid.
        total: [B] log of the number of points.
        empty: [B] whether there is no point at all.
    """

    table: Tensor
    log_mass0: Tensor
    log_mass1: Tensor
    valid0: Tensor | None
    valid1: Tensor | None
    total: Tensor
    empty: Tensor


def _set_up(scores: Tensor, dustbin: Tensor, valid0: Tensor | None, valid1: Tensor | None) -> _Problem:
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    batch, rows, columns = scores.shape
    table = F.pad(scores, (0, 1, 0, 1))
    table[:, rows] = table[:, :, columns] = dustbin.to(scores.dtype)
    valid0, valid1 = _with_dustbin(valid0), _with_dustbin(valid1)
    table = _without_padding(table, valid0, valid1, _NOWHERE)
    count0 = _count(valid0, rows, batch, scores)
    count1 = _count(valid1, columns, batch, scores)
    total = count0 + count1
    # Nothing to assign still needs a finite mass, or the gradient of the others in the batch is lost.
    filler = (total == 0).to(scores)
    return _Problem(
        table,
        torch.cat((scores.new_zeros(batch, rows), (count1 + filler).log()[:, None]), dim=1),
        torch.cat((scores.new_zeros(batch, columns), (count0 + filler).log()[:, None]), dim=1),
        valid0,
        valid1,
        (total + filler).log(),
        total == 0,
    )


def _count(valid: Tensor | None, length: int, batch: int, like: Tensor) -> Tensor:
    if valid is None:
        return like.new_full((batch,), float(length))
    return valid.sum(dim=1).to(like) - 1


def _scaled(problem: _Problem, iterations: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """Iterate on exponentials, and return the potentials."""
    # With the largest entry of each row at one no row vanishes, nor any column: the dustbin is in all.
    log_u, log_v = -problem.table.amax(dim=2), torch.zeros_like(problem.log_mass1)
    mass0, mass1 = (
        _or_zero(mass.exp(), valid)
        for mass, valid in ((problem.log_mass0, problem.valid0), (problem.log_mass1, problem.valid1))
    )
    kernel = _kernel(problem.table, log_u, log_v)
    a, b = torch.ones_like(mass0), torch.ones_like(mass1)
    done, block = 0, 1
    while done < iterations:
        block = min(block, iterations - done)
        before = a
        for _ in range(block):
            before = a
            a = _divided(mass0, _product(kernel, b))
            b = _divided(mass1, _product(kernel.transpose(1, 2), a))
        done += block
        step = _largest(a, before) if done > 1 else torch.inf
        if step <= tolerance:
            break
        reach = max(_largest(a), _largest(b))
        if reach > _REACH:
            log_u, log_v = log_u + _log(a), log_v + _log(b)
            kernel = _kernel(problem.table, log_u, log_v)
            a, b = torch.ones_like(a), torch.ones_like(b)
        block = int(max(1, min(_CHECK, _REACH / step))) if step else _CHECK
    return log_u + a.log(), log_v + b.log()


def _kernel(table: Tensor, log_u: Tensor, log_v: Tensor) -> Tensor:
    kernel = table + log_u[..., None]
    kernel += log_v[:, None]
    return F.threshold(kernel, _FLOOR, -torch.inf, inplace=True).exp_()


def _product(kernel: Tensor, factor: Tensor) -> Tensor:
    # For one pair a product with a vector; that of a batch takes a CPU a third longer.
    if len(kernel) == 1:
        return torch.mv(kernel[0], factor[0])[None]
    return (kernel @ factor[..., None])[..., 0]


def _divided(mass: Tensor, by: Tensor) -> Tensor:
    # Padding has neither mass nor anything to divide it by.
    return mass / by.clamp_min(torch.finfo(by.dtype).tiny)


def _largest(factor: Tensor, before: Tensor | None = None) -> float:
    """Return the largest change of a potential, or the largest potential; those of no mass do not count."""
    change = factor.log() if before is None else factor.log() - before.log()
    return float(change.abs().nan_to_num(nan=0, posinf=0).amax())


def _log(factor: Tensor) -> Tensor:
    return factor.log().nan_to_num(neginf=0)


def _finished(problem: _Problem, u: Tensor, v: Tensor) -> Tensor:
    log_assignment = problem.table + u[..., None]
    log_assignment += v[:, None]
    log_assignment = _without_padding(log_assignment, problem.valid0, problem.valid1, -torch.inf)
    corner = log_assignment[:, -1, -1]
    log_assignment[:, -1, -1] = corner.masked_fill(problem.empty, torch.nan)
    return log_assignment


def _or_zero(values: Tensor, valid: Tensor | None) -> Tensor:
    return values if valid is None else values.masked_fill(~valid, 0)


def _without_padding(table: Tensor, valid0: Tensor | None, valid1: Tensor | None, fill: float) -> Tensor:
    if valid0 is not None:
        table = table.masked_fill(~valid0[..., None], fill)
    return table if valid1 is None else table.masked_fill(~valid1[:, None], fill)


def _with_dustbin(valid: Tensor | None) -> Tensor | None:
    return None if valid is None else F.pad(valid, (0, 1), value=True)


def _check_iterations(iterations: int) -> None:
    if iterations < 0:
        raise ConfigError(f"expected 0 iterations or more, got {iterations}")


Method = Literal["sinkhorn", "double_softmax"]
"""How scores become an assignment: optimal transport with a dustbin, or LightGlue's double softmax."""


class MutualMatches(NamedTuple):
    """For each point of image 0 of B pairs, its partner.

    Attributes:
        partner: [B N] the place of the point of image 1, or -1 for none.
        probability: [B N] of that pair; 0 where the best pair of the row is not that of its column.
            It can be above 0 without a partner: the pair is then mutual, but not above the threshold.
    """

    partner: Int[Tensor, "B N"]
    probability: Float[Tensor, "B N"]


def mutual_matches(
    log_assignment: Float[Tensor, "B rows columns"], *, match_threshold: float
) -> MutualMatches:
    """Read off the pairs that are most probable both in their row and in their column.

    Args:
        log_assignment: [B N+1 M+1] with the dustbins as its last row and column, which take no part.
        match_threshold: keep pairs of a probability above this.

    Returns:
        The partners; of equal probabilities the one of lowest index is taken, both ways.
    """
    inner = log_assignment[:, :-1, :-1]
    batch, rows, columns = inner.shape
    if not rows or not columns:
        return MutualMatches(torch.full((batch, rows), -1, device=inner.device), inner.new_zeros(batch, rows))
    best, partner = inner.max(dim=2)
    back = inner.argmax(dim=1)
    mutual = back.gather(1, partner) == torch.arange(rows, device=inner.device)
    probability = torch.where(mutual, best.exp(), 0)
    return MutualMatches(torch.where(mutual & (probability > match_threshold), partner, -1), probability)


def double_softmax(
    scores: Float[Tensor, "B N M"],
    matchability0: Float[Tensor, "B N"],
    matchability1: Float[Tensor, "B M"],
    *,
    valid0: Bool[Tensor, "B N"] | None = None,
    valid1: Bool[Tensor, "B M"] | None = None,
) -> Float[Tensor, "B N+1 M+1"]:
    """Assign without iterating: softmax over rows times softmax over columns times both matchabilities.

    Source: Lindenberger et al., "LightGlue" (ICCV 2023), section 3.2, equations 8 and 9.

    Args:
        scores: how well each pair fits, unbounded.
        matchability0: logit that a point of image 0 has a partner.
        matchability1: logit that a point of image 1 has a partner.
        valid0: False where a row is padding; None when there is none.
        valid1: False where a column is padding; None when there is none.

    Returns:
        The log of the assignment; the last row and column hold the log probability that a point has no partner. The
        corner is 0, as in LightGlue's own code, and padding is -inf.
    """
    with torch.autocast(scores.device.type, enabled=False):
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        # Finite, so that a row of padding has a softmax, and one without columns has a gradient.
        scores = _without_padding(scores, valid0, valid1, _NOWHERE)
        z0, z1 = matchability0.to(scores), matchability1.to(scores)
        pairs = scores.log_softmax(dim=2) + scores.log_softmax(dim=1)
        pairs = pairs + F.logsigmoid(z0)[..., None] + F.logsigmoid(z1)[:, None]
        whole = F.pad(pairs, (0, 1, 0, 1))
        whole[:, :-1, -1] = F.logsigmoid(-z0)
        whole[:, -1, :-1] = F.logsigmoid(-z1)
        return _without_padding(whole, _with_dustbin(valid0), _with_dustbin(valid1), -torch.inf)


class Assignment(nn.Module):
    """The last part of a learned matcher: from descriptors that know both images to the log of an assignment.

    The projection of the descriptors before their products is SuperGlue's (equation 7); OmniGlue's paper
    only mentions the similarity of the descriptors. The same holds for the division by the root of
    their length. Both are on by default, as in SuperGlue's code, and can be switched off.
    """

    def __init__(
        self,
        width: int,
        *,
        method: Method = "sinkhorn",
        iterations: int = 100,
        projection: bool = True,
        scaled: bool = True,
    ) -> None:
        """Build the parameters.

        Args:
            width: length of the descriptors.
            method: how scores become an assignment.
            iterations: of Sinkhorn.
            projection: pass the descriptors through one more linear layer.
            scaled: divide the products by the root of the length.

        Raises:
            ConfigError: an unknown method, or a negative number of iterations.
        """
        super().__init__()
        one_of("assignment", method, get_args(Method))
        _check_iterations(iterations)
        self.method, self.iterations, self.scaled = method, iterations, scaled
        self.projection = nn.Linear(width, width) if projection else None
        # The score of a pair with a dustbin; SuperGlue starts at 1.
        self.dustbin = nn.Parameter(torch.tensor(1.0)) if method == "sinkhorn" else None
        self.matchability = nn.Linear(width, 1) if method == "double_softmax" else None

    def forward(
        self,
        descriptor0: Float[Tensor, "B N C"],
        descriptor1: Float[Tensor, "B M C"],
        *,
        valid0: Bool[Tensor, "B N"] | None = None,
        valid1: Bool[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, "B N+1 M+1"]:
        """Return the log of the assignment of all pairs; padding is -inf.

        With gradients to compute, the transport runs in the log domain, else in the faster one.
        """
        scores = self._scores(descriptor0, descriptor1)
        if self.matchability is not None:
            z0, z1 = (self.matchability(each)[..., 0] for each in (descriptor0, descriptor1))
            return double_softmax(scores, z0, z1, valid0=valid0, valid1=valid1)
        assert self.dustbin is not None
        learns = torch.is_grad_enabled() and (scores.requires_grad or self.dustbin.requires_grad)
        transport = log_optimal_transport if learns else optimal_transport
        return transport(scores, self.dustbin, iterations=self.iterations, valid0=valid0, valid1=valid1)

    def _scores(self, descriptor0: Tensor, descriptor1: Tensor) -> Tensor:
        if self.projection is not None:
            descriptor0, descriptor1 = self.projection(descriptor0), self.projection(descriptor1)
        with torch.autocast(descriptor0.device.type, enabled=False):
            wide = torch.promote_types(descriptor0.dtype, torch.float32)
            if self.scaled:
                descriptor0 = descriptor0 * descriptor0.shape[-1] ** -0.5
            return descriptor0.to(wide) @ descriptor1.to(wide).transpose(1, 2)
