"""The page as a browser takes it apart: nothing fetched, the data set named first, every figure where it should be."""

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from numnist import network
from numnist.common import files
from numnist.common.errors import DataError
from numnist.config import reader
from numnist.config.schema import SWEEP_AXES, TrainingConfig
from numnist.data.dataset import Dataset, Split
from numnist.evaluation import evaluate, exhibits
from numnist.evaluation.predictions import Predictions
from numnist.report import html_page, png, svg, words
from numnist.training import results
from numnist.training.loop import State
from numnist.training.results import Result

ROOT = Path(__file__).resolve().parent.parent.parent
PARAMS = reader.load_params(ROOT / "params.yaml")
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


def make_runs(root, *, name="mnist", diverged=None, axes=((6, 12), (0.1, 0.5), (10, 20), (0, 1)), **values):
    """All that the report reads, of a small sweep whose accuracies grow with hidden size, rate and iterations."""
    rng, split = np.random.default_rng(1), digits(60)
    for h, rate, iterations, seed in product(*axes):
        trial = TrainingConfig(h, rate, iterations, seed, "he", **values)
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


OURS = {
    "hidden_size": 300, "learning_rate": 0.3, "iterations": 40, "initialization": "he", "batch_size": 128,
    "momentum": 0.9, "weight_decay": 0.0, "schedule": "constant", "recipe": "note", "train_on": "all",
}  # fmt: skip
PUBLISHED = {
    "source": "A paper", "error": 0.047, "mean": 0.0199, "lowest": 0.0188, "highest": 0.0211, "seeds": 5,
    "theirs": "all of it", "ours": OURS, "measured_on": "test",
}  # fmt: skip


def digits(count):
    rng = np.random.default_rng(2)
    return Split(rng.integers(0, 256, (count, 784)).astype(np.uint8), (np.arange(count) % 10).astype(np.uint8))


def rendered(root):
    return html_page.render(html_page.read(root, PARAMS))


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
        for name in FETCHING & set(attributes) - ({"href"} if tag == "a" else set()):  # a link waits for a click
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
    assert f"is right on {test['accuracy']:.2%} of its 60 images" in page.text
    assert f"(95% interval {test['interval']['low']:.2%} to {test['interval']['high']:.2%})" in page.text


def test_every_trial_is_listed(root, page):
    listed = {words[0] for _, words in page.rows if words}
    assert set(results.read_table(root / "sweep.csv")["name"]) <= listed
    assert "16 of 16 trials finished; 0 diverged, 0 failed, 0 are missing." in page.text


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
        metrics["runner_up"]["mcnemar"] |= pair
        metrics["reference"]["mcnemar"] |= {"p_value": 1e-9, "significant": True, "only_first": 9, "only_second": 2}
        files.write_json(path, metrics)
        page = Page(rendered(tmp_path))
        assert ("not significant on this data" in page.words) != significant
        assert "(p = 0.400)" in page.text and "(p < 0.001)" in page.text


def test_published_results_stand_in_the_report_of_the_same_data_set_alone(root, page, tmp_path):
    assert re.search(r"A paper 4\.7% 1\.99% 1\.88% . 2\.11% all of it 40 iterations at rate 0\.3", page.text)
    assert "in batches of 128 images, with Nesterov momentum 0.9, on all images that are not for testing" in page.text
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
    # of each rate the validation error and both losses, and the line through the means by rate
    assert rendered(tmp_path).count("<polyline") == 9 * 3 + 1


def test_values_that_are_not_the_notes_are_told_and_every_sentence_follows_them(tmp_path):
    rich = {"batch_size": 128, "momentum": 0.9, "weight_decay": 0.0005, "schedule": "cosine"}
    make_runs(tmp_path, **rich)
    material = html_page.read(tmp_path, PARAMS)
    material.metrics["blank_pixels"] = 67
    text = Page(html_page.render(material)).text
    assert (
        "at a learning rate of 0.5, in batches of 128 images, with Nesterov momentum 0.9, with weight decay 0.0005, "
        "at a rate that falls to 0 along a cosine, did best" in text
    )
    assert "An iteration is a pass over the training images in batches of 128." in text
    assert "no stops on the same way" in text and "are stops on the same way" not in text
    assert "67 have ink in no training image" in text and "made smaller by the weight decay" in text
    for key, value in rich.items():
        assert f"{key}={value}" in text  # of the command that trains the winner alone
    assert re.search(r"momentum 0\.9 0\.9 0\.0", text)  # winner, runner-up, the note's network


def test_plain_descent_is_told_as_such(page):
    assert "An iteration is one step of descent over all training images at once." in page.text
    assert "Those with fewer are stops on the same way." in page.text
    assert re.search(
        r"pipeline\.train hidden_size=12 learning_rate=0\.5 iterations=20 seed=\d initialization=he #", page.text
    )


def test_the_command_and_the_words_know_values_that_come_later(monkeypatch):
    trial = dict.fromkeys(words.SWEEP_AXES) | words.USUAL | {"dropout": 0.5}
    monkeypatch.setitem(words.USUAL, "dropout", 0.0)
    assert words.setup(trial) == ", with dropout 0.5"
    assert words.command(trial).endswith(" dropout=0.5")


def test_a_winner_on_the_edge_of_the_grid_and_what_learned_nothing_are_told(page):
    # the made-up accuracies grow with all three values, and none of them is at chance
    for axis, value in {"hidden_size": "12", "learning_rate": "0.5", "iterations": "20"}.items():
        assert f"{axis} {value} is the highest value that was tried. A higher one may do better" in page.text
    assert "learned nothing" not in page.text


