"""The forward process against Bayes' rule, composed kernels and published figures."""

import math

import pytest
import torch

from genmodels.diffusion import DiffusionProcess, cosine, linear, log_snr, random_times

SCHEDULES = [linear(1000), linear(50), linear(5), cosine(1000), cosine(20)]


@pytest.mark.parametrize("betas", SCHEDULES)
def test_schedule_forgets_the_data(betas):
    alpha_bar = DiffusionProcess(betas).alpha_bar64
    assert (alpha_bar.diff() < 0).all() and alpha_bar[0] == 1
    assert 0 < alpha_bar[-1] < 1e-3


def test_linear_schedule_is_the_papers():
    betas = linear(1000)
    assert betas[0].item() == pytest.approx(1e-4) and betas[-1].item() == pytest.approx(0.02)
    assert torch.cumprod(1 - betas, 0)[-1].item() == pytest.approx(4.036e-5, rel=1e-3)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_log_snr_starts_with_noise_of_a_sixth_of_the_spacing_of_levels(levels):
    process = DiffusionProcess(log_snr(20, levels=levels))
    noise = process.sigma[1] / process.sqrt_alpha_bar[1]  # in units of the data
    torch.testing.assert_close(noise, torch.tensor(2 / (levels - 1) / 6), atol=0, rtol=1e-4)


def test_log_snr_falls_linearly():
    alpha_bar = DiffusionProcess(log_snr(50, highest=12.0, lowest=-5.0)).alpha_bar64[1:]
    torch.testing.assert_close(torch.logit(alpha_bar), torch.linspace(12, -5, 50, dtype=torch.float64))


@pytest.mark.parametrize(
    "make",
    [lambda: linear(1), lambda: cosine(0), lambda: linear(10, start=0.5, end=0.1), lambda: log_snr(10, 1.0, 1.0)],
)
def test_bad_schedules_are_refused(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("betas", SCHEDULES)
def test_diffuse_is_the_composition_of_single_steps(betas):
    process = DiffusionProcess(betas)
    mean, variance = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    for step in range(1, process.steps + 1):
        t = torch.tensor([step])
        mean = process.forward_mean(mean, t)
        variance = (1 - process.beta[t]) * variance + process.beta[t]
        ends = [process.diffuse(torch.ones(1, 1), t, torch.full((1, 1), eps)) for eps in (0.0, 1.0)]
        torch.testing.assert_close(ends[0], mean.float(), atol=1e-5, rtol=1e-3)
        torch.testing.assert_close((ends[1] - ends[0]).square(), variance.float(), atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("step", [2, 3, 12, 20])
@pytest.mark.parametrize("betas", [linear(20), cosine(20)])
def test_posterior_is_bayes_rule_on_a_grid(betas, step):
    process, t = DiffusionProcess(betas), torch.tensor([step])
    x0, x_t = 0.7, -0.4
    alpha_bar, beta = process.alpha_bar64[step - 1], betas[step - 1]
    grid = torch.linspace(-8, 8, 400_001, dtype=torch.float64)  # x_{t-1}
    log_joint = -((grid - alpha_bar.sqrt() * x0) ** 2) / (2 * (1 - alpha_bar))
    log_joint = log_joint - (x_t - (1 - beta).sqrt() * grid) ** 2 / (2 * beta)
    weights = torch.softmax(log_joint, 0)
    mean = (weights * grid).sum()
    variance = (weights * (grid - mean) ** 2).sum()
    computed = process.posterior_mean(torch.tensor([[x0]]), torch.tensor([[x_t]]), t)
    assert computed.item() == pytest.approx(mean.item(), abs=1e-5)
    assert process.log_beta_tilde[step].exp().item() == pytest.approx(variance.item(), rel=1e-4)


def test_first_posterior_variance_is_clipped_to_the_second():
    process = DiffusionProcess(linear(100))
    assert process.log_beta_tilde[1] == process.log_beta_tilde[2]
    x0, x_1, t = torch.tensor([[0.3]]), torch.tensor([[0.9]]), torch.tensor([1])
    torch.testing.assert_close(process.posterior_mean(x0, x_1, t), x0)


def test_prior_divergence_of_images_is_a_hundred_thousandth_of_a_bit():
    images = torch.full((4, 1, 28, 28), -1.0)  # MNIST is mostly background
    nats = DiffusionProcess(linear(1000)).prior_divergence(images)
    assert nats.shape == (4,)
    bits = nats / (784 * math.log(2))
    assert (bits > 1e-5).all() and (bits < 5e-5).all()


def test_prior_divergence_is_the_gaussian_formula():
    process, x0 = DiffusionProcess(torch.full((3,), 0.3)), torch.tensor([[2.0, -1.0]])
    q = torch.distributions.Normal(process.sqrt_alpha_bar[3] * x0, process.sigma[3])
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(process.prior_divergence(x0), expected)


def test_respaced_process_keeps_the_marginals_and_the_times():
    process = DiffusionProcess(cosine(100))
    respaced = process.respaced([1, 40, 41, 100])
    assert respaced.times.tolist() == [0, 1, 40, 41, 100]
    torch.testing.assert_close(respaced.alpha_bar, process.alpha_bar[[0, 1, 40, 41, 100]])


def test_random_times_follow_their_distribution_and_are_stratified():
    torch.manual_seed(0)
    process = DiffusionProcess(linear(5))
    for probability, weights in ((process.uniform, torch.ones(5)), (process.reciprocal, 1 / torch.arange(1, 6))):
        expected = (weights / weights.sum()).double()
        times = torch.stack([random_times(10, probability) for _ in range(4000)])
        frequency = torch.stack([(times == t).double().mean(0) for t in range(1, 6)])  # [5, 10]
        assert (frequency - expected[:, None]).abs().max() < 0.03  # each example alone
        counts = torch.stack([(times == t).sum(1) for t in range(1, 6)])
        assert (counts - 10 * expected[:, None]).abs().max() <= 1  # each batch


def test_cosine_times_have_the_noise_levels_of_the_cosine_schedule():
    process = DiffusionProcess(cosine(50, offset=0.0))
    torch.testing.assert_close(process.cosine[1:-1], process.uniform[1:-1], atol=0, rtol=2e-3)  # β_T is clipped
    process = DiffusionProcess(log_snr(1000, highest=13.0, lowest=-5.0))
    ratio = torch.logit(process.alpha_bar64[1:])  # falls evenly, so that probabilities are a density of it
    density = 1 / torch.cosh(ratio / 2)  # of log cot² φ for an even angle φ
    relative = process.cosine[2:].double() / process.cosine[500] / (density[1:] / density[499])
    torch.testing.assert_close(relative, torch.ones(999, dtype=torch.float64), atol=0.02, rtol=0)
    torch.testing.assert_close(process.cosine.sum(), torch.tensor(1.0))


def test_coefficients_are_derived_and_never_saved():
    assert not DiffusionProcess(linear(10)).state_dict()
