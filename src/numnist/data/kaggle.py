"""Tables of images: Kaggle's digit-recognizer, train.csv and test.csv in, submission.csv out, and other labelled CSVs.

A row is an image: its label (not in test.csv), then pixel0 to pixel783, row by row, each a whole number from 0 to 255.
"""

import contextlib
import csv
import math
import os
from pathlib import Path
from typing import IO, NoReturn

import numpy as np
import pandas as pd

from numnist.common.errors import DataError
from numnist.common.files import write_text
from numnist.data.idx import PIXELS

TEST_ONE_IN = 7  # the share of train.csv that becomes our test set, as MNIST's 10,000 of 70,000 are
_COLUMNS = [f"pixel{i}" for i in range(PIXELS)]
_LABELLED = ["label", *_COLUMNS]
_LABEL_NAMES = ("label", "class", "target", "y")  # in the headers of other tables than Kaggle's
_SUBMISSION = "ImageId,Label"
_HEADER_BYTES = 1 << 16  # the right header has under 8,000
_ROWS = 2_000  # parsed at a time, which bounds memory


def read_labelled(path: Path, classes: int = 10, *, strict: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Read a CSV of labels and pixels: pixels uint8 (m, 784) and labels uint8 (m,). DataError with the line if wrong.

    The label stands first or, if the header says so, last. If `strict`, the header is that of Kaggle's train.csv.
    """
    table = _read(path, _LABELLED, classes, strict=strict)
    return np.ascontiguousarray(table[:, 1:]), table[:, 0].copy()


def read_test(path: Path) -> np.ndarray:
    """Read test.csv: pixels uint8 (m, 784). DataError with the line for anything else."""
    return _read(path, _COLUMNS, 0, strict=True)


def check_submission(path: Path) -> None:
    """Refuse (DataError) to write a submission over anything but an earlier one: test.csv itself, train.csv, a folder.

    The content is judged, so that a link or another spelling of the same file's name makes no difference.
    """
    if not path.exists():
        return
    if path.is_file():  # to open a pipe is to wait
        with contextlib.suppress(OSError), path.open("rb") as file:
            if file.read(len(_SUBMISSION)) == _SUBMISSION.encode():
                return
    raise DataError(
        f"{path} exists and is no earlier submission; nothing was written: give another name for the output"
    )


def write_submission(path: Path, digits: np.ndarray) -> None:
    """Write what Kaggle scores: ImageId from 1, and the digit, for each row of test.csv in its order."""
    check_submission(path)
    rows = (f"{number},{digit}\n" for number, digit in enumerate(digits.tolist(), 1))
    write_text(Path(os.path.realpath(path)), _SUBMISSION + "\n" + "".join(rows))


def test_rows(labels: np.ndarray, one_in: int = TEST_ONE_IN) -> np.ndarray:
    """Mark, bool (m,), the images of the test set: the last seventh (or other share) of each class."""
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        test[own[len(own) - len(own) // one_in :]] = True
    return test


def _read(path: Path, columns: list[str], classes: int, *, strict: bool) -> np.ndarray:
    """Read a table of whole numbers, uint8 (rows, columns): under exactly these columns if `strict`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader([file.readline(_HEADER_BYTES)]), [])
            first_line = 2
            if strict:
                _check_header(header, columns, path)
            elif _is_number("".join(header[:1])):
                file.seek(0)
                first_line = 1
            else:
                columns = _in_order(header, path)
            highest = np.array([classes - 1 if name == "label" else 255 for name in columns])
            table = np.concatenate(_parts(file, columns, highest, path, first_line))
            return np.roll(table, 1, axis=1) if columns[-1] == "label" else table
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text; if it is a .zip or .gz, unpack it and give the .csv") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; give the path of a .csv file") from None
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} has a header and no images below it") from None
    except (csv.Error, ValueError) as error:  # pandas: a row has more values than the one before
        _refuse_width(path, columns, error)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _in_order(header: list[str], path: Path) -> list[str]:
    """Return the columns of a labelled table in the order that its header tells."""
    first, last = ("".join(name) for name in (header[:1], header[-1:]))
    for name, columns in ((first, _LABELLED), (last, [*_COLUMNS, "label"])):
        if name.strip().lower() in _LABEL_NAMES:
            return columns
    raise DataError(
        f"{path}, line 1: the header is {first[:40]!r} to {last[:40]!r}; expected the label's column first or last, "
        f"called {', '.join(_LABEL_NAMES)}: name it so, and take away any column that is neither label nor pixel"
    )


def _check_header(header: list[str], columns: list[str], path: Path) -> None:
    if header == columns:
        return
    width = max(len(header), len(columns)) + 1
    got, want = ([*names, *["nothing"] * (width - len(names))] for names in (header, columns))
    place = next(i for i in range(width) if got[i] != want[i])
    mistaken = {tuple(_COLUMNS): " (this is test.csv)", tuple(_LABELLED): " (this is train.csv)"}.get(tuple(header), "")
    raise DataError(
        f"{path}, line 1: column {place + 1} is {got[place][:40]!r}, expected {want[place]!r}{mistaken}; "
        f"the header is {columns[0]},{columns[1]},... to {columns[-1]}"
    )


def _parts(file: IO[str], columns: list[str], highest: np.ndarray, path: Path, line: int) -> list[np.ndarray]:
    """Parse the rows below the header piece by piece; without a header of its own, pandas takes every row as data."""
    tables = pd.read_csv(file, header=None, chunksize=_ROWS, skip_blank_lines=False, quoting=csv.QUOTE_NONE)
    parts = []
    with tables:
        for table in tables:
            parts.append(_checked(table, line, columns, highest, path))
            line += len(table)
    return parts


def _checked(table: pd.DataFrame, first_line: int, columns: list[str], highest: np.ndarray, path: Path) -> np.ndarray:
    if table.shape[1] != len(columns):
        raise DataError(f"{path}, line {first_line}: {table.shape[1]} values, expected {len(columns)}")
    values = table.to_numpy()
    if values.dtype.kind not in "iu":
        texts = table.astype(str).to_numpy(object).ravel()
        values = pd.to_numeric(texts, errors="coerce").astype(float).reshape(table.shape)
    bad = ~((values >= 0) & (values <= highest) & (values == np.floor(values)))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        _refuse_cell(f"{path}, line {first_line + row}, {columns[column]}", table.iat[row, column], highest[column])
    return values.astype(np.uint8)


def _refuse_width(path: Path, columns: list[str], error: Exception) -> NoReturn:
    """Name the first row of another length; for want of one, say what the parser said."""
    with path.open(encoding="utf-8-sig") as file:
        for line, row in enumerate(file, 1):
            if (count := row.count(",") + 1) != len(columns):
                raise DataError(f"{path}, line {line}: {count} values, expected {len(columns)}") from None
    raise DataError(f"{path} is no table of images ({error})") from None


def _refuse_cell(place: str, value: object, highest: int) -> NoReturn:
    got = "nothing" if pd.isna(value) else repr(str(value)[:40])
    raise DataError(f"{place}: got {got}, expected a whole number from 0 to {highest}")
