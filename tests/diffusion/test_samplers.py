"""Samplers against each other, against the exact answer for a Gaussian, and against the diffusers library."""

import pytest
import torch

from genmodels.diffusion import DDIM, Ancestral, DiffusionProcess, DPMSolver, FixedLarge, FixedSmall, linear, log_snr

PROCESS = DiffusionProcess(linear(100))


def guess(x_t, t):
    """Any smooth function of x_t and t will do for x_0."""
    return torch.tanh(x_t - 0.01 * t[:, None]), None


def run(sampler, x, variance=None, process=PROCESS, denoise=guess):
    *_, x0 = sampler.path(process, denoise, variance or FixedSmall(), x)
    return x0


@pytest.mark.parametrize("steps", [1, 2, 7, 99, 100, None])
@pytest.mark.parametrize("kind", [Ancestral, DDIM, DPMSolver])
def test_any_number_of_steps(kind, steps):
    times = kind(steps).times(100)
    assert len(times) == (steps or 100) and times[-1] == 100
    assert all(a < b for a, b in zip([0, *times], times, strict=False))
    states = list(kind(steps).path(PROCESS, guess, FixedSmall(), torch.randn(3, 2)))
    assert len(states) == len(times) and states[-1].isfinite().all()


def test_more_steps_than_trained_are_refused():
    with pytest.raises(ValueError, match="100"):
        Ancestral(101).times(100)
    with pytest.raises(ValueError):
        DDIM(0)


def test_network_gets_the_original_times():
    seen = []

    def spy(x_t, t):
        seen.append(t.unique().item())
        return guess(x_t, t)

    run(DDIM(4), torch.randn(2, 2), denoise=spy)
    assert seen == [100, 67, 34, 1]


def test_ddim_with_eta_one_and_every_step_is_ancestral_sampling():
    torch.manual_seed(0)
    t = torch.arange(1, 101)
    x_t, x0 = torch.randn(100, 2), torch.randn(100, 2)
    mean, std = DDIM(None, eta=1.0).transition(PROCESS, x_t, t, x0, torch.zeros(()))
    log_variance = FixedSmall().log(PROCESS, x_t, t, None)
    ancestral_mean, ancestral_std = Ancestral().transition(PROCESS, x_t, t, x0, log_variance)
    torch.testing.assert_close(mean, ancestral_mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(std[1:], ancestral_std[1:], atol=1e-5, rtol=1e-4)
    assert std[0] == 0  # DDIM has no clipping at t = 1


def test_ddim_with_eta_zero_is_a_function_of_its_noise():
    x = torch.randn(3, 2)
    assert torch.equal(run(DDIM(10), x), run(DDIM(10), x))
    assert not torch.equal(run(DDIM(10, eta=0.5), x), run(DDIM(10, eta=0.5), x))


@pytest.mark.parametrize("sampler", [Ancestral, DDIM, DPMSolver])
def test_autocast_is_for_the_network_alone(sampler):
    x = torch.randn(2, 2)
    torch.manual_seed(0)
    expected = run(sampler(3), x)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):  # the estimate of these tests has no network
        assert torch.equal(run(sampler(3), x), expected)


def test_last_step_is_drawn_or_averaged_as_asked():
    x = torch.randn(3, 2)
    torch.manual_seed(0)
    drawn = run(Ancestral(10), x)
    torch.manual_seed(0)
    mean = run(Ancestral(10, draw_last=False), x)
    std = FixedSmall().log(PROCESS.respaced(Ancestral(10).times(100)), x, torch.ones(3, dtype=torch.long), None)
    assert 0 < (drawn - mean).abs().max() < 5 * (0.5 * std).exp().max()


@pytest.mark.parametrize("sampler", [Ancestral(), Ancestral(25), DDIM(), DPMSolver(25), DPMSolver(eta=1.0)])
def test_exact_denoiser_samples_its_gaussian(sampler):
    """For x_0 ~ N(2, 0.5²) the best estimate of x_0 is linear in x_t, and samples must have these moments."""
    torch.manual_seed(0)

    def best(x_t, t):
        signal, sigma = PROCESS.sqrt_alpha_bar[t][:, None], PROCESS.sigma[t][:, None]
        gain = 0.25 * signal / (0.25 * signal**2 + sigma**2)
        return 2.0 + gain * (x_t - 2.0 * signal), None

    x0 = run(sampler, torch.randn(20_000, 1), FixedLarge(), denoise=best)
    assert x0.mean().item() == pytest.approx(2.0, abs=0.03)
    assert x0.std().item() == pytest.approx(0.5, abs=0.05)


