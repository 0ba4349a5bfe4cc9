"""Lightning's ModelCheckpoint, for files that come from anyone."""

from __future__ import annotations

import os
from typing import Any

from lightning.pytorch import callbacks
from typing_extensions import override

PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


class ModelCheckpoint(callbacks.ModelCheckpoint):
    """Lightning's ModelCheckpoint, which deletes no files but those in its folder.

    It replaces the files that it saved before, whose paths are in the checkpoint from which training continues. That
    checkpoint may be a stranger's.
    """

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        known = {path: score for path, score in state_dict.get("best_k_models", {}).items() if self.holds(path)}
        kept = {name: path if self.holds(path) else "" for name in PATHS if (path := state_dict.get(name)) is not None}
        super().load_state_dict({**state_dict, **kept, "best_k_models": known})

    def holds(self, path: Any) -> bool:
        """Whether ``path`` is that of a file in this callback's folder, wherever links and dots lead."""
        folder = os.path.realpath(str(self.dirpath))
        return isinstance(path, str) and os.path.isfile(path) and os.path.dirname(os.path.realpath(path)) == folder
