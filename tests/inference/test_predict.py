"""The command that reads digits, asked with a network that looks at two pixels."""

import json
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from numnist.common import files
from numnist.common.errors import DataError, TrackingError
from numnist.config import cli
from numnist.inference import digit_images, prediction
from pipeline import predict


@pytest.fixture
def weights(tmp_path):
    """Write a network with one hidden unit: pixel 406 / 255, which is the score of digit 7."""
    W1 = np.zeros((1, 784), np.float32)
    W1[0, 406] = 1
    W2 = np.zeros((10, 1), np.float32)
    W2[7] = 1
    arrays = {"W1": W1, "b1": np.zeros((1, 1), np.float32), "W2": W2, "b2": np.zeros((10, 1), np.float32)}
    files.save_arrays(tmp_path / "weights.npz", arrays)
    return tmp_path / "weights.npz"


@pytest.fixture
def command(weights, monkeypatch):
    asked = []
    monkeypatch.setattr(predict, "weights_of", lambda run, directory: asked.append(run) or (weights, ""))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
        predict.main()
        return asked

    return run


def picture(path):
    bar = Image.new("L", (60, 80), 255)
    ImageDraw.Draw(bar).rectangle((25, 15, 35, 65), fill=0)
    bar.save(path)
    return path


def test_a_chart_has_a_line_a_digit_with_bars_in_proportion():
    lines = prediction.chart(np.array([0.5, 0.25, 0.25, 0, 0, 0, 0, 0, 0, 0])).splitlines()
    assert [line.count("█") for line in lines] == [20, 10, 10, 0, 0, 0, 0, 0, 0, 0]
    assert lines[1].split()[0] == "1"
    assert lines[1].endswith(" 25.0%")


def test_an_image_is_drawn_two_characters_a_pixel():
    pixels = np.zeros((28, 28), np.uint8)
    pixels[0, 0], pixels[27, 27], pixels[1, 0] = 255, 128, 1
    lines = prediction.blocks(pixels.ravel()).splitlines()
    assert len(lines) == 30
    assert {len(line) for line in lines} == {58}
    assert lines[1] == "│██" + " " * 54 + "│"
    assert lines[2].startswith("│░░ ")
    assert lines[28].endswith(" ▓▓│")


def test_a_chart_and_a_verdict_call_the_classes_by_their_names():
    share, names = np.array([0.02, 0.97, 0.01]), ["boot", "bag", "T-shirt"]
    assert [line.split()[0] for line in prediction.chart(share, names).splitlines()] == names
    pixels = np.zeros(784, np.uint8)
    pixels[300:400] = 255
    assert prediction.verdict(pixels, share, names) == "bag (97.0%)"
    assert prediction.verdict(pixels, np.array([0.4, 0.5, 0.1]), names) == "unsure: bag (50.0%) or boot (40.0%)"


@pytest.mark.parametrize(("share", "said"), [(0.9, "3 (90.0%)"), (0.899, "unsure: 3 (89.9%) or 5 (10.1%)")])
def test_an_answer_below_90_percent_is_unsure_and_comes_with_both_candidates(share, said):
    pixels, shares = np.zeros(784, np.uint8), np.zeros(10)
    pixels[300:400], shares[3], shares[5] = 255, share, 1 - share
    assert prediction.verdict(pixels, shares) == said


def test_each_picture_gets_its_digit_and_ten_probabilities(command, tmp_path, capsys):
    assert command(picture(tmp_path / "a.png"), picture(tmp_path / "b.png")) == ["champion"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path / 'a.png'}: unsure: 7 (23.2%) or 0 (8.5%)"  # e / (e + 9), 1 / (e + 9)
    assert lines[11] == f"{tmp_path / 'b.png'}: unsure: 7 (23.2%) or 0 (8.5%)"
    assert len(lines) == 22


def test_another_run_can_be_asked_and_what_it_saw_shown_and_nothing_is_written(command, tmp_path, capsys):
    picture(tmp_path / "a.png")
    before = sorted(tmp_path.iterdir())
    assert command(tmp_path / "a.png", "--show", "--run", "0123abcd") == ["0123abcd"]
    assert capsys.readouterr().out.count("██") > 20
    assert sorted(tmp_path.iterdir()) == before


def test_a_picture_that_fails_is_told_and_the_others_are_read(command, tmp_path, capsys):
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(SystemExit) as end:
        command(tmp_path / "bad.png", picture(tmp_path / "good.png"))
    assert end.value.code == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path / 'good.png'}: unsure: 7")
    assert err.startswith(f"error: {tmp_path / 'bad.png'} is not a picture in PNG")


def test_a_store_without_a_champion_ends_the_command_with_its_message(command, monkeypatch, tmp_path):
    def none(run, directory):
        raise TrackingError("no champion; run `dvc repro`")

    monkeypatch.setattr(predict, "weights_of", none)
    monkeypatch.setattr(sys, "argv", ["predict", str(picture(tmp_path / "a.png"))])
    with pytest.raises(SystemExit, match="error: no champion"):
        cli.run(predict.main)


def test_kaggles_test_csv_becomes_a_submission(command, tmp_path, capsys):
    bright = ",".join("255" if i == 406 else "0" for i in range(784))
    header = ",".join(f"pixel{i}" for i in range(784))
    (tmp_path / "test.csv").write_text(f"{header}\n{bright}\n{bright}\n")
    command("--kaggle", tmp_path / "test.csv", tmp_path / "submission.csv")
    assert (tmp_path / "submission.csv").read_text() == "ImageId,Label\n1,7\n2,7\n"
    assert "2 digits" in capsys.readouterr().out


def test_kaggles_test_csv_is_not_overwritten_by_the_answers(command, tmp_path):
    test = tmp_path / "test.csv"
    test.write_text(",".join(f"pixel{i}" for i in range(784)) + "\n" + ",".join(["0"] * 784) + "\n")
    before = test.read_bytes()
    with pytest.raises(DataError, match=r"test\.csv exists and is no earlier submission"):
        command("--kaggle", test, test)
    assert test.read_bytes() == before


def test_json_is_what_the_network_sees_in_each_picture(command, tmp_path, capsys):
    assert command("--json", picture(tmp_path / "a.png"), picture(tmp_path / "b.png")) == []
    seen = digit_images.read(tmp_path / "a.png").tolist()
    assert json.loads(capsys.readouterr().out) == {"inputs": [seen, seen]}


@pytest.mark.parametrize(
    "arguments",
    [[], ["--json", "--kaggle", "test.csv", "submission.csv"], ["a.png", "--kaggle", "test.csv", "submission.csv"]],
)
def test_pictures_or_kaggle_must_be_asked_for_and_not_both(arguments, command):
    with pytest.raises(SystemExit) as end:
        command(*arguments)
    assert end.value.code == 2
