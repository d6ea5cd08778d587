"""What may be set, and within what range: plain records whose annotations say what is allowed.

The ranges stand here and nowhere else; `reader.py` checks values against them. A sweep's axes take the ranges of the
training values that they vary. Imports the standard library alone, so that training needs no more than NumPy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Literal, TypeVar

T = TypeVar("T")
MOST_TRIALS = 100_000  # of one sweep or search


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds, both allowed unless `above` (then the lower one is not)."""

    lowest: int
    highest: float
    above: bool = False

    def __get_pydantic_core_schema__(self, source: type, handler: Callable[[type], Any]) -> Any:
        """Hold pydantic to the type, to these bounds and to finite numbers."""
        kind = "a whole number" if source is int else "a number"
        bounds = f"above {self.lowest:,} and up to" if self.above else f"from {self.lowest:,} to"
        rules = {"strict": True, ("gt" if self.above else "ge"): self.lowest, "le": self.highest}
        finite = {} if source is int else {"allow_inf_nan": False}
        return _with_message(f"{kind} {bounds} {self.highest:,}", handler(source) | rules | finite)


@dataclass(frozen=True)
class Text:
    """Texts that a pattern matches as a whole, and the words for them."""

    words: str
    pattern: str
    numbers: bool = False  # whether a number is taken as the text that it is written as

    def __get_pydantic_core_schema__(self, source: type, handler: Callable[[type], Any]) -> Any:
        """Hold pydantic to the pattern."""
        engine = {"regex_engine": "python-re", "coerce_numbers_to_str": self.numbers}
        rules = {"pattern": rf"\A(?:{self.pattern})\Z"}
        return _with_message(self.words, handler(source) | rules | engine)


def _with_message(words: str, schema: dict[str, Any]) -> Any:
    """Have pydantic say what is allowed, whatever was wrong."""
    return {"type": "custom-error", "schema": schema, "custom_error_type": "allowed", "custom_error_message": words}


@dataclass(frozen=True)
class Several:
    """A list without repeats, whose length has bounds."""

    words: str
    shortest: int = 1
    longest: int = MOST_TRIALS

    def __get_pydantic_core_schema__(self, source: type, handler: Callable[[type], Any]) -> Any:
        """Look at the list as a whole after each value has been checked."""
        function = {"type": "no-info", "function": self._check}
        return {"type": "function-after", "schema": handler(source), "function": function}

    def _check(self, values: tuple[T, ...]) -> tuple[T, ...]:
        if not self.shortest <= len(values) <= self.longest or len(set(values)) < len(values):
            raise ValueError(self.words)
        return values


Seed = Annotated[int, Range(0, 2**32 - 1)]
HiddenSize = Annotated[int, Range(1, 10_000)]
LearningRate = Annotated[float, Range(0, 10**9, above=True)]
Iterations = Annotated[int, Range(1, 1_000_000)]
Axis = Annotated[tuple[T, ...], Several("a list of at least one value, without repeats")]
Word = Annotated[str, Text("a text", ".+")]


