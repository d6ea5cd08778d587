"""The failures that a person can mend; every other exception is a defect of ours.

The message says what failed, where (path, key), what was expected, what was found, and what to do next.
Whatever people run prints it without a traceback and exits with 1 (`pipeline.cli`).
"""


class NumnistError(Exception):
    """Base of every failure that a person can mend."""


class ConfigError(NumnistError):
    """A key or value in params.yaml, conf/ or on the command line is not allowed."""


class DataError(NumnistError):
    """A data file, array file or picture does not hold what it should."""


class FetchError(NumnistError):
    """No mirror served the bytes that the repository pins."""


class NumericsError(NumnistError):
    """Exact arithmetic cannot be had: a sum is too long for it, or this machine's BLAS is not exact."""


class StorageError(NumnistError):
    """A file cannot be written: the disk is full, a limit is reached, or access is denied."""


class TrainingError(NumnistError):
    """No network came out of a training: every loss grew beyond all bounds."""


class InputError(NumnistError):
    """What a stage depends on was changed while it ran."""


class TrackingError(NumnistError):
    """The tracking store cannot be used."""


class ExecutorError(NumnistError):
    """The workers that a sweep was handed to cannot be reached, are lost, or compute otherwise than this process."""
