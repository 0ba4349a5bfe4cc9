"""How many classes a model is told of, which ``conf/data/_base.yaml`` asks for. This module does not import torch."""

from __future__ import annotations

from omegaconf import OmegaConf


def classes_given(labels: object, classes: int | None) -> int | None:
    """The number of ``classes`` that the data have if the model is given ``labels``, else ``None``.

    >>> classes_given(True, 10), classes_given(False, 10)
    (10, None)
    """
    return classes if labels is True else None


OmegaConf.register_new_resolver("genmodels.classes", classes_given, replace=True)
