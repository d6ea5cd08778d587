"""What a trained network says about images, and how that is put into words and block characters."""

import numpy as np

from numnist import network
from numnist.network import CLASSES, PIXELS, Parameters

_BATCH = 5_000  # images: bounds the memory of the activations
_BAR = 40  # characters for a probability of 1
_SHADES = " ░▒▓█"


def probabilities(p: Parameters, pixels: np.ndarray) -> np.ndarray:
    """Compute one network's class probabilities, float32 (m, 10), of images uint8 (m, 784)."""
    batches = (pixels[first : first + _BATCH] for first in range(0, len(pixels), _BATCH))
    columns = [network.forward(p, batch.T.astype(np.float32) / 255).A2[0] for batch in batches]
    return np.concatenate([np.empty((CLASSES, 0), np.float32), *columns], axis=1).T


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
