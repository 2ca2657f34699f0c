"""The page of a scored period: verdict, what moved since when, every bound, names that try to break it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import drift_documents as documents
import pytest

from ml_pipeline import canonical, report
from ml_pipeline.errors import InputError
from ml_pipeline.report import blocks, drift, render, shapes
from ml_pipeline.report.markup import Html, element
from ml_pipeline.report.words import brief, ordinal

HOSTILE = "<script>alert(1)</script>"
NAMES = [HOSTILE, "\"double\" & 'single'", "</svg></title>", "_" + "long " * 60]


class Page(HTMLParser):
    """What a browser would make of the page: its text, tags, ids, and which figures are folded away."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.figures: list[tuple[str, bool]] = []
        self.verdict = ""
        self._folded = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.tags.append(tag)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [found["href"] or ""] if tag == "a" else []
        self._folded += tag == "details"
        if tag == "figure":
            self.figures.append((found["aria-label"] or "", bool(self._folded)))
        if found.get("id") == "verdict":
            self.verdict = found["class"] or ""

    def handle_endtag(self, tag: str) -> None:
        self._folded -= tag == "details"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """What is read, without style and script."""
        told = " ".join(" ".join(self.texts).split())
        return told[told.index("Skip to the content") :]


def page(document: documents.Document) -> Page:
    return Page(drift.page(document))


@pytest.mark.parametrize(
    ("document", "tone", "headline", "lead"),
    [
        (
            documents.document(),
            "good",
            "Quiet: nothing has drifted",
            "3,421 rows of 2026-02-16, held against the training data of model version 3.",
        ),
        (
            documents.drifted(),
            "bad",
            "Drifted: region, income, the predictions, quality (ROC AUC and log loss), bias (sex = Female) "
            "and what the model looks at",
            "Features: since 2026-02-02, the third period in a row. Predictions, quality, bias and "
            "attributions: new in this period.",
        ),
        (
            documents.broken(),
            "bad",
            "Broken data: income",
            "Broken data: new in this period. income: values are about 100 times those of the training data: "
            "has a unit changed? Rows",
        ),
        (documents.empty(), "quiet", "Empty: the period has no rows", "Nothing of 2026-02-16 was scored."),
    ],
    ids=["quiet", "drift", "broken", "empty"],
)
def test_the_verdict_comes_first_in_plain_words(document, tone, headline, lead):
    found = page(document)
    assert found.verdict == f"verdict {tone}"
    assert found.text.index(headline) < found.text.index(lead) < found.text.rindex("What to do")


def test_the_five_features_that_matter_most_come_first_and_the_others_are_folded():
    made = [documents.number(f"f{place}", 0.01 * place) for place in range(9)]
    features = [
        label for label in page(documents.document(features=made)).figures if label[0].startswith("f")
    ]
    order = sorted(made, key=lambda each: -each["importance"])
    assert [label.partition(":")[0] for label, _ in features] == [each["name"] for each in order]
    assert [folded for _, folded in features] == [False] * 5 + [True] * 4


@pytest.mark.parametrize(
    ("ratios", "told"),
    [
        ((), "in the first period that was measured"),
        ((2.0, 0.9), "new in this period"),
        ((2.0, 0.9, 1.1), "since 2026-02-09, the second period in a row"),
        ((0.2, 1.4, 2.2, 3.0), "since 2026-01-26, the fourth period in a row"),
        ((1.4, 2.2), "since 2026-02-02 or earlier, the third period in a row"),
        ((0.2, 1.4, None), "since 2026-02-02, the second period in a row"),
        ((None, None), "in the first period that was measured"),
    ],
)
def test_a_feature_is_told_since_when_it_has_drifted(ratios, told):
    made = documents.drifted(features=[documents.number("income", 0.5)], history=documents.history(*ratios))
    found = page(made)
    assert f"1 of 1 feature has drifted: income ({told})." in found.text
    assert f"Features: {told}." in found.text or f"bias and attributions: {told}." in found.text


