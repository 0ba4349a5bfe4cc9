"""The metrics that a config enables."""

from __future__ import annotations

from omegaconf import OmegaConf

from genmodels.instruments import chosen


def test_metrics_that_are_null_or_only_settings_are_not_enabled():
    config = OmegaConf.create({"fd": {"n": 3}, "kd": None, "likelihood": {"_target_": "x"}, "wrong": "foo"})
    assert [name for name, node in config.items() if chosen(node)] == [
        "likelihood",
        "wrong",
    ]  # build refuses text
