"""What the tests of several flows share."""

import torch

NORMAL = torch.distributions.Normal(0.0, 1.0)


def nats_in_pixels(model, x, base):
    """Log-density of x plus noise on the scale of the integers themselves, its Jacobian taken by autograd."""
    noise = torch.rand(x.shape)

    def code(y):
        return model.flow(y[None] / model.spec.levels)[0][0]

    found = []
    for y in x + noise:
        jacobian = torch.autograd.functional.jacobian(code, y).flatten(1)
        found.append(base.log_prob(code(y)).sum() + jacobian.slogdet().logabsdet)
    return torch.stack(found)


def batch(spec, n=4):
    """Random data ``[n, *shape]``."""
    return (
        torch.randint(spec.levels, (n, *spec.shape), dtype=torch.uint8) if spec.levels else torch.randn(n, *spec.shape)
    )


def awake(module):
    """The module with every parameter away from its initial value."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def jacobians(flow, x):
    """``dz/dx [B, D, D]``: summing over the batch differentiates every example at once."""
    dz = torch.autograd.functional.jacobian(lambda x: flow(x)[0].sum(0), x, vectorize=True)
    return dz.flatten(2).transpose(0, 1)


def train(model, draw, steps, lr=1e-2):
    """Train on batches ``draw()`` by Adam, after the data-dependent initialization."""
    model.initialize(draw())
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(draw()).total.backward()
        optimizer.step()
    return model.eval()
