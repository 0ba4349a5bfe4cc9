"""Lightning's loop over training batches, without what it spends on hooks that nothing implements.

For a small network Lightning's bookkeeping takes about as long as the arithmetic: in each batch it calls five hooks of
every callback, of the model and of the strategy, whether they do something or not, and surrounds each call by a context
of the profiler and by two assignments to the model, which ``nn.Module`` makes expensive (with thirteen callbacks, some
0.5 ms); it inspects the signature of ``training_step``, looks through the values logged, and routes ``backward`` and
``step`` through strategy, precision and closures, which have hooks of their own (some 0.2 ms).

:class:`EpochLoop` calls the hooks that are implemented, in the same order and with the same arguments. Wherever there
is more to do than that, with a profiler, several processes, a scaled loss, automatic optimization, or hooks of the
model, it is Lightning's loop unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loops.fetchers import _DataFetcher, _DataLoaderIterDataFetcher
from lightning.pytorch.loops.optimization.manual import ManualResult
from lightning.pytorch.loops.progress import _Progress
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.optim import Optimizer
from typing_extensions import override

BATCH_HOOKS = ("on_train_batch_start", "on_train_batch_end")
STEP_HOOKS = ("on_before_backward", "on_after_backward", "on_before_optimizer_step")
MOVES = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
EMPTY = ("lightning.pytorch.callbacks.callback", "lightning.pytorch.core.hooks", "lightning.pytorch.core.module")


class EpochLoop(_TrainingEpochLoop):
    """Iterates over the batches of one epoch.

    Args:
        trainer: the trainer whose loop it replaces, see :func:`use_epoch_loop`.
    """

    def __init__(self, trainer: Trainer, min_steps: int | None = None, max_steps: int = -1) -> None:
        super().__init__(trainer, min_steps, max_steps)
        self._known: list[Callback] | None = None  # the callbacks for which the following was decided
        self._plain = False
        self._starts: list[Callable[..., None]] = []
        self._ends: list[Callable[..., None]] = []

    @override
    def run(self, data_fetcher: _DataFetcher) -> None:
        self._known = None  # anything may have changed since the last epoch
        try:
            super().run(data_fetcher)
        finally:
            vars(self.trainer.lightning_module)["direct_optimizers"] = None

    @override
    def advance(self, data_fetcher: _DataFetcher) -> None:
        if self._known != self.trainer.callbacks:  # type: ignore[attr-defined]
            self._prepare(data_fetcher)
        if not self._plain or self._restarting:
            super().advance(data_fetcher)
            return
        if self.val_loop.restarting:
            self.val_loop.restarting = False  # the next validation begins with its first batch
        trainer, model, results = self.trainer, self.trainer.lightning_module, self._results
        connector, scope = trainer._logger_connector, vars(model)  # not through the slow nn.Module.__setattr__
        batch, _, _ = next(data_fetcher)
        if trainer.strategy.root_device.type != "cpu":
            batch = trainer.strategy.batch_to_device(batch)
        index = self.batch_idx + 1
        self.batch_progress.is_last_batch = data_fetcher.done
        self.batch_progress.increment_ready()
        connector.on_batch_start(batch)

        scope["_current_fx_name"] = BATCH_HOOKS[0]  # by which LightningModule.log knows who calls it
        for hook in self._starts:
            hook(trainer, model, batch, index)
        self.batch_progress.increment_started()
        scope["_current_fx_name"] = "training_step"
        outputs = ManualResult.from_training_step_output(trainer.strategy.training_step(batch, index)).asdict()
        self.batch_progress.increment_processed()
        scope["_current_fx_name"] = BATCH_HOOKS[1]
        for hook in self._ends:
            hook(trainer, model, outputs, batch, index)
        scope["_current_fx_name"] = None

        if results:  # somebody has logged values through Lightning
            connector.on_batch_end()
        results.batch = results.batch_size = None
        self.batch_progress.increment_completed()
        if results:
            connector.update_train_step_metrics()

    def _prepare(self, data_fetcher: _DataFetcher) -> None:
        """Find the hooks that are implemented, and whether they are all that there is to do."""
        trainer, model = self.trainer, self.trainer.lightning_module
        self._known = list(trainer.callbacks)  # type: ignore[attr-defined]
        self._starts, self._ends = (
            [getattr(c, name) for c in self._known if implements(c, name)] for name in BATCH_HOOKS
        )
        self._plain = is_plain(trainer, model) and not isinstance(data_fetcher, _DataLoaderIterDataFetcher)
        direct = self._plain and not any(
            implements(each, name) for each in [*self._known, model] for name in STEP_HOOKS
        )
        progress = self.manual_optimization.optim_step_progress
        optimizers = [CountedOptimizer(optimizer, progress) for optimizer in trainer.optimizers]
        vars(model)["direct_optimizers"] = optimizers if direct else None


class CountedOptimizer:
    """An optimizer whose steps are counted in Lightning's progress, from which ``trainer.global_step`` comes.

    Args:
        optimizer: the optimizer.
        progress: the count.
    """

    def __init__(self, optimizer: Optimizer, progress: _Progress) -> None:
        self._progress, self._step, self.zero_grad = progress, optimizer.step, optimizer.zero_grad

    def step(self) -> None:
        """One step of the optimizer."""
        self._progress.increment_ready()
        self._step()
        self._progress.increment_completed()


def use_epoch_loop(trainer: Trainer) -> None:
    """Let ``trainer`` iterate over batches with :class:`EpochLoop`."""
    stock = trainer.fit_loop.epoch_loop
    trainer.fit_loop.epoch_loop = EpochLoop(trainer, stock.min_steps, stock.max_steps)


def is_plain(trainer: Trainer, model: LightningModule) -> bool:
    """Whether a training step is only the callbacks' batch hooks, and ``training_step`` on the batch as it is."""
    precision, data = trainer.precision_plugin, trainer.datamodule  # type: ignore[attr-defined]
    return (
        not model.automatic_optimization
        and type(trainer.strategy) is SingleDeviceStrategy
        and (type(precision) is Precision or (type(precision) is MixedPrecision and precision.scaler is None))
        and type(trainer.profiler) is PassThroughProfiler  # type: ignore[attr-defined]
        and not any(implements(model, name) for name in (*BATCH_HOOKS, *MOVES))
        and not any(implements(data, name) for name in MOVES)
    )


def implements(thing: Any, hook: str) -> bool:
    """Whether a callback, model or data module has a ``hook`` of its own instead of Lightning's empty one."""
    found = getattr(thing, hook, None)
    return callable(found) and getattr(found, "__module__", None) not in EMPTY
