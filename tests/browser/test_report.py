"""Reports in a real browser: closed in itself, readable by everyone, on every screen."""

from __future__ import annotations

import csv
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent.parent / "{{cookiecutter.project_slug}}" / "tests"))
import drift_documents

from generate import generate
from ml_pipeline.report import drift, timeline

LARGEST_BYTES = 3_000_000
SCRIPT = "<script>document.title='run'</script>"
LONG = "a column whose name does not end " * 8
CURVE = "#costs [id$='-curve'] path, #costs path[id$='-curve']"
RUNS = ("report", "compare", "multiclass", "regression", "rejected", "failed")
DRIFT = ("drift", "drift-broken", "drift-loop")  # of documents made by hand: -k drift needs no run
PLACES = (*RUNS, *DRIFT)
WIDTHS = (360, 1280)


@dataclass
class Seen:
    """What a page did while it was open."""

    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


def rows(count: int = 900) -> list[dict[str, object]]:
    """Applicants whose column names and labels are hard to show."""
    generator = random.Random(3)
    made = []
    for number in range(count):
        income, region = generator.gauss(0, 1), generator.choice(['"north" & co', "south's", "<b>west</b>"])
        value = income + (region == "south's") + generator.gauss(0, 0.7)
        made.append(
            {
                "key": f"k{number}",
                SCRIPT: round(income, 3) if number % 9 else "",
                LONG: region,
                "ünïcode 列": round(generator.random(), 3),
                "side": generator.choice(["<i>left</i>", "right"]),
                "label": "<b>yes</b>" if value > 0 else "no & never",
                "grade": f"grade {min(max(round(value), -1), 1)} </svg>",
                "price": round(1000 + 200 * value),
            }
        )
    return made


def adapt(settings: Path, **values: str) -> None:
    """Sets keys of settings.toml, wherever they stand first."""
    text = settings.read_text(encoding="utf-8")
    for name, value in values.items():
        text = re.sub(rf"^{name} = .*$", lambda _, n=name, v=value: f"{n} = {v}", text, count=1, flags=re.M)
    settings.write_text(text, encoding="utf-8")