def test_every_statistic_stands_beside_its_bound():
    made = documents.drifted()
    told = page(made).text
    for column in [*made["features"], *made["predictions"]]:
        for name, title in (("psi", "PSI"), ("ks", "KS"), ("unknown", "unknown"), ("missing", "missing")):
            if name in column["statistics"]:
                each = column["statistics"][name]
                assert f"{title} {brief(each['value'])} (bound {brief(each['threshold'])})" in told
                assert f"{brief(each['value'])} ({brief(each['threshold'])})" in told
    assert "ROC AUC 0.9100 0.8400 ✗ at least 0.88" in told
    assert "log loss 0.3000 0.3600 ✗ at most 0.33" in told
    assert "DPPL 0.1000 0.2100 ✗ 0.04 to 0.16 “>50K” is predicted 21.0 percentage points less often" in told
    assert "nDCG 0.95, bound at least 0.98" in told


def test_a_statistic_without_a_bound_is_none_that_is_violated():
    made = documents.number("income", 0.1)
    made["statistics"]["ks"] = documents.statistic(0.3, None)
    assert "KS 0.3 (bound \N{EN DASH})" in page(documents.document(features=[made])).text


def test_what_moved_is_told_in_the_columns_own_units():
    told = page(documents.drifted()).text
    assert "most lost: below 20 (1.1 %, was 5.0 %). The middle value is at 52.5 to 55, was at" in told
    assert "Most gained: unknown (12.0 %, was 0 %); most lost: north (38.0 %, was 50.0" in told
    assert "region has drifted: 12.0 % of the rows lie elsewhere than at training." in told
    assert "Together they make up 49.0 % of what the model looks at." in told


def test_what_has_not_drifted_is_not_said_to():
    found = page(documents.document())
    assert len(found.figures) == 9 and all("has not drifted" in label for label, _ in found.figures)
    assert "✗" not in found.text
    assert "None of the 7 features has drifted." in found.text
    assert "Not known yet: no true labels of this period have come." in found.text


def few(document: documents.Document) -> documents.Document:
    return document | {"rows": 31, "status": "too few"}


