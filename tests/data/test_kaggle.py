"""Kaggle's tables in and out."""

import os

import numpy as np
import pytest

from numnist.common.errors import DataError
from numnist.data import kaggle

PIXELS = [f"pixel{i}" for i in range(784)]


def table(path, columns, rows):
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in [columns, *rows]))
    return path


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 784), dtype=np.uint8)


def labelled(path, labels, pixels):
    return table(path, ["label", *PIXELS], np.column_stack([labels, pixels]).tolist())


def with_cell(value, label=3):
    return [[label, *[0] * 784], [label, *[0] * 10, value, *[0] * 773]]


def test_train_csv_is_read_as_pixels_and_labels(tmp_path):
    pixels, labels = images(12), np.arange(12) % 10
    read = kaggle.read_labelled(labelled(tmp_path / "train.csv", labels, pixels), strict=True)
    assert [array.dtype for array in read] == [np.uint8, np.uint8]
    np.testing.assert_array_equal(read[0], pixels)
    np.testing.assert_array_equal(read[1], labels)


def test_test_csv_is_read_as_pixels(tmp_path):
    pixels = images(3)
    np.testing.assert_array_equal(kaggle.read_test(table(tmp_path / "test.csv", PIXELS, pixels.tolist())), pixels)


def test_a_table_longer_than_a_piece_is_read_whole_and_its_lines_are_counted_through(tmp_path, monkeypatch):
    monkeypatch.setattr(kaggle, "_ROWS", 4)
    pixels = images(10).astype(int)
    np.testing.assert_array_equal(kaggle.read_test(table(tmp_path / "test.csv", PIXELS, pixels.tolist())), pixels)
    pixels[8, 5] = 256
    with pytest.raises(DataError, match="line 10, pixel5: got '256'"):
        kaggle.read_test(table(tmp_path / "test.csv", PIXELS, pixels.tolist()))


def test_line_ends_of_windows_and_a_byte_order_mark_do_not_matter(tmp_path):
    path = table(tmp_path / "test.csv", PIXELS, images(2).tolist())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    np.testing.assert_array_equal(kaggle.read_test(path), images(2))


@pytest.mark.parametrize("name", ["label", "Class", '"target"', " y"])
@pytest.mark.parametrize("last", [False, True])
def test_the_header_says_whether_the_label_is_first_or_last(name, last, tmp_path):
    pixels, labels = images(3), np.array([[2], [0], [1]])
    columns, rows = ([*PIXELS, name], [pixels, labels]) if last else ([name, *PIXELS], [labels, pixels])
    got = kaggle.read_labelled(table(tmp_path / "train.csv", columns, np.hstack(rows).tolist()), 3)
    assert np.array_equal(got[0], pixels) and got[1].tolist() == [2, 0, 1]


@pytest.mark.parametrize("columns", [["", *PIXELS], ["id", *PIXELS], [f"c{i}" for i in range(785)], ["x", *"0" * 784]])
def test_a_header_that_does_not_say_where_the_label_is_is_refused(columns, tmp_path):
    path = table(tmp_path / "train.csv", columns, [[i, *[0] * 784] for i in range(3)])
    with pytest.raises(DataError, match=r"train\.csv, line 1: the header is .*label's column first or last"):
        kaggle.read_labelled(path)


@pytest.mark.parametrize("value", ["256", "-1", "1.5", "nan", "inf", "x", "", "True", "9" * 30, "0x1F"])
def test_a_pixel_that_is_no_number_from_0_to_255_is_refused_with_its_line(value, tmp_path):
    path = table(tmp_path / "train.csv", ["label", *PIXELS], with_cell(value))
    with pytest.raises(DataError, match=r"train\.csv, line 3, pixel10: got .*expected a whole number from 0 to 255"):
        kaggle.read_labelled(path, strict=True)


def test_a_label_above_9_is_refused_with_its_line(tmp_path):
    path = table(tmp_path / "train.csv", ["label", *PIXELS], with_cell(0, label=10))
    with pytest.raises(DataError, match=r"line 2, label: got '10', expected a whole number from 0 to 9"):
        kaggle.read_labelled(path, strict=True)


@pytest.mark.parametrize("line", [2, 3, 4])
def test_a_row_with_a_value_too_many_is_refused_with_its_line(line, tmp_path):
    rows = [[0] * 784 for _ in range(3)]
    rows[line - 2].append(0)
    with pytest.raises(DataError, match=f"line {line}: 785 values, expected 784"):
        kaggle.read_test(table(tmp_path / "test.csv", PIXELS, rows))


