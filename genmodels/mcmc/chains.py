r"""Finite Markov chains as matrices: where they go, how fast, and how to make one that goes to a given law.

A chain on n states is a matrix T ``[n, n]`` with :math:`T_{ij} = P(j \to i)`, so that its *columns* sum to one and a
law p ``[n]`` becomes :math:`Tp` in one step and :math:`T^n p` in n steps, without loss of probability.

* A law with :math:`p = Tp` is stationary. There is exactly one if some state can be reached from every state (other
  states are left for good). It is the limit of :math:`T^n p` from any start if some state can be reached from every
  state in the same number of steps; a chain that alternates between two halves has no limit.
* The distance to the limit shrinks like :math:`|\lambda_2|^n`, where λ₂ is the eigenvalue of second largest modulus.
* Detailed balance, :math:`p_j T_{ij} = p_i T_{ji}` for all i and j, makes p stationary (sum over j). The converse is
  false: a chain that goes around a cycle is stationary in the uniform law.
* A proposal D whose moves are accepted with probability :math:`\min(1, p_i D_{ji} / p_j D_{ij})` is in detailed balance
  with p, whatever D and p (Metropolis et al. 1953, Hastings 1970). The factors D cancel if D is symmetric.

A textbook of it is Levin & Peres, *Markov chains and mixing times*, 2nd ed. 2017, whose matrices are the transposes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genmodels.errors import ensure, ensure_counts, ensure_numbers

MOST_STEPS = 2**40  # of a power, which doubles rounding errors with the steps


def ensure_stochastic(chain: Tensor) -> None:
    """Check that ``chain [n, n]`` is a column-stochastic matrix up to rounding.

    Raises:
        ValueError: saying what is wrong with it.
    """
    square = chain.dim() == 2 and chain.shape[0] == chain.shape[1] > 0 and chain.is_floating_point()
    ensure(square, f"chain must be a square matrix of floats, got {chain.dtype} {[*chain.shape]}.")
    tolerance = 16 * len(chain) * torch.finfo(chain.dtype).eps
    ensure(bool((chain >= -tolerance).all()), "chain must hold probabilities, got a negative number or NaN.")
    columns, rows = ((chain.sum(dim) - 1).abs() for dim in (0, 1))
    hint = " Its rows do: transpose it." if bool((rows <= tolerance).all()) else ""
    worst = int(columns.argmax())
    total = f"column {worst} sums to {float(chain[:, worst].sum()):g}"
    ensure(float(columns[worst]) <= tolerance, f"chain's columns must sum to 1, {total}.{hint}")


def common_state(step: Tensor, steps: int) -> int | None:
    """A state that all states can reach by moves ``step [n, n] > 0`` in ``steps``, rounded up to a power of two."""
    reached, taken = step > 0, 1
    while taken < steps:
        reached, taken = (reached.double() @ reached.double()) > 0, 2 * taken
    found = reached.all(dim=1).nonzero()
    return int(found[0]) if len(found) else None


def converges(chain: Tensor) -> bool:
    """Whether ``T^n p`` of ``chain [n, n]`` has the same limit from every p.

    It asks which entries of powers of T are positive, exactly, and is free of rounding: within ``n²`` steps a chain
    with a limit has a state that can be reached from all states at once (after Wielandt 1950).

    Raises:
        ValueError: if the matrix is not column-stochastic.

    >>> swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> converges(swap), converges(0.5 * swap + 0.5 * torch.eye(2))
    (False, True)
    """
    ensure_stochastic(chain)
    return common_state(chain, 2 * len(chain) ** 2) is not None


def stationary(chain: Tensor) -> Tensor:
    r"""The law p ``[n]`` with ``p = Tp``, of a ``chain [n, n]`` that has only one.

    States are removed one after the other: a chain that is watched only while it is in the first k states is again a
    chain, with :math:`T_{ij} + T_{ik} T_{kj} / \sum_{l<k} T_{lk}`. Nothing is subtracted, so that even the smallest
    probabilities are right to the last digits, however slow the chain (Grassmann, Taksar & Heyman 1985,
    https://doi.org/10.1287/opre.33.5.1107). Periodic chains have a stationary law, too.

    Raises:
        ValueError: if the matrix is not column-stochastic, or no state can be reached from every state.

    >>> stationary(torch.tensor([[0.9, 0.3], [0.1, 0.7]]))
    tensor([0.7500, 0.2500])
    """
    ensure_stochastic(chain)
    n = len(chain)
    first = common_state(chain + torch.eye(n).to(chain), n)  # with leave to wait, what can be reached is after n steps
    ensure(first is not None, "chain has several stationary laws: no state can be reached from every state.")
    order = torch.tensor([first, *(state for state in range(n) if state != first)], device=chain.device)
    watched = chain[order][:, order]
    for k in range(n - 1, 0, -1):
        watched[k, :k] /= watched[:k, k].sum()
        watched[:k, :k] += torch.outer(watched[:k, k], watched[k, :k])
    law = torch.ones_like(watched[0])
    for k in range(1, n):  # what flows into state k from those before it is what flows out to them
        law[k] = watched[k, :k] @ law[:k]
    return torch.empty_like(law).index_copy_(0, order, law / law.sum())


def power(chain: Tensor, law: Tensor, steps: int) -> Tensor:
    """``T^n p``, the laws ``[..., n]`` after ``steps`` steps from each of the laws ``[..., n]``.

    Differences of laws and eigenvectors serve as well, since nothing is normalized.

    Raises:
        ValueError: if the matrix is not column-stochastic, or the number of steps is negative.

    >>> power(torch.tensor([[0.9, 0.3], [0.1, 0.7]]), torch.tensor([1.0, 0.0]), 2)
    tensor([0.8400, 0.1600])
    """
    ensure_stochastic(chain)
    ensure_counts(0, MOST_STEPS, steps=steps)
    return law @ torch.linalg.matrix_power(chain, steps).T


def gap(chain: Tensor) -> float:
    r"""Spectral gap ``1 - |λ₂|`` of ``chain [n, n]``: the distance to the limit shrinks by ``|λ₂|`` a step.

    It is zero, up to rounding, for a chain without a limit: a periodic one has several eigenvalues of modulus one, one
    with several stationary laws has the eigenvalue one several times.

    Raises:
        ValueError: if the matrix is not column-stochastic.
    """
    ensure_stochastic(chain)
    moduli = torch.linalg.eigvals(chain).abs().sort(descending=True).values
    return max(0.0, 1 - float(moduli[1])) if len(moduli) > 1 else 1.0


def total_variation(p: Tensor, q: Tensor) -> Tensor:
    """``1/2 sum |p - q| [...]`` between laws ``[..., n]``: how much the probability of any event can differ.

    >>> total_variation(torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1]))
    tensor(0.4000)
    """
    return 0.5 * (p - q).abs().sum(-1)


def mixing_time(chain: Tensor, epsilon: float = 0.25) -> int:
    """The fewest steps after which ``chain [n, n]`` is within ``epsilon`` of its limit from whatever start.

    The distance is :func:`total_variation`, and never grows. A power of the matrix is doubled until it is near enough;
    what was too much is then taken back, by halves.

    Raises:
        ValueError: if the matrix is not column-stochastic, the chain has no limit, ``epsilon`` is not in (0, 1), or
            2^40 steps are too few, where rounding begins to be felt.

    >>> mixing_time(torch.tensor([[0.9, 0.3], [0.1, 0.7]]))
    3
    """
    ensure_numbers(above=0, below=1, epsilon=epsilon)
    ensure(converges(chain), "chain has no limit: it alternates, or its limit depends on the start.")
    limit = stationary(chain)

    def near(power: Tensor) -> bool:
        return float(total_variation(power.T, limit).max()) <= epsilon

    steps, passed = 0, torch.eye(len(chain)).to(chain)
    if near(passed):
        return 0
    powers = [chain]
    while not near(powers[-1]):
        ensure(2 ** len(powers) <= MOST_STEPS, f"chain is farther than {epsilon:g} from its limit after 2^40 steps.")
        powers.append(powers[-1] @ powers[-1])
    for exponent in reversed(range(len(powers) - 1)):  # the most steps after which it is not yet near
        farther = powers[exponent] @ passed
        if not near(farther):
            steps, passed = steps + 2**exponent, farther
    return steps + 1


def imbalance(chain: Tensor, law: Tensor) -> float:
    """The largest ``|p_j T_ij - p_i T_ji|``: zero if ``chain [n, n]`` is in detailed balance with ``law [n]``.

    Raises:
        ValueError: if the matrix is not column-stochastic.
    """
    ensure_stochastic(chain)
    flow = chain * law  # from j to i, in row i and column j
    return float((flow - flow.T).abs().max())


def metropolis_matrix(proposal: Tensor, law: Tensor, hastings: bool = True) -> Tensor:
    r"""The chain ``[n, n]`` that proposes by D and accepts, in detailed balance with ``law [n]``.

    From j it moves to i with probability :math:`D_{ij} \min(1, p_i D_{ji} / p_j D_{ij})`, and stays where it is
    otherwise.

    Args:
        proposal: D, column-stochastic ``[n, n]``.
        law: p, positive; it need not be normalized.
        hastings: with D in the probability of acceptance (Hastings 1970). Without, as in Metropolis et al. (1953), it
            is :math:`\min(1, p_i / p_j)`, which is right for symmetric D alone.

    Raises:
        ValueError: if the matrix is not column-stochastic, or the law not positive.

    >>> metropolis_matrix(torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([3.0, 1.0]))
    tensor([[0.8333, 0.5000],
            [0.1667, 0.5000]])
    """
    ensure_stochastic(proposal)
    ensure(law.shape == proposal.shape[:1], f"law must be [n] = [{len(proposal)}], got {[*law.shape]}.")
    ensure(bool((law > 0).all() and law.isfinite().all()), "law must be positive and finite.")
    if hastings:
        flow = proposal * law
        moves = torch.minimum(flow, flow.T) / law
    else:
        moves = proposal * (law[:, None] / law).clamp(max=1)
    moves.fill_diagonal_(0)
    return moves + torch.diag((1 - moves.sum(0)).clamp(min=0))
