"""One short training on made-up digits, and the hash of all its bits: `python tests/short_training.py` prints it."""

import hashlib
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent / "src")]


def digest(mode: str = "portable") -> str:
    """Train two plain stacks, one with padded hidden units, and a network in batches; hash every weight and curve."""
    from dataclasses import replace

    import digits

    from numnist import numerics
    from numnist.config.schema import TrainingConfig
    from numnist.training import loop
    from numnist.training.loop import TrainingTask
    from numnist.training.threads import Threads

    images = loop.lay_out(digits.split(1000, 1), digits.split(100, 2))
    sha = hashlib.sha256()
    with Threads(2) as pool:
        first = TrainingConfig(7, 0.3, 2, 0, "uniform")
        plain = TrainingConfig(12, 0.5, 2, 0, "he")
        rich = replace(plain, batch_size=128, momentum=0.9, weight_decay=0.01, schedule="cosine")
        for trials in ([first, replace(first, learning_rate=1.0, seed=1)], [plain], [rich]):
            tasks = [TrainingTask(config) for config in trials]
            rows = numerics.ROWS_PER_NETWORK[mode]
            *_, last = loop.train_stack(tasks, images, pool, rows_per_network=rows)
            for state in (last.state(i) for i in range(len(tasks))):
                p = state.parameters
                for array in (p.W1, p.b1, p.W2, p.b2, state.curves):
                    sha.update(array.tobytes())
    return sha.hexdigest()


def data_digest() -> str:
    """Hash the made-up digits, which come from methods of NumPy's Generator that another version may change."""
    import digits

    parts = digits.split(1000, 1), digits.split(100, 2)
    return hashlib.sha256(b"".join(array.tobytes() for one in parts for array in (one.pixels, one.labels))).hexdigest()


if __name__ == "__main__":
    from numnist import numerics

    numerics.pin(sys.argv[1] if len(sys.argv) > 1 else "portable")
    print(digest(numerics.pinned()))
