"""How what a trained network says about an image is put into words and block characters."""

import numpy as np

from numnist.network import PIXELS

_BAR = 40  # characters for a probability of 1
_SHADES = " ░▒▓█"


def chart(probability: np.ndarray) -> str:
    """Draw ten probabilities as bars, one line a digit."""
    return "\n".join(
        f"  {digit} {'█' * round(_BAR * float(share)):<{_BAR}} {share:6.1%}" for digit, share in enumerate(probability)
    )


def blocks(pixels: np.ndarray) -> str:
    """Draw an image, uint8 (784,), two characters a pixel, in a frame: full blocks are full ink."""
    side = round(PIXELS**0.5)
    shades = np.array(list(_SHADES))[np.ceil(pixels / 255 * (len(_SHADES) - 1)).astype(int)]
    lines = ["│" + "".join(np.repeat(row, 2)) + "│" for row in shades.reshape(side, side)]
    edge = "─" * 2 * side
    return "\n".join([f"┌{edge}┐", *lines, f"└{edge}┘"])
