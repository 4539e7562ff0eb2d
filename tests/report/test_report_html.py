"""The HTML report. Oracles: the HTML parser's view of the page, the comparison's own numbers, and invariance of the page's structure
under hostile names."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tests.report import fakes

from statewise._core.errors import NumericalError
from statewise.report.html import report_page, write_report
from statewise.results.comparison import Comparison
from statewise.sequences.sequences import Sequences

NAMES = ["VARMA(p=2, q=1)", "HMM(states=4)", "Naive", "SeasonalNaive(1)"]
VOID = {"meta", "link", "br", "img", "hr", "input"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "'-alert(3)-'</script><svg onload=alert(4)>",
    "{{ 7 * 7 }}{% raw %}",
    "</title><style>*{display:none}</style>",
    "<!--",
    "]]>&lt;b&gt;",
    "javascript:alert(5)//%{x}$\\frac{1}{2}$\u2028",
]


class Page(HTMLParser):
    """A page as a strict reader sees it: open elements must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.shape: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attrs, text = self.scripts[-1]
            self.scripts[-1] = (attrs, text + data)
        elif self.open and self.open[-1] != "style":
            self.words.append(data)
            if {"td", "th"} & set(self.open):
                self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def figures(self) -> dict:
        return next(json.loads(text) for attrs, text in self.scripts if attrs.get("id") == "figures")


def make(seqs: Sequences, names: list[str] = NAMES, failed: str | None = "RNN()", title: str = "title", **more) -> str:
    model = fakes.Persistence(names[0])
    comparison = more.pop("comparison", None) or fakes.compared(seqs, names, failed=failed)
    forecast = more.pop("forecast", model.forecast(seqs, 4))
    return report_page(title, seqs, comparison, model, forecast, more.pop("notes", ("a note",)), Path("runs/x"))


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(make(fakes.yearly()))


def test_the_page_is_well_formed(page):
    assert page.open == []
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    referred = [value for _, name, value in page.attributes if name == "aria-labelledby"]
    assert referred and set(referred) <= set(ids)


def test_the_reader_can_fail():
    for broken in ("<p><b></p></b>", "</p>"):
        with pytest.raises(AssertionError, match="closes"):
            Page(broken)


def test_nothing_is_loaded_from_outside(page):
    links = [
        (tag, name, value)
        for tag, name, value in page.attributes
        if name in ("src", "href", "srcset", "data", "action")
    ]
    assert [link for link in links if not link[2].startswith(("data:", "#"))] == []
    css = re.search("<style>(.*?)</style>", make(fakes.yearly()), re.DOTALL)
    assert css is not None
    assert "url(" not in css[1] and "@import" not in css[1]


def test_the_browser_is_told_to_run_only_our_scripts(page):
    """The policy holds the hash of each executable script, so that an injected one would not run even if escaping failed."""
    policy = next(value for _, name, value in page.attributes if name == "content" and "script-src" in value)
    assert "default-src 'none'" in policy
    sources = re.search("script-src ([^;]*)", policy)
    assert sources is not None
    assert "unsafe" not in sources[1]
    executable = [text for attrs, text in page.scripts if attrs.get("type") != "application/json"]
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in executable}
    assert len(executable) == 2
    assert {f"'sha256-{digest}'" for digest in digests} == set(sources[1].split())


def test_plotly_is_inlined_once(page):
    assert sum("plotly.js v" in text for _, text in page.scripts) == 1


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_change_no_structure(hostile):
    """Invariance: with hostile names in every place the page has the same elements and attributes as with harmless ones."""
    assert Page(hostile_page(hostile)).shape == Page(hostile_page("harmless")).shape


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_are_shown_as_they_are(hostile):
    page = Page(hostile_page(hostile))
    shown = " ".join(hostile.split())
    assert page.text.count(shown) > 5
    executable = [text for attrs, text in page.scripts if attrs.get("type") != "application/json"]
    assert len(executable) == 2 and not any("alert(" in text for text in executable)


