"""Let ``python -m vision_batch.demo`` do what ``vision-batch demo`` does."""

import sys

from vision_batch.demo.run import run

sys.exit(run(sys.argv[1:]))
