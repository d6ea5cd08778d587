"""What holds for every test: this checkout's library, the portable numerics, no telemetry, no proxy to the outside."""

import pipeline  # noqa: F401  (puts src on the path)
from numnist import numerics

numerics.pin("portable")
