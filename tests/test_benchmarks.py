"""The benchmark's own parts: what it measures, what it trains on, what it writes. Needs none of the peers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import images, problem, report
from benchmarks.cases import QUICK, Sizes, limit_gflop, rows
from benchmarks.contestants import CONTESTANTS, notebook, ours
from benchmarks.report import Figure

TRIALS = [
    {"hidden_size": h, "learning_rate": rate, "iterations": k, "seed": 0, "initialization": "he"}
    for h in (10, 32)
    for rate in (0.1, 0.3)
    for k in (100, 250)
]
ABOUT = {
    "images": "made up",
    "machine": {"CPU": "a CPU"},
    "versions": {"numpy": "1"},
    "agreement": {"jax": 2e-7},
    "pixels_left": {55_000: 0.4},
    "peaks": [{"mode": "exact", "threads": 2, "gflops": 200.0}, {"mode": "fast", "threads": 2, "gflops": 400.0}],
}


def small_problem(tmp_path, networks):
    pixels, labels = images.synthetic(600)
    np.savez(tmp_path / "images.npz", pixels=pixels, labels=labels)
    size = {"images": 600, "hidden_size": 5, "networks": networks, "threads": 2}
    return problem.load(tmp_path / "images.npz", **size)


def test_synthetic_images_have_mnists_share_of_ink_and_its_blank_pixels():
    pixels, labels = images.synthetic(5000)
    assert pixels.shape == (5000, 784)
    assert np.mean(pixels > 0) == pytest.approx(0.19, abs=0.01)
    assert np.sum(~pixels.any(axis=0)) >= 67
    assert not pixels[:, 0].any()  # a corner
    assert pixels[:, 14 * 28 + 14].any()  # the middle
    assert set(labels) == set(range(10))


def test_numnist_and_the_notebooks_code_reach_the_same_weights(tmp_path):
    whole = small_problem(tmp_path, networks=2)
    stack = ours.prepare(whole, "exact")
    stack(2)
    together = stack(3)
    for i in range(2):
        alone = notebook.prepare(whole.alone(i), "")(5)
        for mine, theirs in zip(together, alone):
            np.testing.assert_allclose(mine[i : i + 1], theirs, atol=1e-5)
    assert np.abs(together[3]).max() > 1e-3  # b2, which started at 0


def test_images_are_repeated_where_more_are_asked_for_than_there_are(tmp_path):
    small_problem(tmp_path, networks=1)
    twice = problem.load(tmp_path / "images.npz", images=1200, hidden_size=2, networks=1, threads=1)
    np.testing.assert_array_equal(twice.pixels[:600], twice.pixels[600:])


def test_a_peers_sweep_is_its_iterations_job_by_job_and_for_a_stack_the_longest():
    made = {row.contestant: row for row in rows([3], Sizes(), TRIALS, list(CONTESTANTS), cores=2)}
    assert [factor for _, factor in made["torch"].parts] == [2 * (100 + 250)] * 2
    assert [factor for _, factor in made["jax-vmap"].parts] == [2 * 250] * 2  # times two networks, 250 iterations
    assert [case.networks for case, _ in made["jax-vmap"].parts] == [2, 2]
    assert not {"exact", "fast"} & set(made)


def test_every_contestant_is_measured_in_the_works_that_it_can_do():
    made = rows([1, 2], Sizes(), TRIALS, list(CONTESTANTS), cores=2)
    assert {row.contestant for row in made if row.work == 1} == set(CONTESTANTS) - {"torch-vmap", "jax-vmap"}
    assert {row.contestant for row in made if row.work == 2} == set(CONTESTANTS)
    assert {case.networks for row in made for case, _ in row.parts if row.work == 2 and row.contestant == "torch"} == {
        1
    }


def test_growth_leaves_jax_out_at_a_thousand_networks():
    made = rows([4], replace(QUICK, networks=(100, 1000)), TRIALS, list(CONTESTANTS), cores=2)
    at_most = {name: max(case.networks for row in made for case, _ in row.parts if case.contestant == name)
               for name in ("jax-vmap", "fast")}  # fmt: skip
    assert at_most == {"jax-vmap": 100, "fast": 1000}


def test_the_limit_is_two_products_with_the_pixels_left():
    [row] = rows([1], replace(Sizes(), one=(10,), images=1000), TRIALS, ["exact"], cores=2)
    [(case, _)] = row.parts
    # W1 X and dZ1 X^T: 2 * 10 * 784 * 1000 each, of which a quarter is left
    assert limit_gflop(case, 0.25) == pytest.approx(2 * 15_680_000 / 4 / 1e9)


def test_pixels_that_are_blank_are_not_left(tmp_path):
    pixels, labels = np.zeros((2, 784), np.uint8), np.zeros(2, np.uint8)
    pixels[:, :196] = 255
    np.savez(tmp_path / "images.npz", pixels=pixels, labels=labels)
    quarter = problem.load(tmp_path / "images.npz", images=2, hidden_size=1, networks=1, threads=1)
    assert ours.pixels_left(quarter) == 0.25


def test_the_report_gives_medians_spread_and_ratios_to_numnist_in_the_same_case(tmp_path):
    figures = [
        Figure(2, "h = 10", "jax-vmap", [30.0, 24.0, 36.0], 900.0),
        Figure(2, "h = 10", "exact", [6.0, 5.0, 9.0], 300.0, 0.6),
        Figure(2, "h = 10", "fast", [4.0, 3.0, 5.0], 300.0, 0.7),
        Figure(2, "h = 32", "fast", [11.0, 12.0, 13.0], 300.0, 0.8),
        Figure(5, "all of it but training", "fast", [5_000.0], share=0.05),
    ]
    report.write(tmp_path, "results", figures, ABOUT)
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    first = content["rows"][0]
    assert content["peaks"] == ABOUT["peaks"]
    assert (first["work"], first["contestant"], first["median_ms"]) == (2, "jax-vmap", 30.0)
    assert first["runs"] == [30.0, 24.0, 36.0]
    assert first["ratios"] == {"exact": 5.0, "fast": 7.5}
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| JAX, vmap over the stack | 30 (24 to 36); 5.0x / 7.5x |  |" in text
    assert "| numnist, fast | 4 (3 to 5) | 12 (11 to 13) |" in text
    assert "| numnist, fast | h = 10 | 70% | 300 |" in text
    assert "5,000 (5,000 to 5,000), 5.0%" in text
