"""The requirements on every model as a suite of tests, for the models of other packages too.

``pytest --pyargs genmodels.conformance --model mine --config-dir conf`` holds the option ``model=mine`` of the folder
``conf`` to it. The files of the suite lie in ``tests/conformance`` in a checkout, where all models of genmodels are
tested, and beside this one in an installed package. They know each other as ``conformance``.
"""

import sys
from pathlib import Path

if (Path(__file__).parent / "kinds.py").exists():
    sys.modules.setdefault("conformance", sys.modules[__name__])