def test_dpm_solver_is_of_second_order():
    """On Gaussian data, ``x_t ~ N(m_t, s_t²)``, the ODE keeps ``(x_t - m_t) / s_t``."""
    process = DiffusionProcess(log_snr(4001, highest=6.0))
    x = torch.randn(50, 1, generator=torch.Generator().manual_seed(0))

    def best(x_t, t):
        signal, sigma = process.sqrt_alpha_bar[t][:, None], process.sigma[t][:, None]
        return 2.0 + 0.25 * signal / (0.25 * signal**2 + sigma**2) * (x_t - 2.0 * signal), None

    def std(t):
        return (0.25 * process.alpha_bar[t] + process.sigma[t] ** 2).sqrt()

    exact = 2.0 * process.sqrt_alpha_bar[1] + std(1) / std(-1) * (x - 2.0 * process.sqrt_alpha_bar[-1])
    errors = {}
    for kind in (DDIM, DPMSolver):
        for steps in (26, 51):
            *_, at_one, _ = kind(steps).path(process, best, FixedSmall(), x)
            errors[kind, steps] = (at_one - exact).abs().mean().item()
    assert errors[DDIM, 26] / errors[DDIM, 51] == pytest.approx(2, abs=0.1)
    assert errors[DPMSolver, 26] / errors[DPMSolver, 51] == pytest.approx(4, abs=0.4)
    assert errors[DPMSolver, 51] < errors[DDIM, 51] / 10


@pytest.mark.parametrize("variance, name", [(FixedSmall(), "fixed_small"), (FixedLarge(), "fixed_large")])
def test_ancestral_sampling_agrees_with_diffusers(variance, name):
    diffusers = pytest.importorskip("diffusers")
    peer = diffusers.DDPMScheduler(
        100, 1e-3, 0.2, "linear", variance_type=name, prediction_type="sample", clip_sample=False
    )
    torch.manual_seed(0)
    ours = theirs = torch.randn(4, 2)
    torch.manual_seed(1)
    ours = run(Ancestral(draw_last=False), ours, variance)
    torch.manual_seed(1)
    for t in peer.timesteps:
        x0, _ = guess(theirs, t.expand(4) + 1)
        theirs = peer.step(x0, t, theirs).prev_sample
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_ddim_agrees_with_diffusers(eta):
    diffusers = pytest.importorskip("diffusers")
    peer = diffusers.DDIMScheduler(100, 1e-3, 0.2, "linear", prediction_type="sample", clip_sample=False)
    peer.set_timesteps(10)  # 90, 80, .. 0, which are 91, 81, .. 1 in the paper's count
    torch.manual_seed(0)
    ours = theirs = torch.randn(4, 2)
    torch.manual_seed(1)
    respaced = PROCESS.respaced(range(1, 92, 10))
    ours = run(DDIM(eta=eta), ours, process=respaced, denoise=lambda x, t: guess(x, respaced.times[t]))
    torch.manual_seed(1)
    for t in peer.timesteps:
        x0, _ = guess(theirs, t.expand(4) + 1)
        theirs = peer.step(x0, t, theirs, eta=eta).prev_sample
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("eta, algorithm", [(0.0, "dpmsolver++"), (1.0, "sde-dpmsolver++")])
def test_dpm_solver_agrees_with_diffusers(eta, algorithm):
    diffusers = pytest.importorskip("diffusers")
    peer = diffusers.DPMSolverMultistepScheduler(
        100, 1e-3, 0.2, "linear", algorithm_type=algorithm, prediction_type="sample", final_sigmas_type="zero"
    )
    peer.set_timesteps(10)
    respaced = PROCESS.respaced([int(t) + 1 for t in peer.timesteps.flip(0)])
    ours = theirs = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    ours = run(DPMSolver(eta=eta), ours, process=respaced, denoise=lambda x, t: guess(x, respaced.times[t]))
    torch.manual_seed(1)
    for t in peer.timesteps:
        x0, _ = guess(theirs, t.expand(4) + 1)
        theirs = peer.step(x0, t, theirs).prev_sample
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
