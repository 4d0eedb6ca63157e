"""``python -m xrs.train recipe.yaml``: train as a file says; ``torchrun -m xrs.train`` on several devices."""

import sys

from xrs.training.recipe import main
from xrs.training.train import train

if __name__ == "__main__":
    main()
else:
    # This module only lends its name to the command. The import system binds what stands here to ``xrs.train``, which
    # is the function, however it is reached.
    sys.modules[__name__] = train  # type: ignore[assignment]
