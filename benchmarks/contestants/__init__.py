"""The contestants. Each module has `prepare(problem, variant)`, which returns a function that takes k more steps."""

import shutil
from dataclasses import dataclass


@dataclass(frozen=True)
class Contestant:
    """One way to train: a module here, the variant that it is asked for, and whether it trains a stack at once."""

    title: str
    module: str
    variant: str
    stacks: bool


CONTESTANTS = {
    "notebook": Contestant("the notebook's NumPy, float64", "notebook", "", False),
    "sklearn": Contestant("scikit-learn MLPClassifier", "sklearn_mlp", "", False),
    "torch": Contestant("PyTorch, eager", "pytorch", "eager", False),
    "torch-compile": Contestant("PyTorch, torch.compile", "pytorch", "compile", False),
    "torch-vmap": Contestant("PyTorch, vmap over the stack", "pytorch", "vmap", True),
    "jax": Contestant("JAX, jit", "jax_grad", "jit", False),
    "jax-vmap": Contestant("JAX, vmap over the stack", "jax_grad", "vmap", True),
    "exact": Contestant("numnist, exact", "ours", "exact", True),
    "fast": Contestant("numnist, fast", "ours", "fast", True),
}
OURS = ("exact", "fast")


def available() -> list[str]:
    """Name the contestants that can run here: torch.compile needs a C++ compiler."""
    compiler = any(shutil.which(name) for name in ("g++", "clang++", "c++"))
    return [name for name in CONTESTANTS if compiler or name != "torch-compile"]