@pytest.mark.parametrize(("line", "found"), [(2, "3 values, expected 784"), (3, "pixel3: got nothing|3 values")])
def test_a_row_cut_short_is_refused_with_its_line(line, found, tmp_path):
    rows = [[0] * 784 for _ in range(2)]
    rows[line - 2] = [0, 0, 0]
    with pytest.raises(DataError, match=f"line {line}.*({found})"):
        kaggle.read_test(table(tmp_path / "test.csv", PIXELS, rows))


def test_rows_of_a_single_value_are_refused(tmp_path):
    with pytest.raises(DataError, match="line 2: 1 values, expected 784"):
        kaggle.read_test(table(tmp_path / "test.csv", PIXELS, [[0], [0]]))


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["label", *PIXELS], r"column 1 is 'label', expected 'pixel0' \(this is train\.csv\)"),
        (PIXELS[:5] + PIXELS[6:], "column 6 is 'pixel6', expected 'pixel5'"),
        ([*PIXELS, "pixel784"], "column 785 is 'pixel784', expected 'nothing'"),
        (PIXELS[:-1], "column 784 is 'nothing', expected 'pixel783'"),
    ],
)
def test_a_header_with_other_columns_is_refused(columns, found, tmp_path):
    with pytest.raises(DataError, match=f"line 1: {found}"):
        kaggle.read_test(table(tmp_path / "test.csv", columns, [[0] * len(columns)]))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "column 1 is 'nothing'"),
        (",".join(PIXELS).encode() + b"\n", "a header and no images"),
        (b"PK\x03\x04\x14\x00\x08\x00\x9c\xff", "is not text; if it is a .zip"),
        (b"\0" * 1000, "column 1 is"),
    ],
    ids=["empty", "header only", "zip", "zeros"],
)
def test_a_file_that_is_no_table_is_refused(content, found, tmp_path):
    path = tmp_path / "test.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=found):
        kaggle.read_test(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv cannot be read: No such file"):
        kaggle.read_test(tmp_path / "none.csv")


def test_a_submission_counts_its_images_from_1(tmp_path):
    kaggle.write_submission(tmp_path / "submission.csv", np.array([7, 0, 9]))
    assert (tmp_path / "submission.csv").read_bytes() == b"ImageId,Label\n1,7\n2,0\n3,9\n"


def test_the_last_seventh_of_each_class_becomes_the_test_set():
    labels = np.repeat(np.arange(11, dtype=np.uint8), [14, 7, 21, 13, 7, 7, 7, 7, 7, 8, 7])
    labels = labels[np.random.default_rng(1).permutation(len(labels))]
    test = kaggle.test_rows(labels)
    assert np.bincount(labels[test]).tolist() == [2, 1, 3, 1, 1, 1, 1, 1, 1, 1, 1]
    assert [i for i in range(len(labels)) if labels[i] == 2][-3:] == np.flatnonzero(test & (labels == 2)).tolist()


@pytest.mark.parametrize("there", ["test.csv", "link.csv", "hard.csv", "train.csv", "folder"])
def test_a_submission_replaces_nothing_but_an_earlier_submission(there, tmp_path):
    test = table(tmp_path / "test.csv", PIXELS, images(2).tolist())
    labelled(tmp_path / "train.csv", np.arange(2), images(2))
    (tmp_path / "link.csv").symlink_to(test)
    (tmp_path / "hard.csv").hardlink_to(test)
    (tmp_path / "folder").mkdir()
    before = test.read_bytes()
    with pytest.raises(DataError, match=f"{there} exists and is no earlier submission; nothing was written"):
        kaggle.write_submission(tmp_path / there, np.array([1, 2]))
    assert test.read_bytes() == before


def test_a_submission_to_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    pipe = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(pipe, b"ImageId,Label\n1,7\n")  # who reads it sees an earlier submission
    with pytest.raises(DataError, match="pipe exists and is no earlier submission"):
        kaggle.check_submission(tmp_path / "pipe")
    os.close(pipe)


def test_a_submission_is_written_where_a_link_points(tmp_path):
    (tmp_path / "link.csv").symlink_to("mine.csv")
    for digits in ([1, 2], [3]):  # nothing is there, then an earlier submission
        kaggle.write_submission(tmp_path / "link.csv", np.array(digits))
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "mine.csv").read_text() == "ImageId,Label\n1,3\n"


def test_an_earlier_submission_is_replaced(tmp_path):
    for digits in ([1, 2], [3]):
        kaggle.write_submission(tmp_path / "submission.csv", np.array(digits))
    assert (tmp_path / "submission.csv").read_text() == "ImageId,Label\n1,3\n"