class Record:
    """A mapping of known keys to values."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}


@dataclass(frozen=True)
class Axes(Record):
    """The training values that a sweep varies."""

    hidden_size: HiddenSize
    learning_rate: LearningRate
    iterations: Iterations
    seed: Seed


@dataclass(frozen=True)
class Common(Record):
    """The training values that all trials of the sweep in params.yaml share."""

    initialization: Literal["he", "uniform"] = "he"
    batch_size: Annotated[int, Range(0, 1_000_000)] = 0
    momentum: Annotated[float, Range(0, 0.999)] = 0.0
    weight_decay: Annotated[float, Range(0, 1)] = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    recipe: Literal["note", "notebook"] = "note"
    train_on: Literal["training", "all"] = "training"
    arithmetic: Literal["exact", "fast"] = "exact"


_SHORT_KEYS = {"batch_size": "b", "momentum": "m", "weight_decay": "wd"}  # in the names of trials


@dataclass(frozen=True)
class TrainingConfig(Common, Axes):
    """All that decides how one network is trained, except the data and the code.

    The defaults are the note's: plain descent over all training images at once, at a constant rate. Only the first
    weights are He's.
    """

    @property
    def name(self) -> str:
        """A name for directories and lists that sorts as the numbers do, and that no other trial has."""
        plain = f"h{self.hidden_size:04d}-lr{_short(self.learning_rate)}-it{self.iterations:05d}-s{self.seed}"
        values = ((item.name, getattr(self, item.name), item.default) for item in fields(Common))
        return "-".join([plain, *(_short(value, key) for key, value, usual in values if value != usual)])

    @property
    def checkpoint_config(self) -> "TrainingConfig":
        """This configuration without its length, so that shorter runs are prefixes of longer ones.

        A cosine schedule depends on the length, which is then kept.
        """
        return self if self.schedule == "cosine" else replace(self, iterations=1)

    @property
    def stack_key(self) -> tuple[Any, ...]:
        """What networks must have in common to be trained as one stack."""
        return self.hidden_size, self.batch_size, self.train_on, self.arithmetic


def _short(value: float | str, key: str = "") -> str:
    """Write a value: a number behind its key, with every digit that counts; a word speaks for itself."""
    return value if isinstance(value, str) else _SHORT_KEYS.get(key, key) + repr(value).removesuffix(".0")


SWEEP_AXES = tuple(item.name for item in fields(Axes))
TRAINING_KEYS = tuple(item.name for item in fields(TrainingConfig))


@dataclass(frozen=True)
class Sweep(Record):
    """The values of each axis; every combination is trained."""

    hidden_size: Axis[HiddenSize]
    learning_rate: Axis[LearningRate]
    iterations: Axis[Iterations]
    seed: Axis[Seed]


@dataclass(frozen=True)
class DataConfig(Record):
    """Which data set, and how its training images are split."""

    name: Word
    validation_one_in: Annotated[int, Range(2, 1000)]
    split_seed: Seed


DIGITS = tuple("0123456789")  # the names of the classes of a data set that names none
ClassName = Annotated[str, Text("a name", r".*\S.*", numbers=True)]
FolderName = Annotated[str, Text("letters, digits, _ and -, and no dot, which DVC takes for a level", r"\w[\w-]*")]
PinnedFile = Annotated[
    str, Text("a file of MNIST's four, or with .gz", r"(train|t10k)-(images-idx3|labels-idx1)-ubyte(\.gz)?")
]
_CLASSES = "a list of 2 to 100 names without repeats, one per class, in the labels' order"


@dataclass(frozen=True)
class Source(Record):
    """Where a data set comes from: mirrors, and the SHA-256 of each file, of its content or (.gz) of its gzip.

    A mirror is a base URL, a directory or a file. Or the data set is a table, the path of Kaggle's train.csv.
    `classes` are the names of its classes, in the order of its labels.
    """

    mirrors: tuple[Annotated[str, Text("an https URL, a directory or a file", r"https://.+|(?!.*://).+")], ...] = ()
    sha256: Mapping[PinnedFile, Annotated[str, Text("64 hexadecimal digits", "[0-9a-f]{64}")]] = field(
        default_factory=dict
    )
    table: Annotated[str, Text("a text", ".*")] = ""
    classes: Annotated[tuple[ClassName, ...], Several(_CLASSES, 2, 100)] = DIGITS

    def __post_init__(self) -> None:
        if self.table and (self.mirrors or self.sha256):
            raise ValueError("either a table, or mirrors and sha256")


Workers = Annotated[int, Range(1, 10_000)]
Threads = Annotated[int, Range(1, 1_024)]


@dataclass(frozen=True)
class Local(Record):
    """Train in this process."""

    name: Literal["local"]


@dataclass(frozen=True)
class Processes(Record):
    """Train in processes of this machine."""

    name: Literal["processes"]
    workers: Annotated[int, Range(0, 10_000)]
    threads: Threads


@dataclass(frozen=True)
class Dask(Record):
    """Train on the workers of a Dask scheduler."""

    name: Literal["dask"]
    address: Annotated[str, Text("tcp://host:port, or tls://host:port", r"(tcp|tls)://[^/\s]+:[0-9]{1,5}")]
    workers: Workers
    threads: Threads
    seconds: Annotated[int, Range(1, 86_400)]


@dataclass(frozen=True)
class Slurm(Record):
    """Train in jobs of Slurm's; submitit itself says which parameters it does not know."""

    name: Literal["slurm"]
    cluster: Literal["slurm", "local"]
    workers: Workers
    threads: Threads
    minutes: Annotated[int, Range(1, 100_000)]
    folder: Word
    parameters: Mapping[str, Any] | None


Executor = Local | Processes | Dask | Slurm
EXECUTORS: dict[Any, Callable[..., Executor]] = {"local": Local, "processes": Processes, "dask": Dask, "slurm": Slurm}


@dataclass(frozen=True)
class Search(Record):
    """How Optuna proposes trials."""

    sampler: Literal["tpe", "random"]
    trials: Annotated[int, Range(1, MOST_TRIALS)]
    batch: Annotated[int, Range(1, 10_000)]
    seed: Seed


@dataclass(frozen=True, kw_only=True)
class Params(Common):
    """What params.yaml says."""

    data: DataConfig
    datasets: Mapping[FolderName, Source]
    sweep: Sweep

    @property
    def axes(self) -> Mapping[str, tuple[Any, ...]]:
        """The sweep's values by the name of their axis."""
        return vars(self.sweep)

    @property
    def source(self) -> Source:
        """The source of the data set in use."""
        return self.datasets[self.data.name]


@dataclass(frozen=True, kw_only=True)
class Composed(Params, Axes):
    """What Hydra composes for one job out of params.yaml, conf/ and the command line."""

    executor: Mapping[str, Any]
    images: Annotated[int, Range(0, 1_000_000)]
    output: Word
    table: Word
    reference_experiment: Word | None
