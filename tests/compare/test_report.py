"""The report: its content, and that it loads and runs nothing from outside."""

from __future__ import annotations

import csv
import os
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from compare.folders import bits, fd, write_run
from omegaconf import OmegaConf
from PIL import Image

from genmodels import figures
from genmodels.compare import Section, compared, find_runs, write_report
from genmodels.compare.charts import Chart, table
from genmodels.compare.html import picture
from genmodels.compare.planes import planes
from genmodels.compare.tables import Entry, Table

HOSTILE = (
    '<img src=x onerror="document.title=\'run\'"></script><script>document.title="run"</script>&"\'$x$ \x00\x1b[31m'
)


def draw(path, width=40, height=30):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), figures.BLUE).save(path)


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_all(tmp_path):
    """Runs of three models, one of them a diffusion model, with all files of a run folder, and a failed job."""
    for i, name in enumerate(("GAN", "VAE", "DDPM")):
        folder = tmp_path / f"{i}_{name}"
        speed = {"passes_per_sample": 100 if name == "DDPM" else 1, "samples_per_second": 50.0, "sampling": {}}
        likelihood = [] if name == "GAN" else [bits(3.0 - i)]
        cost = {"train_seconds": 10.0 * 20**i, "batches": 100, "parameters": 10 ** (6 - i)}
        write_run(folder, name, *likelihood, fd(10.0 - i, **speed), fd(5.0, n=1000, **speed), cost=cost)
        for file in ("final", "interpolation"):
            draw(folder / "samples" / f"{file}.png")
        draw(folder / "evaluation" / "neighbors.png", 900)
        write_csv(
            folder / "metrics.csv",
            [{"step": n, "val/bits_per_dim": 3 / n, "train/loss": "" if n % 2 else 1 / n} for n in range(1, 9)],
        )
    draw(folder / "samples" / "denoising.png")
    terms = [{"t": t, "term": 1 / t, "term_se": 0.1, "rate": 5 - t, "distortion": t} for t in range(1, 5)]
    write_csv(folder / "evaluation" / "timesteps.csv", terms)
    write_run(tmp_path / "3_gan", "GAN", status="failed", error="the loss is not finite.")
    return tmp_path


@pytest.fixture
def runs(tmp_path):
    return write_all(tmp_path)


def page_of(folder):
    write_report(compared(find_runs(folder)), folder / "report.html")
    return (folder / "report.html").read_text()


def pictures(page):
    """The captions of the pictures."""
    return re.findall(r"<figcaption>(?:<span[^>]*></span>)?([^<]*)</figcaption><img", page)


def write_families(tmp_path):
    """Runs on the plane of two flows, between which a model of another family is ranked, with densities."""
    ranked = {"MAF": ("flows", 1.0), "RBM": ("energies", 1.1), "NICE": ("flows", 1.2)}
    for i, (name, (family, value)) in enumerate(ranked.items()):
        folder = tmp_path / f"{i}_{name}"
        write_run(folder, name, bits(value), family=family)
        draw(folder / "samples" / "plane.png")
        densities = {"data_density": np.ones((4, 4), np.float32), "density": np.full((4, 4), i / 4, np.float32)}
        np.savez(folder / "samples" / "plane.npz", **densities)


def test_families_stand_together_in_the_legend_and_the_pictures(tmp_path):
    write_families(tmp_path)
    page = page_of(tmp_path)
    legend = page[page.index('class="keys"') : page.index("Quality")]
    places = [legend.index(f">{word}<") for word in ("flows", "MAF", "NICE", "energies", "RBM")]
    assert places == sorted(places)
    assert [caption.split(",")[0] for caption in pictures(page)] == ["MAF", "NICE", "RBM"]
    rows = page[page.index("<tbody>") :]
    assert rows.index("MAF") < rows.index("RBM") < rows.index("NICE")  # by rank


def test_densities_of_all_models_are_one_picture(tmp_path):
    write_families(tmp_path)
    (image,) = planes(compared(find_runs(tmp_path))).values()
    assert image.width > 3 * image.height  # the data and three models in a row
    (tmp_path / "1_RBM" / "samples" / "plane.npz").write_bytes(b"no archive")
    (fewer,) = planes(compared(find_runs(tmp_path))).values()
    assert fewer.width < image.width
    for file in tmp_path.glob("*/samples/plane.npz"):
        file.unlink()
    assert not planes(compared(find_runs(tmp_path)))


