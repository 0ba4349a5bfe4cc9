"""Mirrors on TensorBoard and MLflow."""

from __future__ import annotations

import pytest
from conformance.test_laboratory import settings
from loggers.records import record

from genmodels.cli import main
from genmodels.experiment import run
from genmodels.loggers import Copied, MLflow, TensorBoard
from genmodels.loggers.mlflow import allowed

# TensorBoard


def test_tensorboard_has_one_file_and_shows_scores_beside_the_config(trained):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams.backend_context import Context

    (file,) = (trained[0] / "tensorboard").iterdir()
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(file.parent))
    multiplexer.Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(file.parent))))
    request = RequestContext()
    found = context.experiment_from_metadata(request, "x", True, context.hparams_metadata(request, "x"), [])
    metrics = {info.name.tag for info in found.metric_infos}
    assert {"test/bits_per_dim", "best/bits_per_dim", "cost/parameters"} <= metrics and "hp_metric" not in metrics
    assert {"model", "model.optimizer.lr", "seed"} <= {info.name for info in found.hparam_infos}
    for name in ("val/bits_per_dim", "samples"):
        assert sorted({event.step for event in multiplexer.Tensors(".", name)}) == [2, 4]


# MLflow


def test_mlflow_has_metrics_pictures_and_scores(tmp_path, monkeypatch):
    pytest.importorskip("sqlalchemy")
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    run(settings("vae", "gray images", tmp_path, "logger=mlflow", "trainer.log_every_n_steps=1"))
    main(["evaluate", f"run={tmp_path / 'run'}"])
    client = mlflow.MlflowClient(uri)
    (found,) = client.search_runs([client.get_experiment_by_name("genmodels").experiment_id])
    kept = record(tmp_path / "run")
    assert found.info.run_id == kept["mlflow"]["id"] and found.info.status == "FINISHED"
    assert found.data.metrics["test/bits_per_dim"] == pytest.approx(kept["metrics"]["bits_per_dim"]["value"])
    assert found.data.params["model"] == "VAE" and found.data.params["model.optimizer.lr"] == "0.003"
    assert [metric.step for metric in client.get_metric_history(found.info.run_id, "train/loss")] == [1, 2]
    held = [file.path for file in client.list_artifacts(found.info.run_id)]
    assert {"images", "run.json", "config.yaml"} <= set(held)


def test_without_mlflow_or_tensorboard_a_run_goes_on(tmp_path, monkeypatch, capsys):
    import sys

    for module in ("mlflow.tracking", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    for logger in (MLflow(tmp_path), TensorBoard(tmp_path)):
        assert logger.begin(Copied(tmp_path, {}, {})) == {} and not logger.is_open
    said = capsys.readouterr().out
    assert "MLflow: mlflow is not installed; for the next time: pip install mlflow; continuing without it." in said
    assert "TensorBoard: tensorboard is not installed" in said and not list(tmp_path.iterdir())


def test_mlflow_takes_the_names_of_scores():
    assert allowed("test/fd[data.limit=20, seed=1]") == "test/fd data.limit-20_ seed-1"
