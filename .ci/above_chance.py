"""Exit with an error unless every model has a UA above chance: ``above_chance.py metrics.json``."""

import json
import sys
from pathlib import Path

metrics = json.loads(Path(sys.argv[1]).read_text())
below = [model["name"] for model in metrics["models"] if model["ua"]["mean"] <= metrics["chance"]]
if below:
    sys.exit(f"not above chance: {', '.join(below)}")
