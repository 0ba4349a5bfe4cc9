"""The structure of the package: imports point downwards, every model has its config, the top level is fixed."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from genmodels.builder import resolve
from genmodels.composition import compose, groups, option, options

ROOT = Path(__file__).parents[1]
FLOORS = [
    {
        "annotations", "archives", "classes", "errors", "figures", "files", "hardware", "hub", "kinds",
        "pictures", "progress",
        "console", "nested", "settings", "signals", "tree", "trust", "untrusted",
    },
    {"core"},
    {"networks", "transforms", "ode", "diffusion", "mcmc"},
    {"data", "given", "plots"},
    {"models"},
    {"metrics"},
    {"loggers", "loop"},
    {"callbacks"},
    {"builder"},
    {"runs"},
    {"compare"},
    {"overrides", "plan"},
    {"naming"},
    {"search"},
    {"instruments", "recording"},
    {"experiment"},
    {"external", "extractor", "programs"},
    {"publish"},
    {"composition"},
    {"hints", "places", "typed"},
    {"sweeps"},
    {"launch"},
    {"actions"},
    {"drawn"},
    {"api"},
    {"commands"},
    {"cli", "conformance"},
    {"__main__"},
]  # fmt: skip
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}
LIBRARIES = {"core", "networks", "transforms", "ode", "diffusion", "mcmc"}


def room(path: Path) -> str:
    parts = path.relative_to(ROOT / "genmodels").with_suffix("").parts
    return parts[0]


def imports(path: Path):
    """Modules imported at run time, also inside functions, without imports for type checkers."""
    tree = ast.parse(path.read_text())
    for_checkers = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    skipped = {id(child) for branch in for_checkers for child in ast.walk(branch)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "genmodels" else []
            yield from names or [node.module]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def names_of(path: Path) -> set[str]:
    """Names that a module imports."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}


SOURCES = sorted(set((ROOT / "genmodels").rglob("*.py")) - {ROOT / "genmodels" / "__init__.py"})


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    own = room(path)
    for module in imports(path):
        if module.startswith("genmodels."):
            other = module.split(".")[1]
            upwards = FLOOR[other] > FLOOR[own]
            assert not upwards, f"{path.name} on floor {own} imports {module}"
            if own == "models":
                assert other != "models" or f"{module}.".startswith("genmodels.models.base."), (
                    "models never import each other"
                )
        if own in LIBRARIES:
            assert module.split(".")[0] not in {"lightning", "hydra", "omegaconf", "wandb"}
    if own in LIBRARIES:
        assert not {"UserError", "require"} & names_of(path), "libraries raise ValueError in their own terms"


def test_every_model_file_has_its_config_and_the_other_way_round():
    files = {path.stem for path in (ROOT / "genmodels" / "models").glob("*.py")} - {"__init__", "base"}
    assert files == set(options("model"))
    assert files == {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "models").glob("test_*.py")}


@pytest.mark.parametrize("name", options("model"))
def test_model_config_keys_are_the_constructors_parameters(name):
    config = compose([f"model={name}"]).model
    assert config._target_.startswith(f"genmodels.models.{name}.")
    assert set(config) - {"_target_"} == set(inspect.signature(resolve(config._target_, "model")).parameters)


PARTS = [(group, name) for group in groups() if group.startswith("model/") for name in options(group)]


@pytest.mark.parametrize(("group", "name"), PARTS, ids=lambda word: word.removeprefix("model/"))
def test_an_option_of_a_part_of_a_model_lists_what_can_be_set(group, name):
    content = option(group, name)
    node = compose([f"+{group}@part={name}"]).part if "defaults" in content else content
    parameters = inspect.signature(resolve(node._target_, "part")).parameters
    keys = set(node) - {"_target_", "_partial_"}
    if node._target_.startswith("torch."):  # torch's optimizers have further parameters
        assert keys and keys <= set(parameters)
    else:  # a factory's other parameters are passed by the model
        left_out = {key for key, p in parameters.items() if node.get("_partial_") and p.default is p.empty}
        assert keys == set(parameters) - left_out


@pytest.mark.parametrize("name", options("data"))
def test_data_config_keys_are_the_constructors_parameters(name):
    config = compose([f"data={name}"])
    assert set(config.data) - {"_target_"} == set(inspect.signature(resolve(config.data._target_, "data")).parameters)
    assert config.data.name == name
    own = set(OmegaConf.load(ROOT / "conf" / "data" / f"{name}.yaml"))
    assert own <= {"defaults", "data", "default_budget"} and config.default_budget.max_batches > 0


def test_fragments_are_no_options():
    shared = {path.stem for path in (ROOT / "conf").rglob("_*.yaml")}
    assert shared and not shared & {name for group in groups() for name in options(group)}


@pytest.mark.parametrize("file", sorted((ROOT / "conf" / "metrics").glob("*.yaml")), ids=lambda p: p.stem)
def test_metric_config_keys_are_the_constructors_parameters(file):
    content = option("metrics", file.stem)
    config = compose([f"metrics=[{file.stem}]"]).metrics if "defaults" in content else content
    ((key, node),) = config.items()
    assert file.stem.startswith(key)
    assert set(node) - {"_target_"} == set(inspect.signature(resolve(node._target_, "metrics")).parameters)


def test_top_level_is_fixed():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    top = {name.split("/")[0] for name in tracked.stdout.splitlines()}
    allowed = {"conf", "genmodels", "tests", "train.py", "pyproject.toml", "README.md", "LICENSE", "constraints.txt"}
    assert {name for name in top if not name.startswith(".")} <= allowed


ENTRIES = [
    "genmodels", "genmodels.api", "genmodels.launch", "genmodels.composition", "genmodels.cli", "genmodels.__main__",
    "train",
]  # fmt: skip


def test_entry_points_import_no_torch():
    code = "import sys\nfor name in sys.argv[1:]: __import__(name); print(name, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *ENTRIES], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{name} False" for name in ENTRIES], done.stderr


def test_metrics_ask_what_a_model_can_do_without_lightning():
    code = "import sys, genmodels.metrics; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