class Tags(HTMLParser):
    """The elements of a document, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_everything_is_on_the_page(runs):
    page = page_of(runs)
    for title in ("Samples", "Quality against cost", "Training", "Diffusion, step by step", "Denoising",
                  "Interpolation", "Nearest neighbors", "Not finished", "Protocols"):  # fmt: skip
        assert f">{title}</h" in page
    captions = re.findall(r"<figcaption>(?:<span[^>]*></span>)?([^<]*)</figcaption>", page)
    assert {"bits/dim against train seconds", "fd_digits_360 against network passes per sample",
            "validation bits/dim against seconds of training", "VAE: training loss", "GAN: training loss",
            "distortion (RMSE) against rate (per dimension)"} <= set(captions)  # fmt: skip
    assert page.count("data:image/png;base64,") == 3 * 3 + 1
    assert "the loss is not finite." in page and "fd_digits_1000" in page


def test_the_top_says_what_made_the_page_and_of_which_runs(tmp_path):
    for seed, commit in enumerate(("1234567890", "abcdefabcdef")):
        write_run(tmp_path / f"{seed}", "A", bits(1.0), seed=seed, git={"commit": commit})
    write_report(compared(find_runs(tmp_path)), tmp_path / "x.html", command="train.py -m 'model=a,b'")
    top = (tmp_path / "x.html").read_text().partition("<nav>")[0]
    assert "<code>train.py -m 'model=a,b'</code>" in top and re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d", top)
    assert "Comparison of 2 runs. The runs are of commit 12345678 and abcdefab." in top


def test_every_sign_in_a_table_is_explained_and_no_other(tmp_path):
    write_run(tmp_path / "a", "A", bits(1.5), fd(3.0))
    write_run(tmp_path / "b", "B", bits(1.2))
    (signs,) = re.findall(r'<ul class="signs[^>]*>(.*?)</ul>', page_of(tmp_path))
    found = re.findall(r"<b>(.*?) </b>", signs)
    assert found == ["≤ and ≥", "±", "n", "#2", "*", "floor", "-"]


def test_links_lead_to_the_run_folders(tmp_path):
    folder = tmp_path / "sweep" / "javascript:alert(1) #?"
    write_run(folder, "A", bits(1.0), seed=7)
    (link,) = {a["href"] for tag, a in Tags(page_of(tmp_path)).found if tag == "a" and not a["href"].startswith("#")}
    assert link.startswith("./sweep/javascript%3A") and (tmp_path / unquote(link)).samefile(folder)
    assert ">7</a>" in page_of(tmp_path)


def test_data_stand_beside_the_samples(tmp_path):
    for model in "AB":
        write_run(tmp_path / model, model, fd(1.0))
        draw(tmp_path / model / "samples" / "final.png")
    assert pictures(page_of(tmp_path)) == ["A, seed 0", "B, seed 0"]
    draw(tmp_path / "B" / "samples" / "data.png")
    assert pictures(page_of(tmp_path)) == ["test data", "A, seed 0", "B, seed 0"]


def test_every_seed_has_a_dot_and_every_model_its_losses(tmp_path):
    for seed, value in enumerate((1.0, 1.2, 1.4)):
        write_run(tmp_path / f"v{seed}", "VAE", bits(value), seed=seed)
        write_csv(tmp_path / f"v{seed}" / "metrics.csv", [{"step": n, "train/loss": n + seed} for n in (1, 2, 3)])
    write_run(tmp_path / "gan", "GAN", fd(2.0))
    rows = [{"step": n, "train/discriminator_loss": n, "train/generator_loss": 2 * n, "val/mmd": n} for n in (1, 2)]
    write_csv(tmp_path / "gan" / "metrics.csv", rows)
    page = page_of(tmp_path)
    charts = dict(re.findall(r"<figure[^>]*>(<svg.*?</svg>)<figcaption>(?:<span[^>]*></span>)?([^<]*)", page, re.S))
    by_caption = {caption: svg for svg, caption in charts.items()}
    seeds = re.findall(r'data-note="seed (\d): ([^"]*)"', by_caption["bits/dim, one dot per seed"])
    assert [seed for seed, _ in seeds] == ["0", "1", "2"] and seeds[1][1] == "<= 1.200 ± 0.010"
    assert "fd_digits_360, one dot per seed" not in by_caption  # of one run
    assert re.findall(r'data-note="(.*?)" data-x="1 2 3" data-y="(.*?)"', by_caption["VAE: training loss"]) == [
        ("seed 0", "1 2 3"), ("seed 1", "2 3 4"), ("seed 2", "3 4 5"),
    ]  # fmt: skip
    players = re.findall(r'data-label="(.*?)"', by_caption["GAN: training losses"])
    assert players == ["discriminator_loss", "generator_loss"]
    assert "validation mmd against batches of training" in by_caption
    assert "validation mmd against seconds of training" not in by_caption  # the run has not recorded its batches


def test_losses_of_several_configs_of_one_model_share_a_chart(tmp_path):
    for i in range(2):
        write_run(tmp_path / f"{i}", "VAE", bits(1.0 + i), config_hash=str(i), overrides=[f"model.beta={i}"])
        write_csv(tmp_path / f"{i}" / "metrics.csv", [{"step": n, "train/loss": n + i} for n in (1, 2)])
    page = page_of(tmp_path)
    (chart,) = re.findall(r"<svg[^>]*>(?:(?!</svg>).)*</svg><figcaption>VAE: loss of training batches", page, re.S)
    assert re.findall(r'data-series="(\d)" data-label="(.*?)" data-note="seed 0"', chart) == [
        ("0", "VAE beta=0"), ("1", "VAE beta=1"),
    ]  # fmt: skip


def test_reasons_are_told_once_and_pruned_trials_in_a_closed_box(tmp_path):
    for number, status in enumerate(("failed", "failed", "pruned", "refused")):
        write_run(tmp_path / f"{number}", "A", status=status, error="too high." if status == "failed" else "")
    page = page_of(tmp_path)
    assert "<li><b>0 and 1</b>: too high.</li>" in page
    assert re.findall(r"<details( open)?[^>]*><summary>(\d \w+)</summary>", page) == [
        (" open", "2 failed"), ("", "1 pruned"), (" open", "1 refused"),
    ]  # fmt: skip


def test_a_caller_adds_a_section(tmp_path):
    write_run(tmp_path / "a", "A", bits(1.0))
    svg = figures.chart([figures.Curve("trials", [1, 2], [3, 4])], "trial", "value")
    rows = Table("trials", [("trial",), ("value",)], [[Entry("1 best"), Entry("<3>", 3.0)]])
    own = Section("Search", "best marks the best.", [(svg, "a < b"), Chart(svg, "c")], [rows])
    write_report(compared(find_runs(tmp_path)), tmp_path / "x.html", sections=[own])
    page = (tmp_path / "x.html").read_text()
    assert page.index(">Search</h2>") < page.index(">digits</h2>") and "&lt;3&gt;" in page
    assert "<figcaption>a &lt; b</figcaption>" in page and "<figcaption>c</figcaption>" in page


def test_models_on_the_plane_stand_in_one_row_beside_the_data(tmp_path):
    for i, model in enumerate(("GAN", "VAE", "AE")):
        write_run(tmp_path / model, model, fd(1.0))
        draw(tmp_path / model / "samples" / "final.png")
        if model != "AE":
            draw(tmp_path / model / "samples" / "plane.png", 30 + i)
            draw(tmp_path / model / "samples" / "plane_data.png")
    page = page_of(tmp_path)
    assert ">Samples and density</h" in page and ">Samples</h" not in page
    assert [caption.split(",")[0] for caption in pictures(page)] == ["data", "GAN", "VAE"]


def test_a_model_that_only_reconstructs_has_its_pictures_and_its_cost(tmp_path):
    write_run(tmp_path / "ae", "AE", refusals={"fd": "AE cannot be sampled from."})
    draw(tmp_path / "ae" / "samples" / "reconstructions.png")
    page = page_of(tmp_path)
    assert ">Reconstructions</h" in page and pictures(page) == ["AE, seed 0"]
    assert ">Cost</h3>" in page
    assert "no fd: AE cannot be sampled from." in page and page.count("data:image/png;base64,") == 1


def test_the_page_loads_nothing_and_names_its_only_script(runs):
    page = page_of(runs)
    tags = Tags(page).found
    addresses = [attributes[key] for _, attributes in tags for key in ("src", "href", "action") if key in attributes]
    assert all(address.startswith(("data:", "#", "./")) for address in addresses)
    assert [tag for tag, _ in tags].count("script") == 1
    assert not {"iframe", "object", "embed", "form"} & {tag for tag, _ in tags}
    (policy,) = (a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'") and "script-src 'sha256-" in policy
    assert not re.search(r"url\((?!#)", page)


def hostile(folder):
    """Runs in whose records every text attempts an injection."""
    for name in ("a", "b"):
        record = {"overrides": [HOSTILE], "error": HOSTILE, "refusals": {HOSTILE: HOSTILE}, "seed": HOSTILE}
        record |= {"git": {"commit": HOSTILE}, "versions": {HOSTILE: HOSTILE}, "status": HOSTILE, "started": name}
        record |= {"expected": {"metric": HOSTILE, "value": 1.0, "tolerance": 1.0, "source": HOSTILE}}
        record |= {"config_hash": HOSTILE + name}
        cost = {"device": HOSTILE, "train_seconds": len(name) * 3.0 + ord(name), "batches": 10}
        scores = [fd(1.0, flag=HOSTILE, split=HOSTILE, passes_per_sample=ord(name))]
        scores.append(bits(1.0, name=HOSTILE, weights=HOSTILE))
        write_run(folder / f"{name}_<b>x", HOSTILE, *scores, data=HOSTILE, cost=cost, **record)
        write_csv(folder / f"{name}_<b>x" / "metrics.csv",
                  [{"step": n, "val/nats": n, HOSTILE.replace("\0", "") + "_loss": n} for n in (1, 2, 3)])  # fmt: skip
        settings = {"run_dir": "x", f"{HOSTILE[:-8]}{name}": HOSTILE[:-8], "same": {"key": HOSTILE[:-8] + name}}
        (folder / f"{name}_<b>x" / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(settings)))
    (folder / "c").mkdir()
    (folder / "c" / "run.json").write_text(HOSTILE)
    return folder


def test_text_from_run_folders_stays_text(tmp_path):
    page = page_of(hostile(tmp_path))
    tags = Tags(page).found
    assert "&lt;img src=x" in page and "Differences of configs (3 keys)" in page
    assert [tag for tag, _ in tags].count("script") == 1 and "img" not in {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert "\x00" not in page and "\x1b" not in page


def test_only_png_files_of_limited_size_are_embedded(runs, tmp_path_factory, monkeypatch):
    shown = runs / "2_DDPM" / "samples" / "final.png"
    secret = tmp_path_factory.mktemp("other") / "secret"
    secret.write_text("secret")
    grid = runs / "0_GAN" / "samples" / "final.png"
    grid.unlink()
    grid.symlink_to(secret)
    (runs / "1_VAE" / "samples" / "final.png").write_text("<svg onload=alert(1)>")
    assert page_of(runs).count("data:image/png;base64,") == 3 * 3 + 1 - 2
    assert picture(shown, "", "") is not None
    monkeypatch.setattr("genmodels.compare.html.LARGEST", 10)
    assert picture(shown, "", "") is None


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "large"])
def test_only_regular_files_of_bounded_size_are_read(tmp_path, kind):
    file = tmp_path / "file"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        with file.open("wb") as sparse:
            sparse.truncate(2**40)
    assert picture(file, "", "") is None and table(file) == []


def test_invalid_curves_leave_the_page_intact(runs):
    (runs / "0_GAN" / "metrics.csv").write_bytes(b"\xff\xfe\x00")
    (runs / "1_VAE" / "metrics.csv").write_text("step,val/bits_per_dim\n1,nan\nx,2\n3\n4,5\n")
    (runs / "2_DDPM" / "evaluation" / "timesteps.csv").write_text("t,term\n1,inf\n")
    page = page_of(runs)
    assert "validation bits/dim against batches" in page and "Diffusion, step by step" not in page


def test_pictures_are_of_a_seed_that_all_have(tmp_path):
    for model, seeds in (("A", (0, 1)), ("B", (1, 2))):
        for seed in seeds:
            write_run(tmp_path / f"{model}{seed}", model, fd(1.0), seed=seed)
            draw(tmp_path / f"{model}{seed}" / "samples" / "final.png")
    assert pictures(page_of(tmp_path)) == ["A, seed 1", "B, seed 1"]


def test_charts_take_any_label_and_the_color_of_the_page():
    curves = [figures.Curve("_$x$ \\alpha $ <&", [1, 2], [1, 2]), figures.Curve("b", [1], [0.5], 1, 0.1, bound=-1)]
    svg = figures.chart([*curves, figures.Curve("", [1, 2], [2, 1], figures.FRONT)], "x", "y", log="xy")
    assert "currentColor" in svg and figures.INK not in svg and "$x$ \\alpha $ &lt;&amp;" in svg
