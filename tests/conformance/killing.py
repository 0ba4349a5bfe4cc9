"""A small training in a process of its own, which kills itself at a chosen moment, as a power failure would."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from processes import CONTEXT

SMALL = (
    "data.val_size=8", "data.eval_batch_size=4", "callbacks.average.decay=0.5", "budget.max_batches=8", "validations=3",
    "trainer.log_every_n_steps=1", "checkpoint.minutes=0.00001", "metrics=[likelihood,generalization]", "logger=csv",
)  # fmt: skip


def train(name, folder, replacement, after, log):
    """Train the model ``name`` in ``folder``, or go on; be killed before or after the given replacement of a file."""
    import torch

    torch.set_num_threads(1)
    from conformance.test_laboratory import settings

    from genmodels import files
    from genmodels.cli import main
    from genmodels.experiment import run

    sys.stdout = sys.stderr = open(log, "a")  # noqa: SIM115  for the life of the process
    replace, done = os.replace, 0

    def counted(source, target):
        nonlocal done
        done += 1
        if done == replacement and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
        print(f"replaced {done}: {target}")
        if done == replacement:
            os.kill(os.getpid(), signal.SIGKILL)

    files.os.replace = counted
    if (Path(folder) / "run" / "run.json").exists():
        main(["resume", f"run={folder}/run"])
    else:
        run(settings(name, "points", Path(folder), *SMALL))


def in_its_own_process(name, folder, replacement=0, after=False):
    """Exit status of :func:`train` in a new process; its output is in ``log.txt``."""
    words = (name, str(folder), replacement, after, str(Path(folder) / "log.txt"))
    process = CONTEXT.Process(target=train, args=words)
    process.start()
    process.join(120)
    return process.exitcode
