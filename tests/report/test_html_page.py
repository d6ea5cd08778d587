"""The page as a browser takes it apart: nothing fetched, the data set named first, every figure where it should be."""

import base64
import io
import re
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from numnist import network
from numnist.common import files
from numnist.common.errors import DataError
from numnist.config import reader
from numnist.config.schema import SWEEP_AXES, TrainingConfig
from numnist.data.dataset import Dataset, Split
from numnist.evaluation import evaluate
from numnist.report import html_page, png, svg
from numnist.training import results
from numnist.training.loop import State
from numnist.training.results import Result

ROOT = Path(__file__).resolve().parent.parent.parent
FETCHING = {"src", "srcset", "href", "data", "poster", "action", "formaction", "background", "xlink:href"}


class Page(HTMLParser):
    """The parts of a page that tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.rows, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)
        if tag == "tr":
            self.rows.append((dict(attributes).get("class"), []))

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if data.strip() and not {"style", "script", "title"} & set(self.open):
            self.words.append(data.strip())
            if {"td", "th"} & set(self.open):
                self.rows[-1][1].append(data.strip())

    @property
    def first(self):
        """The row of rank 1."""
        return next(words for kind, words in self.rows if kind == "winner" and words[0] == "1")

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def curves(iterations, end, rng):
    accuracy = 0.1 + (end - 0.1) * (1 - np.exp(-np.arange(iterations + 1) / 4)) + rng.normal(0, 0.003, iterations + 1)
    return np.stack([2.3 - 2 * accuracy, accuracy, 2.35 - 2 * accuracy, accuracy], axis=1)


def make_runs(root, *, name="mnist", diverged=None, axes=((6, 12), (0.1, 0.5), (10, 20), (0, 1))):
    """All that the report reads, of a small sweep whose accuracies grow with hidden size, rate and iterations."""
    rng, split = np.random.default_rng(1), digits(60)
    for h, rate, iterations, seed in product(*axes):
        trial = TrainingConfig(h, rate, iterations, seed, "he")
        p = network.initialize(trial, rng=np.random.default_rng(seed))
        state = State(p, curves(iterations, 0.4 + h / 40 + rate / 4 + iterations / 200, rng))
        if trial == diverged:
            state = State(p, np.vstack([state.curves[:5], np.full((1, 4), np.nan)]))
        results.write_run(root / "runs" / trial.name, Result(trial, "key", state), {"name": name})
    results.write_table(root / "sweep.csv", root / "runs")
    described = {
        part_name: {"images": 60, "sha256": "0" * 64, "class_counts": [6] * 10}
        for part_name in ("train", "validation", "test")
    }
    about = {"name": name, "digest": "5eed" * 16, "classes": list("0123456789")}
    files.write_json(root / "data" / "processed" / "dataset.json", about | described)
    config = TrainingConfig(10, 0.1, 3, 0, "uniform")
    note = Result(config, "key", State(network.initialize(config, rng=np.random.default_rng(9)), np.full((4, 4), 0.5)))
    data = Dataset(name, "5eed" * 16, split, split)
    sweep = evaluate.Sweep(results.read_table(root / "sweep.csv"), dict(zip(SWEEP_AXES, axes)), root / "runs")
    found = evaluate.evaluate(sweep, data, note, lambda: digits(60))
    evaluate.write(found, root / "reports")
    identity = {"name": name, "digest": "5eed" * 16}
    files.write_json(root / "docs" / "published.json", {"dataset": identity, "rows": [PUBLISHED]})


PUBLISHED = {"source": "A paper", "error": 0.047, "mean": 0.0199, "lowest": 0.0188, "highest": 0.0211, "seeds": 5,
             "theirs": "all of it"}  # fmt: skip


def digits(count):
    rng = np.random.default_rng(2)
    return Split(rng.integers(0, 256, (count, 784)).astype(np.uint8), (np.arange(count) % 10).astype(np.uint8))


def rendered(root):
    return html_page.render(html_page.read(root, reader.load_params(ROOT / "params.yaml")))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("root")
    make_runs(path)
    return path


@pytest.fixture(scope="module")
def html(root):
    return rendered(root)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_a_browser_would_fetch_nothing(html, page):
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        for name in FETCHING & set(attributes):
            assert attributes[name].startswith(("data:image/png;base64,", "#")), (tag, name, attributes[name][:60])
        assert "url(" not in attributes.get("style", "")
    for inline in re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", html, re.S):
        assert not re.search(r"url\(|@import|https?:|//[a-z]+\.|fetch\(|XMLHttp", inline)
    assert "default-src 'none'" in next(
        a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    )


def test_the_same_inputs_give_the_same_bytes(root, html, tmp_path):
    assert rendered(root) == html
    make_runs(tmp_path)
    assert rendered(tmp_path) == html


def test_the_page_holds_no_path_of_this_machine(root, html):
    assert str(root) not in html
    assert str(ROOT) not in html


def test_the_first_words_name_the_data_set(page):
    assert page.words[0] == "MNIST"


def test_the_sample_is_said_to_be_no_mnist_in_the_first_words(tmp_path):
    make_runs(tmp_path, name="mnist-5k")
    assert Page(rendered(tmp_path)).words[0] == "mnist-5k: a sample of 5,000 digits, not MNIST"


def test_the_winner_stands_first_in_the_table_with_its_mean_over_seeds(root, page):
    sweep = results.read_table(root / "sweep.csv")
    trials = sweep[(sweep.hidden_size == 12) & (sweep.learning_rate == 0.5) & (sweep.iterations == 20)]
    rank, size, rate, iterations, mean, lowest, highest, seeds, *_ = page.first
    assert (rank, size, rate, iterations, seeds) == ("1", "12", "0.5", "20", "2")
    accuracies = trials.validation_accuracy
    assert (mean, lowest, highest) == tuple(f"{x:.2%}" for x in (accuracies.mean(), accuracies.min(), accuracies.max()))


def test_the_test_accuracy_stands_in_the_summary_with_its_interval(root, page):
    test = files.read_json(root / "reports" / "metrics.json")["test"]
    assert f"right on {test['accuracy']:.2%} of its 60 images" in page.text
    assert f"(95% interval {test['interval']['low']:.2%} to {test['interval']['high']:.2%})" in page.text


def test_every_trial_is_listed(root, page):
    listed = {words[0] for _, words in page.rows if words}
    assert set(results.read_table(root / "sweep.csv")["name"]) <= listed
    assert "No trial diverged and none is missing." in page.text


def test_a_diverged_trial_is_listed_and_its_configuration_not_ranked(tmp_path):
    make_runs(tmp_path, diverged=TrainingConfig(12, 0.5, 20, 1, "he"))
    page = Page(rendered(tmp_path))
    assert (None, ["12", "0.5", "20", "1", "diverged"]) in page.rows
    assert "not finished" in page.words
    assert page.first[:4] == ["1", "12", "0.1", "20"]


def test_networks_that_answer_alike_are_called_not_separable(tmp_path):
    make_runs(tmp_path)
    path = tmp_path / "reports" / "metrics.json"
    metrics = files.read_json(path)
    for significant in (False, True):
        pair = {"p_value": 0.4, "significant": significant, "only_first": 9, "only_second": 6}
        metrics["mcnemar"]["runner_up"] |= pair
        metrics["mcnemar"]["reference"] |= {"p_value": 1e-9, "significant": True, "only_first": 9, "only_second": 2}
        files.write_json(path, metrics)
        page = Page(rendered(tmp_path))
        assert ("not significant on this data" in page.words) != significant
        assert "(p = 0.400)" in page.text and "(p < 0.001)" in page.text


def test_the_heat_maps_make_a_page_of_their_own(root):
    text = html_page.heat_maps(html_page.read(root, reader.load_params(ROOT / "params.yaml")))
    assert text.count("<svg") == 2 and "10 iterations" in text and "20 iterations" in text
    assert "--ramp-low" in text and "http" not in text


def test_published_results_stand_in_the_report_of_the_same_data_set_alone(root, page, tmp_path):
    assert re.search(r"A paper 4\.7% 1\.99% 1\.88% . 2\.11% all of it", page.text)
    make_runs(tmp_path)
    path = tmp_path / "docs" / "published.json"
    files.write_json(path, files.read_json(path) | {"dataset": {"name": "mnist", "digest": "other"}})
    assert "A paper" not in Page(rendered(tmp_path)).text


def test_a_missing_table_is_an_error_that_names_it(tmp_path):
    make_runs(tmp_path)
    (tmp_path / "reports" / "tables" / "per_class.csv").unlink()
    with pytest.raises(DataError, match=r"per_class\.csv"):
        rendered(tmp_path)


def test_a_sweep_of_one_trial_gives_a_page_without_a_runner_up(tmp_path):
    make_runs(tmp_path, axes=((6,), (0.1,), (1,), (3,)))
    page = Page(rendered(tmp_path))
    assert page.first[:4] == ["1", "6", "0.1", "1"]
    assert "There is no runner-up of another size or rate to compare with." in page.text


def test_more_rates_than_colours_still_give_a_page(tmp_path):
    make_runs(tmp_path, axes=((6,), [0.1 * k for k in range(1, 10)], (5,), (0,)))
    assert rendered(tmp_path).count("<polyline") == 9 * 3  # validation error, and both losses


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


def test_a_digit_is_read_back_by_pillow_pixel_for_pixel():
    pixels = np.random.default_rng(3).integers(0, 256, 784).astype(np.uint8)
    assert (np.asarray(decoded(png.digit_uri(pixels))).ravel() == pixels).all()


def test_weights_are_blue_white_and_orange_on_a_symmetric_scale():
    weights = np.zeros(784)
    weights[:6] = -2, 2, -1, 1, -0.5, 0.5
    picture = np.asarray(decoded(png.weight_uri(weights, 1)).convert("RGB")).reshape(784, 3)
    assert (picture[0] == picture[2]).all() and (picture[1] == picture[3]).all()  # no further than the reach
    assert picture[2, 2] > picture[2, 0] and picture[3, 0] > picture[3, 2]
    assert picture[2, 0] < picture[4, 0] and picture[3, 2] < picture[5, 2]  # half the weight, a paler colour
    assert (picture[6] == 247).all()


def test_the_winner_and_no_other_field_is_outlined_in_the_heat_maps(html):
    maps = html.split('id="sweep"')[1].split("</section>")[0]
    assert maps.count('class="outline"') == 1


def test_text_in_a_figure_is_escaped():
    drawn = svg.heat_map(
        [[svg.Cell("<b>", 1.0, hint="a&b")]], ["<i>"], ["c"], title="", row_title="r", column_title="c"
    )
    assert "<b>" not in drawn and "<i>" not in drawn and "&lt;b&gt;" in drawn and "a&amp;b" in drawn


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.04, 1, [0.05, 0.1, 0.2, 0.5, 1]), (1e-4, 1, [1e-4, 1e-3, 0.01, 0.1, 1])]
)
def test_logarithmic_ticks_are_round_numbers_within_the_axis(low, high, expected):
    assert svg.log_ticks(low, high) == pytest.approx(expected)
