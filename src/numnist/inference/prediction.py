"""How what a trained network says about an image is put into words and block characters."""

from collections.abc import Sequence

import numpy as np

from numnist.network import PIXELS
from numnist.tracking import pyfunc_model

_BAR = 40  # characters for a probability of 1
_SHADES = " ░▒▓█"


def chart(probability: np.ndarray, names: Sequence[str] = ()) -> str:
    """Draw the classes' probabilities as bars, a line each; `names` if they are not called 0, 1, 2 ..."""
    names = names or [str(k) for k in range(len(probability))]
    width = max(map(len, names))
    return "\n".join(
        f"  {name:<{width}} {'█' * round(_BAR * float(share)):<{_BAR}} {share:6.1%}"
        for name, share in zip(names, probability, strict=True)
    )


def verdict(pixels: np.ndarray, probability: np.ndarray, names: Sequence[str] = ()) -> str:
    """Say what an image, uint8 (784,), shows and how probable that is, or what is doubtful about it."""
    best = int(probability.argmax())
    sure = f"{names[best] if names else best} ({probability[best]:.1%})"
    return pyfunc_model.doubts(pixels[None], probability[None], names)[0] or sure


def blocks(pixels: np.ndarray) -> str:
    """Draw an image, uint8 (784,), two characters a pixel, in a frame: full blocks are full ink."""
    side = round(PIXELS**0.5)
    shades = np.array(list(_SHADES))[np.ceil(pixels / 255 * (len(_SHADES) - 1)).astype(int)]
    lines = ["│" + "".join(np.repeat(row, 2)) + "│" for row in shades.reshape(side, side)]
    edge = "─" * 2 * side
    return "\n".join([f"┌{edge}┐", *lines, f"└{edge}┘"])