def hostile_page(name: str) -> str:
    given = fakes.panel()
    seqs = given.replace(columns=[f"{name} column"], ids=[f"{name} {n}" for n in range(3)])
    names = [f"{name} {n}" for n in range(4)]
    comparison = fakes.compared(seqs, names, failed=f"{name} failed")
    return make(seqs, names, comparison=comparison, title=name, notes=(f"{name} note",))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_cannot_leave_the_json(hostile):
    text = hostile_page(hostile)
    start = text.index('id="figures">') + len('id="figures">')
    blob = text[start : text.index("</script>", start)]
    assert not set("<>&\u2028\u2029") & set(blob)
    templates = re.findall('"hovertemplate": "(.*?)"', json.dumps(json.loads(blob), ensure_ascii=False))
    assert templates
    for template in templates:
        assert re.findall("<.*?>", template.replace("<br>", "").replace("<extra></extra>", "")) == []
        assert {part.split(":")[0].split("[")[0] for part in re.findall("%{(.*?)}", template)} <= {
            "x",
            "y",
            "customdata",
        }


def test_the_table_has_the_comparisons_numbers(page):
    """The numbers in the page's table are those of the comparison, rounded."""
    comparison = fakes.compared(fakes.yearly(), NAMES, failed="RNN()")
    check_table(page, comparison)


def check_table(page: Page, comparison: Comparison) -> None:
    head = next(row for row in page.rows if row and row[0] == "model")
    assert [heading.replace("\u00a0", " ") for heading in head[1:]] == [
        "log score", "difference ± SE", "p", "CRPS", "RMSE", "MASE", "cover 80 %", "cover 95 %", "memory", "fit s", "parameters",
    ]  # fmt: skip
    for score in comparison.scores:
        row = next(
            row for row in page.rows if row and row[0].split()[0] == score.name.split()[0] and len(row) in (2, 12)
        )
        if score.failure is not None:
            assert row[1] == score.failure
            continue
        cells = [cell.replace("−", "-") for cell in row[1:]]
        numbers = [float(cells[k]) for k in (0, 3, 4, 5, 6, 7, 8, 9, 10)]
        expected = [
            score.log_score, score.crps, score.rmse, score.mase, score.coverage[80], score.coverage[95],
            score.memory.half_life, score.fit_seconds, score.n_parameters,
        ]  # fmt: skip
        np.testing.assert_allclose(numbers, expected, rtol=5e-3, atol=0.051)
        if score is comparison.best:
            assert cells[1] == cells[2] == "–"
            assert "best" in row[0]
        else:
            difference, se = cells[1].split(" ± ")
            np.testing.assert_allclose(
                [float(difference), float(se)], [score.difference, score.difference_se], atol=6e-4
            )
            assert float(cells[2]) == pytest.approx(score.p_value, rel=0.06)
        assert ("baseline" in row[0]) == score.is_baseline


def test_the_sentences_have_the_tables_numbers(page):
    """The spoken twin says the same numbers as the cells of the table."""
    for row in (row for row in page.rows if len(row) == 12 and row[0] != "model"):
        name = row[0].split("  ")[0].strip().split("\n")[0]
        sentence = next(text for text in map(str.strip, page.words) if re.match(rf"\d\. {re.escape(name)}", text))
        for cell in row[1:]:
            assert cell == "–" or cell in sentence, f"{cell} is missing in: {sentence}"


def test_every_figure_has_a_twin_and_a_label(page):
    plots = [value for tag, name, value in page.attributes if tag == "div" and name == "aria-label"]
    figures = [value for tag, name, value in page.attributes if name == "data-figure"]
    assert set(figures) == {"data", "backtest", "future", "residuals"}
    assert len([label for label in plots if label.endswith(".")]) == len(figures)
    captions = page.text
    for caption in (
        "The data",
        "Forecasts of VARMA(p=2, q=1)",
        "The forecast beyond the data",
        "Autocorrelation by lag",
        "Quantiles",
    ):
        assert caption in captions
    for name, count in (("data", 1), ("backtest", 1), ("future", 1), ("residuals", 3)):
        assert len(page.figures[name]["panels"]) == count


