"""Energy models against scikit-learn's restricted Boltzmann machine, and against what none can leave out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from rich.table import Table
from sklearn.neural_network import BernoulliRBM
from torch import Tensor

from genmodels.builder import build
from genmodels.launch import compose
from genmodels.models.base import BaseModel, make_optimizers, train_batch
from genmodels.models.ebm import EBM

BATCHES = 10
Alternating = Callable[[Callable[[], object], Callable[[], object]], tuple[float, float]]


def rbm_training(table: Table, alternating: Alternating) -> None:
    """Batches of persistent contrastive divergence, one sweep each, of as many units as scikit-learn's machine.

    Its ``partial_fit`` computes in float64 whatever it is given, and its ``fit`` in the precision of the data, by a
    method for one batch that both call.
    """
    for hidden, batch in ((256, 128), (500, 128), (500, 20)):
        words = ["model=rbm", "data=binarized_mnist", f"model.hidden={hidden}", "model.sweeps=1"]
        model = build(compose([*words, f"model.chains={batch}"]).model, "model", BaseModel)
        x = (torch.rand(batch, 1, 28, 28) < 0.2).byte()
        model.initialize(x)
        optimizers = make_optimizers(model)
        theirs = BernoulliRBM(n_components=hidden, batch_size=batch, learning_rate=0.01)
        array = x.flatten(1).float().numpy()
        in_float32, numbers = BernoulliRBM(n_components=hidden, batch_size=batch, n_iter=1), np.random.RandomState(0)
        in_float32.fit(array)

        def ours_trains(model: BaseModel = model, x: Tensor = x, optimizers: list = optimizers) -> None:
            for _ in range(BATCHES):
                train_batch(model, x, optimizers)

        def theirs_trains(theirs: BernoulliRBM = theirs, array: object = array) -> None:
            for _ in range(BATCHES):
                theirs.partial_fit(array)

        def theirs_fits(theirs: BernoulliRBM = in_float32, array: object = array, numbers: object = numbers) -> None:
            for _ in range(BATCHES):
                theirs._fit(array, numbers)

        v, h, weight = (torch.rand(shape) for shape in ((batch, 784), (batch, hidden), (784, hidden)))

        def products(v: Tensor = v, h: Tensor = h, weight: Tensor = weight) -> None:
            for _ in range(BATCHES):
                for _ in ("data", "chains"):
                    _ = v @ weight, v.T @ h  # hidden units, and the gradient
                _ = h @ weight.T  # visible units of the chains

        for what, least in (("PCD-1", ours_trains), ("the five matrix products of PCD-1", products)):
            for precision, peer in (("float64", theirs_trains), ("float32", theirs_fits)):
                a, b = (seconds / BATCHES for seconds in alternating(least, peer))
                title = f"{what}, {hidden} hidden units, batch {batch}, 784 pixels, against BernoulliRBM in {precision}"
                table.add_row(title, f"{1e3 * a:.2f} ms", f"{1e3 * b:.2f} ms", f"{b / a:.2f}x faster")


def langevin_step(table: Table, alternating: Alternating) -> None:
    """A Langevin step, and the draw of its noise alone, against the evaluation of the log-density's gradient in it."""
    for data in ("mixture", "digits", "mnist"):
        for adjusted in (False, True):
            config = compose(["model=ebm", f"data={data}", f"model.adjusted={str(adjusted).lower()}"])
            model = build(config.model, "model", BaseModel)
            assert isinstance(model, EBM)
            z = torch.randn(config.data.batch_size, model.spec.dims)

            def gradients(model: EBM = model, z: Tensor = z) -> None:
                for _ in range(BATCHES + 1):
                    with torch.enable_grad():
                        y = z.detach().requires_grad_()
                        (gradient,) = torch.autograd.grad(model.tilt(y).sum(), y)
                    gradient.add_(model.reference(z)[1])

            def noise(z: Tensor = z) -> None:
                for _ in range(BATCHES + 1):
                    torch.randn_like(z)

            def steps(model: EBM = model, z: Tensor = z) -> None:
                model.run_chains(z, BATCHES)

            for what, part in ((f"{'MALA' if adjusted else 'Langevin'} step", steps), ("noise of a step", noise)):
                a, b = (seconds / (BATCHES + 1) for seconds in alternating(part, gradients))
                title = f"{what}, {data}, against the gradient of its log-density"
                table.add_row(title, f"{1e3 * a:.2f} ms", f"{1e3 * b:.2f} ms", f"{a / b:.3f}x")
