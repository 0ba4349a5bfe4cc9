"""Energy models against scikit-learn's restricted Boltzmann machine, and against their bare gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from rich.table import Table
from sklearn.neural_network import BernoulliRBM

from genmodels.builder import build
from genmodels.launch import compose
from genmodels.models.base import BaseModel, make_optimizers, train_batch
from genmodels.models.ebm import EBM

BATCHES = 10
Alternating = Callable[[Callable[[], object], Callable[[], object]], tuple[float, float]]


def rbm_training(table: Table, alternating: Alternating) -> None:
    """Batches of persistent contrastive divergence, one sweep each, of as many units as scikit-learn's machine."""
    for hidden, batch in ((256, 128), (500, 128), (500, 20)):
        words = ["model=rbm", "data=binarized_mnist", f"model.hidden={hidden}", "model.sweeps=1"]
        model = build(compose([*words, f"model.chains={batch}"]).model, "model", BaseModel)
        x = (torch.rand(batch, 1, 28, 28) < 0.2).byte()
        model.initialize(x)
        optimizers = make_optimizers(model)
        theirs = BernoulliRBM(n_components=hidden, batch_size=batch, learning_rate=0.01)
        array = x.flatten(1).float().numpy()

        def ours_trains(model: BaseModel = model, x: torch.Tensor = x, optimizers: list = optimizers) -> None:
            for _ in range(BATCHES):
                train_batch(model, x, optimizers)

        def theirs_trains(theirs: BernoulliRBM = theirs, array: object = array) -> None:
            for _ in range(BATCHES):
                theirs.partial_fit(array)

        a, b = (seconds / BATCHES for seconds in alternating(ours_trains, theirs_trains))
        title = f"PCD-1, {hidden} hidden units, batch {batch}, 784 pixels, against scikit-learn's BernoulliRBM"
        table.add_row(title, f"{1e3 * a:.2f} ms", f"{1e3 * b:.2f} ms", f"{b / a:.2f}x faster")


def langevin_step(table: Table, alternating: Alternating) -> None:
    """A Langevin step against the evaluation of the energy's gradient in it."""
    for data in ("mixture", "digits", "mnist"):
        for adjusted in (False, True):
            config = compose(["model=ebm", f"data={data}", f"model.adjusted={str(adjusted).lower()}"])
            model = build(config.model, "model", BaseModel)
            assert isinstance(model, EBM)
            z = torch.randn(config.data.batch_size, model.spec.dims)

            def gradients(model: EBM = model, z: torch.Tensor = z) -> None:
                for _ in range(BATCHES + 1):
                    with torch.enable_grad():
                        y = z.detach().requires_grad_()
                        torch.autograd.grad(model.tilt(y).sum(), y)

            def steps(model: EBM = model, z: torch.Tensor = z) -> None:
                model.run_chains(z, BATCHES)

            a, b = (seconds / (BATCHES + 1) for seconds in alternating(steps, gradients))
            title = f"{'MALA' if adjusted else 'Langevin'} step, {data}, against the gradient of its energy"
            table.add_row(title, f"{1e3 * a:.2f} ms", f"{1e3 * b:.2f} ms", f"{a / b:.3f}x")