def test_trials_that_learned_nothing_are_counted_and_marked(tmp_path):
    make_runs(tmp_path)
    material = html_page.read(tmp_path, PARAMS)
    material.metrics["trials"]["learned_nothing"] = 3
    sweep = material.sweep.copy()
    sweep.loc[:2, "validation_accuracy"] = 0.1
    page = Page(html_page.render(replace(material, sweep=sweep)))
    assert "3 trials of 16 learned nothing" in page.text and "(10.00% of the validation images)" in page.text
    assert sum("learned nothing" in row for _, row in page.rows) == 3


def test_a_winner_whose_curve_ends_on_a_spike_is_marked(root, page):
    assert "spike" not in page.text
    material = html_page.read(root, PARAMS)
    material.metrics["spikes"] = [0, 1]
    assert "the winner's curve of seed 0, 1 ends on a spike" in Page(html_page.render(material)).text


def test_the_tiles_say_which_figures_are_of_one_seed(root, page):
    metrics = files.read_json(root / "reports" / "metrics.json")
    seed, validation = metrics["winner"]["seed"], metrics["validation"]
    assert f"one network, seed {seed}, the best of 2" in page.text
    spread = f"from {validation['lowest']:.2%} to {validation['highest']:.2%}"
    assert f"mean of 2 seeds, {spread}, the tested one's" in page.text


def test_links_lead_to_the_runs_where_make_ui_serves_them(root, page):
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    served = {link for link in links if not link.startswith("#")}
    assert all(link.startswith("http://127.0.0.1:5000/#/") for link in served)
    assert '"ui", "Browse the runs in MLflow.", 5000' in (ROOT / "pipeline" / "ui.py").read_text(encoding="utf-8")
    winner = files.read_json(root / "reports" / "metrics.json")["winner"]["name"]
    assert any(f"run_name = '{winner}' and datasets.digest = '{'5eed' * 9}'" in unquote(link) for link in served)


def test_every_link_inside_the_page_leads_somewhere_and_every_section_is_in_the_navigation(page):
    sections = {attributes["id"] for tag, attributes in page.tags if tag == "section"}
    links = {attributes["href"][1:] for tag, attributes in page.tags if tag == "a" and attributes["href"][0] == "#"}
    assert links == sections and "published" in links


def with_classes(material, names):
    """The same page of a data set of other classes, its predictions made up."""
    rng, count = np.random.default_rng(5), 30 * len(names)
    labels = (np.arange(count) % len(names)).astype(np.uint8)
    split = Split(rng.integers(0, 256, (count, 784)).astype(np.uint8), labels)
    predicted = np.where(rng.random(count) < 0.8, labels, rng.integers(0, len(names), count)).astype(np.uint8)
    made_up = Predictions(predicted, rng.random(count), predicted == labels)
    data = Dataset("letters", "5eed" * 16, split, split, tuple(names))
    tables = {name: table.reset_index() for name, table in exhibits.by_class(names, split, made_up).items()}
    tables = {name: table.drop(columns="index") for name, table in tables.items()}
    best = network.initialize(TrainingConfig(6, 0.1, 1, 0, "he"), rng=rng)
    described = {part: {"images": count, "class_counts": [30] * len(names)} for part in ("train", "validation", "test")}
    return replace(
        material,
        dataset={"name": "letters", "digest": "5eed" * 16, "classes": list(names)} | described,
        metrics=material.metrics | {"dataset": {"name": "letters", "digest": "5eed" * 16}},
        tables=material.tables | tables,
        pictures=exhibits.pictures(data, split, made_up, best),
        published=[],
    )


@pytest.mark.parametrize("count", [2, 26, 100])
def test_another_data_set_is_named_by_its_classes_and_never_called_digits(root, count):
    names = [f"letter {k}" for k in range(count)]
    html = html_page.render(with_classes(html_page.read(root, PARAMS), names))
    page = Page(html)
    assert page.words[0] == "letters" and "digit" not in page.text.replace("digits small", "")
    assert [row[0] for _, row in page.rows if row and row[0] in names][:count] == names
    assert html.split('class="confusion"')[1].split("</svg>")[0].count('class="field"') == count**2
    assert html.split('class="digits small"')[1].split("</ul>")[0].count("<img") == count * min(3, max(1, 40 // count))
    assert ("The commonest mistakes" in page.text) == (count > 30)


def test_names_that_a_table_would_read_as_something_else_stay_as_they_are(root, tmp_path):
    names = ["NA", "1.0", "true", "007"]
    material = with_classes(html_page.read(root, PARAMS), names)
    for name in ("per_class", "confusion"):
        material.tables[name].to_csv(tmp_path / name)
        material.tables[name] = results.read_table(tmp_path / name).iloc[:, 1:]
    page = Page(html_page.render(material))
    assert [row[0] for _, row in page.rows if row and row[0] in names][: len(names)] == names


def test_names_of_classes_are_escaped(root):
    html = html_page.render(with_classes(html_page.read(root, PARAMS), ["<b>bold</b>", "plain"]))
    assert "<b>" not in html and "&lt;b&gt;bold" in html


def test_the_bytes_of_a_picture_are_the_same_in_every_version_of_pillow():
    pixels, weights = (np.arange(784) * 37 % 251).astype(np.uint8), (np.arange(784) % 201 - 100) / 80
    written = png.digit_uri(pixels) + png.weight_uri(weights, 1.0)
    # Pillow 9.4, 10.4, 11.0, 12.0 and 13.0, with zlib and with zlib-ng
    assert hashlib.sha256(written.encode()).hexdigest().startswith("44fcea98be4ccb0b")


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
