"""What holds for every test: this checkout's library, fast kernels, no telemetry, no proxy to the outside."""

import pipeline  # noqa: F401  (puts src on the path, and chooses the kernels)
