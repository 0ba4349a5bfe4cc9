"""AIS of every decoder, whose bound agrees with that of importance sampling."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from conformance.kinds import KINDS, MODELS, examples, model_on

from genmodels.core.abilities import DecodesLatent, HasLikelihood, HasObservation
from genmodels.metrics import AISEvaluation, SampleSets, Subject, noise_width


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["integer pairs", "points", "gray images"], ids=lambda kind: kind.replace(" ", "-"))
@pytest.mark.parametrize("name", MODELS)
def test_decoders_are_annealed_and_others_refused(name, kind, tmp_path, monkeypatch):
    spec = KINDS[kind]
    model = model_on(name, spec).eval()
    splits = {"val": examples(spec, 40, seed=1), "test": examples(spec, 12, seed=2)}
    data = SimpleNamespace(split=splits.__getitem__, name="toy", root=tmp_path)
    evaluation = AISEvaluation(images=12, temperatures=60, chains=4, simulated=8, batch_size=12)
    if spec.is_image:  # a width is chosen, and which one is tested on linear decoders
        monkeypatch.setattr(noise_width, "SETTINGS", replace(noise_width.SETTINGS, temperatures=50))
    if not isinstance(model, DecodesLatent):
        assert "no decoder p(x given z)" in evaluation.unsupported_reason(model, data)
        return
    assert evaluation.unsupported_reason(model, data) is None
    with torch.no_grad():
        (score,) = evaluation.measure(Subject(model, data, SampleSets(model, 0), 0, tmp_path))
        assert score.protocol["gap"] < 0.5 and score.n == 12
        if isinstance(model, HasObservation) and isinstance(model, HasLikelihood):
            assert score.name in ("ais_bits_per_dim", "ais_nats")
            bound = model.log_likelihood(splits["test"], samples=3000).nats.mean().item()
            nats = score.value if not spec.is_discrete else -score.value * spec.dims * 0.6931472
            assert nats == pytest.approx(bound, abs=0.15)
        else:
            assert score.name.startswith("ais_gaussian_") and score.protocol["sigma"] > 0
