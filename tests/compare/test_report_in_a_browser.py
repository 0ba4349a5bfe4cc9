"""The report as a browser renders it."""

from __future__ import annotations

import shutil

import pytest
from compare.test_configs import write_config
from compare.test_report import hostile, page_of, write_all
from matplotlib import rc_context, rcParamsDefault

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


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with the runs and their page, which no test changes."""
    folder = write_all(tmp_path_factory.mktemp("written"))
    for name, limit, width in (("0_GAN", 1, 1), ("1_VAE", 1, 2), ("2_DDPM", 2, 2)):
        write_config(folder / name, data={"limit": limit}, net={"width": width})
    write_as_users_see_it(folder)
    return folder


def write_as_users_see_it(folder):
    with rc_context(rcParamsDefault):
        page_of(folder)


def open_page(browser, folder, width=1280):
    if not (folder / "report.html").exists():
        write_as_users_see_it(folder)
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((folder / "report.html").as_uri())


@in_a_browser
def test_it_renders_without_an_error(browser, written):
    open_page(browser, written)
    assert browser.get_log("browser") == []
    assert browser.find_element("tag name", "h1").text == "Comparison of generative models"
    images = browser.find_elements("tag name", "img")
    assert len(images) == 10 and all(image.get_property("naturalWidth") > 0 for image in images)
    charts = browser.find_elements("css selector", ".charts svg")
    assert len(charts) >= 8 and all(chart.size["width"] > 200 and chart.size["height"] > 100 for chart in charts)


@in_a_browser
def test_tables_sort_on_a_click(browser, written):
    open_page(browser, written)

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


def visible(browser, selector):
    return [each for each in browser.find_elements("css selector", selector) if each.is_displayed()]


@in_a_browser
def test_the_legend_and_the_filter_choose_models(browser, written):
    open_page(browser, written)
    keys = browser.find_elements("css selector", ".keys [data-key]")
    assert [key.text for key in keys] == ["DDPM", "VAE", "GAN"]

    def shown():
        rows = [row.text for row in visible(browser, "tbody tr[data-series] > th:first-child")]
        return rows, [len(visible(browser, f'{kind}[data-series="1"]')) for kind in ("figure", "svg g")]

    everything = shown()
    assert everything[0] == ["DDPM", "VAE", "GAN"] * 2 and min(everything[1]) > 2
    keys[1].click()
    assert shown() == (["DDPM", "GAN"] * 2, [0, 0]) and keys[1].get_attribute("aria-pressed") == "false"
    keys[1].click()
    assert shown() == everything
    field = browser.find_element("css selector", ".keys input")
    field.send_keys("ga")
    assert shown()[0] == ["GAN"] * 2
    field.send_keys("\b\b")
    assert shown() == everything
    browser.find_elements("css selector", ".keys .every")[1].click()
    assert shown() == ([], [0, 0])


@in_a_browser
def test_columns_can_be_left_out(browser, written):
    open_page(browser, written)
    browser.find_element("css selector", ".columns summary").click()
    table = browser.find_element("css selector", ".scroll table")
    texts = {cell: cell.text for cell in table.find_elements("css selector", "tr > *")}
    (box,) = [each for each in visible(browser, ".columns label") if each.text.startswith("bits/dim")]
    box.click()
    hidden = [text for cell, text in texts.items() if not cell.is_displayed()]
    assert len(hidden) == 4 and hidden[0].startswith("bits/dim") and "1.000" in hidden[1]


@in_a_browser
def test_the_value_under_the_pointer_is_told(browser, written):
    from selenium.webdriver import ActionChains

    open_page(browser, written)
    curve = browser.find_element("css selector", 'svg g[data-label="VAE"][data-x^="1 2 3"]')
    svg = curve.find_element("xpath", "./ancestor::*[name()='svg']")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", svg)
    at = browser.execute_script(
        "const [g, svg] = arguments, d = g.querySelector(':scope > path').getAttribute('d');"
        "const [, x, y] = d.match(/M (\\S+) (\\S+)/);"
        "const p = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM()), b = svg.getBoundingClientRect();"
        "return [p.x - b.x - b.width / 2, p.y - b.y - b.height / 2]", curve, svg)  # fmt: skip
    ActionChains(browser).move_to_element_with_offset(svg, round(at[0]), round(at[1])).perform()
    (tip,) = visible(browser, ".tip")
    assert tip.text.splitlines()[0] in ("GAN", "VAE", "DDPM")  # three curves of the same values
    assert tip.text.splitlines()[1:] == ["seed 0", "batches: 1", "validation bits/dim: 3"]
    ActionChains(browser).move_to_element(browser.find_element("tag name", "h1")).perform()
    assert visible(browser, ".tip") == []


@in_a_browser
def test_two_configs_are_compared(browser, written):
    from selenium.webdriver.support.ui import Select

    open_page(browser, written)
    browser.find_element("css selector", ".configs summary").click()
    assert [row.text for row in visible(browser, ".configs tbody th")] == ["data.limit", "net.width"]
    for select, name in zip(browser.find_elements("css selector", ".configs select"), ("VAE", "GAN"), strict=True):
        Select(select).select_by_visible_text(name)
    assert [row.text for row in visible(browser, ".configs tbody th")] == ["net.width"]
    assert [cell.text for cell in visible(browser, ".configs td")] == ["2", "1"]


@in_a_browser
@pytest.mark.parametrize("attacked", [False, True])
def test_a_phone_does_not_scroll_sideways(browser, written, tmp_path, attacked):
    open_page(browser, hostile(tmp_path) if attacked else written, width=390)
    for details in browser.find_elements("tag name", "details"):
        browser.execute_script("arguments[0].open = true", details)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390


@in_a_browser
def test_nothing_from_a_run_folder_runs(browser, tmp_path):
    open_page(browser, hostile(tmp_path))
    assert browser.title == "Comparison of generative models"
    assert browser.get_log("browser") == []
