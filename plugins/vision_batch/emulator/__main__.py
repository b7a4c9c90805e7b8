"""Run the emulator as ``python -m vision_batch.emulator``."""

import sys

from vision_batch.emulator.main import run

sys.exit(run(sys.argv[1:]))
