"""What is measured: cases, each a contestant at a size, and the rows of the tables that are made of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.contestants import CONTESTANTS, OURS

WORKS = {
    1: "One network, ms per iteration",
    2: "A stack of 12 networks, ms per iteration and network",
    3: "The default sweep as a whole, ms",
    4: "Growth, ms per iteration and network",
    5: "Overheads, ms",
}
STACK = 12
JAX_VMAP_AT_MOST = 100  # networks of h = 10: at 1,000 each of JAX's arrays for a layer would take 2.2 GB


@dataclass(frozen=True)
class Case:
    """Training `networks` networks at once, or one where the contestant trains no stacks."""

    contestant: str
    hidden_size: int
    networks: int
    images: int
    threads: int


@dataclass(frozen=True)
class Row:
    """One figure of a table: the sum over its cases of a factor times the case's ms per iteration and network."""

    work: int
    label: str
    contestant: str
    parts: tuple[tuple[Case, int], ...]


@dataclass(frozen=True)
class Sizes:
    """How much is measured; what `--quick` cuts down."""

    images: int = 55_000
    with_validation: int = 60_000  # of work 3, where numnist measures validation images too
    one: Sequence[int] = (10, 64, 256)  # hidden sizes of work 1
    stack: Sequence[int] = (10, 32, 128)  # of work 2
    networks: Sequence[int] = (1, 10, 100, 1000)
    times_images: Sequence[int] = (1, 2, 4)
    sweep_share: int = 1  # the sweep's iterations are divided by it
    sweep_values: int | None = None  # so many values of each of its axes, the first
    seconds: float = 1.0  # how long a measurement lasts, about
    rounds: int = 3
    overheads: Sequence[str] = OURS  # the modes whose overheads are measured
    seeds: int = 100  # of work 5's sweep of many trials, ten trials each


QUICK = Sizes(
    images=5_000,
    with_validation=5_500,
    one=(10,),
    stack=(10,),
    networks=(1, 100),
    times_images=(2,),
    sweep_share=10,
    sweep_values=2,
    seconds=0.1,
    rounds=1,
    overheads=("fast",),
    seeds=5,
)


def rows(
    works: Sequence[int], sizes: Sizes, trials: Sequence[Mapping[str, Any]], names: Sequence[str], cores: int
) -> list[Row]:
    """List the rows of works 1 to 4; numnist's sweeps as a whole are not made of cases, and not among them."""
    made: list[Row] = []

    def add(
        work: int, label: str, name: str, *, hidden: int, networks: int = 1, times: int = 1, threads: int = cores
    ) -> None:
        if name in names and not (name == "jax-vmap" and networks > JAX_VMAP_AT_MOST):
            n = networks if CONTESTANTS[name].stacks else 1
            made.append(Row(work, label, name, ((Case(name, hidden, n, sizes.images * times, threads), 1),)))

    if 1 in works:
        for h in sizes.one:
            for name in names:
                if not name.endswith("-vmap"):
                    add(1, f"h = {h}", name, hidden=h)
    if 2 in works:
        for h in sizes.stack:
            for name in names:
                add(2, f"h = {h}", name, hidden=h, networks=STACK)
    if 3 in works:
        made.extend(_sweep_rows(sizes, trials, [name for name in names if name not in (*OURS, "torch-vmap")], cores))
    if 4 in works:
        for n in sizes.networks:
            for name in ("jax-vmap", *OURS):
                add(4, f"{n:,} networks" if n > 1 else "1 network", name, hidden=10, networks=n)
        for times in sizes.times_images:
            for name in ("torch", "jax-vmap", *OURS):
                add(4, f"{times}x the images", name, hidden=10, networks=STACK, times=times)
        for threads in range(1, min(cores, 2) + 1):
            for name in ("torch", "jax-vmap", *OURS):
                add(
                    4,
                    f"{threads} threads" if threads > 1 else "1 thread",
                    name,
                    hidden=10,
                    networks=STACK,
                    threads=threads,
                )
    return made


def _sweep_rows(sizes: Sizes, trials: Sequence[Mapping[str, Any]], names: Sequence[str], cores: int) -> Iterator[Row]:
    """Add up the sweep from measured iterations: job by job, or for a stack one program for each hidden size."""
    for name in names:
        parts = []
        for h in dict.fromkeys(trial["hidden_size"] for trial in trials):
            jobs = [trial for trial in trials if trial["hidden_size"] == h]
            longest = max(trial["iterations"] for trial in jobs)
            networks = len({(trial["learning_rate"], trial["seed"]) for trial in jobs})
            stacks = CONTESTANTS[name].stacks
            iterations = longest * networks if stacks else sum(trial["iterations"] for trial in jobs)
            parts.append((Case(name, h, networks if stacks else 1, sizes.images, cores), iterations))
        yield Row(3, f"{len(trials)} trials", name, tuple(parts))


def limit_gflop(case: Case, pixels_left: float) -> float:
    """Count the two products with X, over the share of pixels that are not blank, for one network, in GFLOP.

    At the machine's peak they are the limit of what an iteration can take.
    """
    return 2 * 2 * case.images * case.hidden_size * 784 * pixels_left / 1e9