def test_every_model_can_be_chosen_and_the_winner_is_first(page):
    traces = page.figures["backtest"]["panels"][0]["traces"]
    assert {key for key in traces if key.startswith("m")} == {f"m{j}s0" for j in range(len(NAMES))}
    assert page.figures["backtest"]["model"] == "m0"
    windows = {trace["meta"]["window"] for trace in traces["m0s0"]}
    assert windows == {0, 1, 2}
    assert "VARMA(p=2, q=1) (best)" in page.text


def test_it_says_how_to_use_the_run(page):
    assert "model = sw.load('runs/x/model')" in page.text
    assert "statewise forecast runs/x --steps 4" in page.text


def test_notes_come_from_everywhere(page):
    for note in ("a note", "a note of the comparison", "a note of the fit", "stopped at the iteration limit"):
        assert note in page.text


@pytest.mark.parametrize("seqs", [fakes.quarterly(), fakes.panel(), fakes.gappy()], ids=["quarterly", "panel", "gappy"])
def test_other_shapes(seqs):
    page = Page(make(seqs))
    assert page.open == []
    assert len(page.figures["data"]["panels"]) == seqs.dim
    for column in seqs.columns:
        assert column in page.text


def test_many_sequences_and_columns_are_counted():
    rng = np.random.default_rng(0)
    seqs = Sequences.from_arrays([rng.normal(size=(30, 8)).cumsum(axis=0) for _ in range(12)])
    page = Page(make(seqs))
    assert "The first 4 of 12 sequences are drawn." in page.text
    assert "The first 6 of 8 columns are drawn." in page.text
    assert "of 12 sequences can be chosen here." in page.text
    assert len(page.figures["data"]["panels"]) == 6


def test_long_series_are_thinned_and_it_is_said():
    seqs = Sequences(np.random.default_rng(0).normal(size=20_000).cumsum(), [20_000])
    page = Page(make(seqs))
    assert "thinned for display" in page.text
    assert len(page.figures["data"]["panels"][0]["traces"][""][0]["x"]) < 5000


def test_without_a_forecast_the_page_says_so():
    page = Page(make(fakes.yearly(), forecast=None))
    assert "There is no forecast beyond the data; the notes say why." in page.text
    assert page.figures["future"]["panels"] == []


def test_when_every_model_failed():
    given = fakes.compared(fakes.yearly(), NAMES, failed="RNN()")
    comparison = Comparison((given.scores[-1],), {}, 6, 3, 1, given.columns, "No model could be scored.", ())
    page = Page(make(fakes.yearly(), comparison=comparison))
    assert "No model could be scored, so there are no forecasts to show." in page.text


def test_a_model_that_cannot_say_its_memory():
    class Silent(fakes.Persistence):
        def memory(self, data=None):
            raise NumericalError("no eigenvalues")

    seqs = fakes.yearly()
    model = Silent(NAMES[0])
    page = Page(report_page("t", seqs, fakes.compared(seqs, NAMES), model, model.forecast(seqs, 3), (), Path("x")))
    assert "the process itself has a half-life" not in page.text


def test_write_report(tmp_path):
    seqs = fakes.yearly()
    model = fakes.Persistence(NAMES[0])
    path = write_report(
        tmp_path / "deep" / "report.html",
        title="sunspots",
        seqs=seqs,
        comparison=fakes.compared(seqs, NAMES),
        model=model,
        forecast=model.forecast(seqs, 3),
    )
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]
    assert path.stat().st_size < 6_000_000
    assert Page(path.read_text(encoding="utf-8")).open == []