QUIET_FEATURES = {"features": documents.features(), "predictions": documents.predictions()}
CASES = {
    "quiet": (documents.document(), "Nothing. The period looks like the training data", "Retraining"),
    "broken": (
        documents.broken(),
        "Do not retrain, do not use scores of these data.",
        "Where the alarms are deployed",
    ),
    "unit": (documents.broken(), "Ask who delivers income. What has changed", "Drift, and quality"),
    "meant": (documents.broken(), "python -m ml_pipeline reject 3", "Retraining"),
    "category": (
        documents.drifted(),
        "New categories in region. The model has never",
        "Predictions drifted though",
    ),
    "dropped": (documents.drifted(), "Quality dropped (ROC AUC and log loss).", "quality holds"),
    "retraining": (documents.drifted(), "one that rings starts a training", "Only"),
    "holds": (documents.drifted(quality=documents.quality()), "Drift, and quality holds.", "Quality dropped"),
    "unlabelled": (documents.drifted(quality=None), "quality is not known yet.", "quality holds"),
    "labels": (documents.drifted(**QUIET_FEATURES), "The same rows now have other labels", "New categories"),
    "bias": (documents.drifted(), "Bias moved for sex = Female.", "Nothing."),
    "missing": (
        documents.drifted(features=[documents.number("income", missing=0.2)]),
        "Another share of missing values in income.",
        "New categories",
    ),
    "joint": (
        documents.drifted(features=documents.features()),
        "Predictions drifted though no single feature did.",
        "New categories",
    ),
    "new": (
        documents.drifted(
            features=[
                each | {"new": {"distinct": 6, "first": [{"value": "Mars", "rows": 12}]}}
                for each in documents.features(0.5, unknown=0.12)
            ]
        ),
        "New categories in region. region: Mars (12 rows) and 5 more. The model has never",
        "Nothing.",
    ),
    "twice": (
        documents.broken(
            broken=[
                documents.violation(
                    "id",
                    "data_type_check",
                    f"id: 1 value stands {canonical.REPEATED}, so labels could not be joined",
                )
            ]
        ),
        "If more than one row of an id is meant to be",
        "Ask who delivers",
    ),
    "few": (few(documents.document()), "Only 31 rows. Nothing is judged by fewer than 50", "Retraining"),
    "empty": (documents.empty(), "No rows. score/2026-02-16/input/ is marked complete", "Only 0"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_case_has_its_advice_and_not_that_of_another(case):
    document, told, untold = CASES[case]
    text = page(document).text
    advice = text[text.rindex("What to do") : text.rindex("By period")]
    assert told in advice
    assert untold not in advice.partition("None of the")[0]


def test_data_that_could_not_be_scored_have_a_page():
    found = [documents.violation(HOSTILE, "missing_column_check", "is not in part-0.csv")]
    told = page(documents.broken(broken=found, violations=found)).text
    assert f"Broken data: {HOSTILE}" in told
    assert told.count("is not in part-0.csv") == 3  # in the verdict, in the advice, once among the violations
    assert "drifted" not in told and "true labels" not in told


def test_what_is_broken_as_a_whole_is_told_without_a_column():
    found = [documents.violation("(all)", "data_type_check", "part-0.csv is no CSV")]
    told = page(documents.broken(broken=found, violations=found)).text
    assert "✗ Broken data 3,421 rows" in told
    assert "Ask who delivers the data. What" in told and "(all): part" not in told
    unread = page(documents.broken(broken=found, violations=found, rows=0)).text
    assert "✗ Broken data The rows of 2026-02-16 could not be read." in unread


def test_too_few_rows_are_not_said_to_be_quiet():
    found = page(few(documents.document()))
    assert found.verdict == "verdict quiet" and "Too few rows to be judged 31 rows of" in found.text
    assert "Quiet" not in found.text and "has drifted" not in found.text.replace("has not drifted", "")


def test_what_was_not_judged_is_neither_said_to_have_drifted_nor_to_be_as_it_was():
    made = few(documents.document(bias=documents.bias(), quality=documents.quality()))
    for each in (*made["features"], *made["predictions"]):
        each["statistics"] = {
            name: one | {"threshold": None, "violated": False} for name, one in each["statistics"].items()
        }
    for each in (*(metric for one in made["bias"] for metric in one["metrics"].values()),):
        each |= {"low": None, "high": None, "violated": False}
    for each in made["quality"]["metrics"].values():
        each |= {"bound": None, "violated": False}
    found = page(made)
    assert all("has not been judged" in label for label, _ in found.figures)
    told = "Features not judged", "Bias has not been judged", "What the model looks at has not been judged"
    assert all(each in found.text for each in (*told, "Quality has not been judged"))
    assert not any(each in found.text for each in ("has not drifted", "holds", "is within its bounds in"))


def test_drift_beside_a_quality_of_too_few_labels_is_not_said_to_do_no_harm():
    quality = documents.quality()
    for each in quality["metrics"].values():
        each["bound"] = None
    told = page(documents.drifted(quality=quality)).text
    assert "Drift, and quality is not known yet" in told and "quality holds" not in told


def test_a_bound_that_settings_fix_may_be_above_the_value_at_training():
    quality = documents.quality()
    quality["metrics"]["auc"] |= {"bound": 0.95, "violated": True}
    told = page(documents.drifted(quality=quality)).text
    assert "at least 0.95" in told and "ROC AUC is worse than its bound, " in told


def test_notes_stand_below_the_verdict_and_bad_labels_are_not_said_to_be_missing():
    note = "truth/2026-02-16 was not joined: l.csv row 3"
    found = page(documents.document(notes=[note]))
    assert found.text.index("held against") < found.text.index(f"{note}.") < found.text.rindex("What to do")
    assert "the labels that have come could not be joined" in found.text
    assert "no true labels" not in found.text


def test_violations_of_groups_metrics_and_the_ranking_are_named():
    found = [
        {
            "facet": "sex",
            "facet_value": "f",
            "metric_name": "DI",
            "constraint_check_type": "bias_drift_check",
        },
        {"metric_name": "auc", "constraint_check_type": "LessThanThreshold"},
        {
            "label": "label0",
            "metric_name": "shap",
            "constraint_check_type": "feature_attribution_drift_check",
        },
    ]
    told = page(documents.drifted(violations=[each | {"description": "is far off"} for each in found])).text
    assert "DI of sex = f bias_drift_check is far off auc LessThanThreshold is far off shap feature_" in told


def test_a_metric_that_was_not_judged_is_neither_kept_nor_missed():
    quality = documents.quality()
    quality["metrics"] = {"auc": {"baseline": 0.9, "value": None, "bound": None, "violated": False}}
    none = {"baseline": 0.1, "value": None, "low": None, "high": None, "violated": False}
    bias = [documents.bias()[0] | {"metrics": {"DI": none}}]
    told = page(documents.document(quality=quality, bias=bias)).text
    assert "ROC AUC 0.9000 \N{EN DASH} \N{EN DASH} chance that" in told
    assert "DI 0.1000 null \N{EN DASH} Not computable." in told


def test_hostile_names_are_shown_and_never_run():
    shares = {name: (1 / len(NAMES), 1 / len(NAMES)) for name in NAMES}
    features = [documents.number(name, 0.5) for name in NAMES[:3]] + [
        documents.category(NAMES[3], shares, 0.3)
    ]
    found = [documents.violation(name, name, name) for name in NAMES]
    bias = [each | {"facet": NAMES[0], "group": NAMES[1]} for each in documents.bias(0.3)]
    weights = dict.fromkeys(NAMES, 0.25)
    attribution = documents.attribution() | {"baseline": weights, "current": weights}
    made = documents.drifted(features=features, violations=found, bias=bias, attribution=attribution)
    for document in (made, made | {"status": "broken", "broken": found}):
        shown = page(document)
        assert shown.tags.count("script") == 1
        assert shown.ids and len(shown.ids) == len(set(shown.ids))
        assert {" ".join(name.split()) for name in NAMES} <= {" ".join(text.split()) for text in shown.texts}


def test_ranks_tell_who_climbed():
    weights = {
        "baseline": {"a": 3.0, "b": 2.0, "c": 1.0},
        "current": {"c": 5.0, "a": 3.0, "b": 2.0, "new": 0.0},
    }
    told = page(documents.document(attribution=documents.attribution(0.9) | weights)).text
    assert "c 3 1 up 2 16.7 % 50.0 %" in told
    assert "b 2 3 down 1" in told and "new \N{EN DASH} 4 new" in told
    assert "c climbed most" in told


def test_the_table_of_periods_has_the_newest_first_and_gaps_where_nothing_was_measured():
    told = page(documents.drifted(quality=None)).text
    assert "2026-02-16 ✗ 2 ✗ 2 \N{EN DASH} ✗ 1 ✗ 1 0 2026-02-09 ✗ 1 0 0 0 0 0" in told
    assert "4 of the 6 earlier periods were quiet." in told


def test_a_feature_has_a_number_above_1_in_the_table_of_periods_whichever_statistic_has_drifted():
    made = documents.drifted(features=[documents.number("income", missing=0.05, bound=10.0)])
    (feature,) = made["features"]
    assert feature["violated"] and not feature["statistics"]["psi"]["violated"]
    assert "2026-02-16 ✗ 2.50 \N{EN DASH} 2026-02-09" in page(made).text


def test_a_wide_and_long_period_makes_a_page_below_a_megabyte():
    shares = {f"category {place} of a name that is long": (0.02, 0.02) for place in range(50)}
    made = [documents.number(f"number {place}", 0.3) for place in range(900)]
    made += [documents.category(f"category {place}", shares, 0.1) for place in range(600)]
    text = drift.page(
        documents.drifted(features=made, violations=[documents.violation("x", "y", "z")] * 5000)
    )
    assert len(text.encode()) < 1_000_000
    assert (
        " and 1,495 more. Together" in text
        and "500 more are in drift.json" in text
        and "1,495 more features, 40 of them drawn" in text
    )


def test_the_page_takes_nothing_that_the_image_of_the_steps_has_not():
    blocked = (
        "import sys; sys.modules.update(dict.fromkeys(('matplotlib', 'jinja2', 'markupsafe', 'sagemaker')))"
    )
    made = "import json; from ml_pipeline.report import drift; print(drift.page(json.load(sys.stdin)))"
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}; {made}"],
        cwd=Path(drift.__file__).parent.parent.parent,
        input=json.dumps(documents.drifted()),
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == (f"{drift.page(documents.drifted())}\n", "")


def test_the_same_document_gives_the_same_page():
    assert drift.page(documents.drifted()) == drift.page(json.loads(json.dumps(documents.drifted())))


def write(folder: Any, document: documents.Document) -> None:
    folder.mkdir(parents=True)
    (folder / "drift.json").write_text(json.dumps(document), encoding="utf-8")


def test_a_run_of_one_period_has_its_page(tmp_path):
    write(tmp_path / "monitor", documents.drifted())
    assert drift.write(tmp_path) == tmp_path / "report.html"
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == drift.page(documents.drifted())


def test_a_run_of_several_periods_has_the_newest_page_which_links_to_the_others(tmp_path):
    for day in ("2026-02-16", "2026-02-02", "2026-02-09"):
        write(tmp_path / "monitor" / day, documents.document(period=day))
    found = Page(drift.write(tmp_path).read_text(encoding="utf-8"))
    assert "rows of 2026-02-16, held" in found.text
    others = [link for link in found.links if not link.startswith("#")]
    assert others == ["monitor/2026-02-02/report.html", "monitor/2026-02-09/report.html"]
    for place in others:
        assert f"rows of {place[8:18]}, held" in (tmp_path / place).read_text(encoding="utf-8")


def test_the_report_of_a_scoring_run_is_that_of_its_drift_and_compares_with_none(tmp_path):
    write(tmp_path / "monitor", documents.document())
    assert "Quiet: nothing" in report.write(tmp_path).read_text(encoding="utf-8")
    with pytest.raises(InputError, match="is a scoring run, and only runs that train are compared"):
        report.compare(tmp_path, tmp_path)


def test_a_folder_without_drift_is_told(tmp_path):
    with pytest.raises(InputError, match=r"monitor: no drift\.json there"):
        drift.write(tmp_path)


def test_bins_are_drawn_at_their_shares():
    text = shapes.bins(["low", "high", "missing"], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6], 1, True)
    scale = shapes.Scale(1.08 * 0.6)
    lines = re.findall(r'class="now moved" d="([^"]+)"', text)
    heights = [re.findall(r"V([\d.]+)", line)[:-1] for line in lines]
    assert heights == [[scale.y(0.2), scale.y(0.2)], [scale.y(0.6)]]
    assert float(scale.y(0)) == shapes.TOP + shapes.AREA and float(scale.y(scale.top)) == shapes.TOP


