"""The report: its content, that it loads and runs nothing from outside, and how a browser renders it."""

from __future__ import annotations

import csv
import os
import re
import shutil
from html.parser import HTMLParser

import pytest
from PIL import Image
from test_compare import bits, fd, write_run

from genmodels import plots
from genmodels.compare import compared, find_runs, write_report

HOSTILE = (
    '<img src=x onerror="document.title=\'run\'"></script><script>document.title="run"</script>&"\'$x$ \x00\x1b[31m'
)


def draw(path, width=40, height=30):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), plots.BLUE).save(path)


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def runs(tmp_path):
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


def page_of(folder):
    write_report(compared(find_runs(folder)), folder / "report.html")
    return (folder / "report.html").read_text()


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
    for caption in ("bits/dim against train seconds", "fd_digits_360 against network passes per sample",
                    "validation bits/dim against seconds of training", "VAE, seed 0: training losses",
                    "distortion (RMSE) against rate (per dimension)"):  # fmt: skip
        assert f"<figcaption>{caption}</figcaption>" in page
    assert page.count("data:image/png;base64,") == 3 * 3 + 1
    assert "the loss is not finite." in page and "fd_digits_1000" in page


def test_models_on_the_plane_stand_in_one_row_beside_the_data(tmp_path):
    for i, model in enumerate(("GAN", "VAE", "AE")):
        write_run(tmp_path / model, model, fd(1.0))
        draw(tmp_path / model / "samples" / "final.png")
        if model != "AE":
            draw(tmp_path / model / "samples" / "plane.png", 30 + i)
            draw(tmp_path / model / "samples" / "plane_data.png")
    page = page_of(tmp_path)
    assert ">Samples and density</h" in page and ">Samples</h" not in page
    assert re.findall(r"<figcaption>(\w+)[^<]*</figcaption><img", page) == ["data", "GAN", "VAE"]


def test_a_model_that_only_reconstructs_has_its_pictures_and_its_cost(tmp_path):
    write_run(tmp_path / "ae", "AE", refusals={"fd": "AE cannot be sampled from."})
    draw(tmp_path / "ae" / "samples" / "reconstructions.png")
    page = page_of(tmp_path)
    assert ">Reconstructions</h" in page and "<figcaption>AE, seed 0</figcaption>" in page
    assert "digits: cost" in page
    assert "no fd: AE cannot be sampled from." in page and page.count("data:image/png;base64,") == 1


def test_the_page_loads_nothing_and_names_its_only_script(runs):
    page = page_of(runs)
    tags = Tags(page).found
    addresses = [attributes[key] for _, attributes in tags for key in ("src", "href", "action") if key in attributes]
    assert all(address.startswith(("data:", "#")) for address in addresses)
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
    (folder / "c").mkdir()
    (folder / "c" / "run.json").write_text(HOSTILE)
    return folder


def test_text_from_run_folders_stays_text(tmp_path):
    page = page_of(hostile(tmp_path))
    tags = Tags(page).found
    assert "&lt;img src=x" in page
    assert [tag for tag, _ in tags].count("script") == 1 and "img" not in {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert "\x00" not in page and "\x1b" not in page


def test_only_png_files_of_limited_size_are_embedded(runs, tmp_path_factory, monkeypatch):
    secret = tmp_path_factory.mktemp("other") / "secret"
    secret.write_text("secret")
    grid = runs / "0_GAN" / "samples" / "final.png"
    grid.unlink()
    grid.symlink_to(secret)
    (runs / "1_VAE" / "samples" / "final.png").write_text("<svg onload=alert(1)>")
    assert page_of(runs).count("data:image/png;base64,") == 3 * 3 + 1 - 2
    monkeypatch.setattr("genmodels.compare.html.LARGEST", 10)
    assert "data:image/png" not in page_of(runs)


@pytest.mark.parametrize("name", ["samples/final.png", "metrics.csv", "evaluation/timesteps.csv"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "large"])
def test_only_regular_files_of_bounded_size_are_read(runs, name, kind):
    file = runs / "2_DDPM" / name
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        with file.open("wb") as sparse:
            sparse.truncate(2**40)
    assert "Quality against cost" in page_of(runs)


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
    assert re.findall(r"<figcaption>([AB]), seed (\d)</figcaption>", page_of(tmp_path)) == [("A", "1"), ("B", "1")]


def test_charts_take_any_label_and_the_color_of_the_page():
    curves = [plots.Curve("_$x$ \\alpha $ <&", [1, 2], [1, 2]), plots.Curve("b", [1], [0.5], 1, 0.1, bound=-1)]
    svg = plots.chart([*curves, plots.Curve("", [1, 2], [2, 1], plots.FRONT)], "x", "y", log="xy")
    assert "currentColor" in svg and plots.INK not in svg and "$x$ \\alpha $ &lt;&amp;" in svg


# In a browser

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
in_a_browser = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium and chromedriver here")


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(word)
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def open_page(browser, folder, width=1280):
    page_of(folder)
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((folder / "report.html").as_uri())


@in_a_browser
def test_it_renders_without_an_error(browser, runs):
    open_page(browser, runs)
    assert browser.get_log("browser") == []
    assert browser.find_element("tag name", "h1").text == "Comparison of generative models"
    images = browser.find_elements("tag name", "img")
    assert len(images) == 10 and all(image.get_property("naturalWidth") > 0 for image in images)
    charts = browser.find_elements("css selector", ".charts svg")
    assert len(charts) >= 8 and all(chart.size["width"] > 200 and chart.size["height"] > 100 for chart in charts)


@in_a_browser
def test_tables_sort_on_a_click(browser, runs):
    open_page(browser, runs)

    def first_column():
        return [cell.text for cell in browser.find_elements("css selector", "table:first-of-type tbody th")][:3]

    (heading,) = (th for th in browser.find_elements("css selector", "thead th") if th.text.startswith("bits/dim"))
    assert first_column() == ["DDPM", "VAE", "GAN"] and heading.get_attribute("aria-sort") == "none"
    heading.find_element("tag name", "button").click()
    assert first_column() == ["DDPM", "VAE", "GAN"] and heading.get_attribute("aria-sort") == "ascending"
    heading.find_element("tag name", "button").click()
    assert first_column() == ["VAE", "DDPM", "GAN"] and heading.get_attribute("aria-sort") == "descending"
    (parameters,) = (th for th in browser.find_elements("css selector", "thead th") if th.text.startswith("parameters"))
    parameters.find_element("tag name", "button").send_keys("\n")  # by keyboard; 1,000,000 sorts above 10,000
    rows = parameters.find_elements("xpath", "./ancestor::table/tbody/tr/th")
    assert [row.text for row in rows] == ["DDPM", "VAE", "GAN"]


@in_a_browser
@pytest.mark.parametrize("attacked", [False, True])
def test_a_phone_does_not_scroll_sideways(browser, runs, attacked):
    open_page(browser, hostile(runs) if attacked else runs, width=390)
    for details in browser.find_elements("tag name", "details"):
        browser.execute_script("arguments[0].open = true", details)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390


@in_a_browser
def test_nothing_from_a_run_folder_runs(browser, tmp_path):
    open_page(browser, hostile(tmp_path))
    assert browser.title == "Comparison of generative models"
    assert browser.get_log("browser") == []