def call(project: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ml_pipeline", *arguments], cwd=project, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def drift_pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of scored periods with names that are hard to show, and of a loop of weeks, by name."""
    folder = tmp_path_factory.mktemp("drift")
    made = drift_documents.drifted()
    made["features"] += [drift_documents.number(name, 0.3) for name in (SCRIPT, LONG, "ünïcode 列")]
    labels = {"<b>a</b>": (0.5, 0.2), LONG: (0.3, 0.5), "</svg>": (0.2, 0.3)}
    made["features"].append(drift_documents.category('"north" & co', labels, 0.1))
    made["violations"].append(drift_documents.violation(LONG, "data_type_check", f"{SCRIPT} is no number"))
    texts = {
        "drift": drift.page(made),
        "drift-broken": drift.page(drift_documents.broken()),
        "drift-loop": timeline.page(drift_documents.events()),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.fixture(scope="session")
def run_pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """report.html of runs of every kind, and the comparison of two, by name."""
    project = generate(tmp_path_factory.mktemp("browser") / "in")
    made = rows()
    with (project / "hostile.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(made[0]))
        writer.writeheader()
        writer.writerows(made)
    settings = project / "settings.toml"
    run = ("run", "--data", "hostile.csv")
    others = {"label": '["price", "grade"]', "grade": '["label", "price"]', "price": '["label", "grade"]'}
    adapt(settings, target='"label"', positive='"<b>yes</b>"', facets='["side"]', group="''", ids='["key"]')
    adapt(settings, exclude=others["label"], trials="3", num_round="40", attribution_rows="200")
    found = {}

    def keep(name: str, code: int = 0) -> None:
        call(project, *run, code=code)
        found[name] = (project / "runs" / "latest").resolve() / "report.html"

    keep("report")
    adapt(settings, trials="0", threshold="0.999")
    keep("rejected", code=1)
    identities = [found[name].parent.name for name in ("report", "rejected")]
    found["compare"] = project / call(project, "report", *identities)
    adapt(settings, device='"cuda"')
    keep("failed", code=1)
    adapt(settings, device='"cpu"', threshold='"trivial"', facets="[]", target='"grade"', positive='""')
    adapt(settings, problem='"multiclass"', exclude=others["grade"])
    keep("multiclass")
    adapt(settings, problem='"regression"', target='"price"', exclude=others["price"], method='"random"')
    keep("regression")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "these tests need Chromium or Chrome on PATH (Debian: apt-get install chromium)"
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


Opener = Callable[..., tuple[Page, Seen]]
Finder = Callable[[str], Path]


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Finder:
    """Where a page lies, made when it is first asked for."""
    return lambda name: request.getfixturevalue("drift_pages" if name in DRIFT else "run_pages")[name]


@pytest.fixture
def show(browser: Browser, place: Finder) -> Iterator[Opener]:
    """Opens a page by name; every request but that for the page itself is refused and recorded."""
    contexts: list[BrowserContext] = []

    def opened(name: str, width: int = 1280, **options: object) -> tuple[Page, Seen]:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        page, seen, address = contexts[-1].new_page(), Seen(), place(name).as_uri()

        def route(asked: Route) -> None:
            if asked.request.url.partition("#")[0] == address:
                asked.continue_()
            else:
                seen.requests.append(asked.request.url)
                asked.abort()

        page.route("**/*", route)
        page.on("console", lambda message: seen.messages.append(message.text))
        page.on("pageerror", lambda error: seen.messages.append(str(error)))
        page.goto(address)
        return page, seen

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", PLACES)
def test_a_page_asks_for_nothing_reports_no_error_and_runs_no_name(show, name):
    page, seen = show(name)
    page.wait_for_timeout(200)
    assert (seen.requests, seen.messages) == ([], [])
    assert page.title() != "run"
    assert page.locator("body script:not([type]), body b, body i").count() == 1  # our own script


@pytest.mark.parametrize("name", PLACES)
def test_a_page_is_small(place, name):
    assert os.path.getsize(place(name)) < LARGEST_BYTES


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PLACES)
def test_nothing_but_a_box_of_its_own_scrolls_sideways(show, name, width):
    page, _ = show(name, width)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PLACES)
def test_axe_finds_nothing_to_mend(show, name, scheme):
    page, _ = show(name, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("name", [name for name in PLACES if name not in ("failed", "drift-broken")])
def test_every_figure_says_what_it_shows(show, name):
    page, _ = show(name)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    figures = page.locator("figure")
    assert figures.count() >= (1 if name == "drift-loop" else 3)
    for place in range(figures.count()):
        label = figures.nth(place).locator("[role=img]").get_attribute("aria-label")
        assert len(label.split()) >= 5
        assert label in figures.nth(place).locator("figcaption").inner_text()
        box = figures.nth(place).locator("svg").bounding_box()
        assert box["width"] > 200 and box["height"] > 60


@pytest.mark.parametrize("name", PLACES)
def test_the_keyboard_reaches_the_content_then_every_section(show, name):
    page, _ = show(name)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    wanted = page.locator("main section").evaluate_all("(all) => all.map((each) => '#' + each.id)")
    reached = []
    for _ in wanted:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('href')"))
    assert reached == wanted
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == wanted[-1]


@pytest.mark.parametrize("name", PLACES)
def test_headings_begin_with_one_and_leave_out_none(show, name):
    page, _ = show(name)
    levels = page.locator("h1, h2, h3, h4").evaluate_all(
        "(all) => all.map((each) => Number(each.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_paper_shows_no_way_about_the_page_and_small_plots_in_columns(show):
    page, _ = show("drift")
    assert page.locator("nav").first.is_visible()
    screen = page.locator(".figures.small").first.evaluate("plots => getComputedStyle(plots).display")
    page.emulate_media(media="print")
    assert not page.locator("nav").first.is_visible()
    paper = page.locator(".figures.small").first.evaluate("plots => getComputedStyle(plots).display")
    assert screen == paper == "grid"


def test_without_javascript_all_is_there_but_the_slider(show):
    page, _ = show("report", java_script_enabled=False)
    assert page.locator("figure svg").count() >= 10
    assert page.get_by_label("A missed positive costs").is_hidden()
    assert page.get_by_role("row", name=re.compile("^20 times a false alarm")).is_visible()


def test_the_slider_moves_the_curve_and_says_what_the_table_says(show):
    page, _ = show("report")
    slider, curve = page.get_by_label("A missed positive costs"), page.locator(CURVE)
    before = curve.get_attribute("d")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "2 times a false alarm"
    assert curve.get_attribute("d") != before
    row = page.get_by_role("row", name=re.compile("^2 times a false alarm")).inner_text().split("\t")
    told = page.locator("#told").inner_text()
    assert f"at {row[3]} of the cost" in told
    assert f"threshold costs {row[4]}." in told


def test_light_and_dark_differ_in_paper_and_plots(show):
    colours = []
    for scheme in ("light", "dark"):
        page, _ = show("report", color_scheme=scheme)
        paper = page.locator("body").evaluate("(body) => getComputedStyle(body).backgroundColor")
        line = page.locator(CURVE).evaluate("(curve) => getComputedStyle(curve).stroke")
        colours.append((paper, line))
    (light, light_line), (dark, dark_line) = colours
    assert light != dark and light_line != dark_line


def test_a_table_that_is_wider_than_a_phone_is_scrolled_with_the_keyboard(show):
    page, _ = show("report", 360)
    box = page.get_by_role("region", name=re.compile("^Metrics on the three splits"))
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("(box) => box.scrollLeft > 0", arg=box.element_handle(), timeout=2000)


@pytest.mark.parametrize("name", [name for name in PLACES if name not in ("compare", "drift-loop")])
def test_the_sentences_of_a_table_are_read_on_a_phone_without_scrolling(show, name):
    page, _ = show(name, 360)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    told = page.locator("table.told")
    assert told.count() >= 1
    for place in range(told.count()):
        table = told.nth(place)
        assert table.get_by_role("row").first.get_by_role("columnheader").count() >= 3
        cells = table.locator("td:last-child").evaluate_all(
            "(all) => all.map((each) => each.getBoundingClientRect().right)"
        )
        assert cells and max(cells) <= 360