@pytest.mark.parametrize(
    ("first", "middle", "shown"),
    [("below 19", "35 to 37", True), ("below 0.002448", "0.08551 to 0.12", False)],
)
def test_the_middle_of_an_axis_is_labelled_where_it_touches_no_end(first, middle, shown):
    labels = [first, "b", middle, "d", "from 63"]
    assert (middle in shapes.bins(labels, [0.2] * 5, [0.2] * 5, 0, False)) is shown


def test_categories_are_drawn_in_proportion_the_rare_ones_together():
    text = shapes.categories(["a", "b"], [0.8, 0.2], [0.4, 0.6], False)
    widths = [float(width) for width in re.findall(r'width="([\d.]+)"', text)]
    assert widths[0] == shapes.WIDTH - shapes.SHARES
    assert [width / widths[0] for width in widths] == pytest.approx([1, 0.5, 0.25, 0.75], abs=0.01)
    shares = {f"c{place:02}": (0.05, 0.05) for place in range(20)}
    told = page(documents.document(features=[documents.category("many", shares)])).text
    assert "13 others 65.0 % → 65.0 %" in told


@pytest.mark.parametrize(
    ("count", "told"), [(1, "first"), (10, "tenth"), (11, "11th"), (13, "13th"), (21, "21st"), (102, "102nd")]
)
def test_ordinals(count, told):
    assert ordinal(count) == told


def test_texts_and_attributes_are_escaped_and_markup_is_not():
    inner = element("b", "<&")
    assert inner == "<b>&lt;&amp;</b>" and isinstance(inner, Html)
    made = element("p", inner, None, [" ", "x"], class_='"<', aria_label=None, hidden=True)
    assert made == '<p class="&quot;&lt;" hidden><b>&lt;&amp;</b> \nx</p>'


def test_numbers_for_a_script_cannot_end_it():
    figure, table = blocks.Figure("", "", "", ""), blocks.Table("", [], [])
    made = blocks.Costs(figure, table, {"ratios": [1.0], "names": "</script>"})
    assert render.drawn([made], 3).count("</script>") == 1
