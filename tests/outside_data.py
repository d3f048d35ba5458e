"""Files that tests read and the project does not ship: where they are, and what to do without them.

RAFTBOOK_TEST_DATA names their directory; without it they are looked for in ../shared/data beside
the checkout.
"""

import os
from pathlib import Path

import pytest

VARIABLE = "RAFTBOOK_TEST_DATA"
DIRECTORY = Path(
    os.environ.get(VARIABLE) or Path(__file__).resolve().parents[1].parent / "shared" / "data"
)


def needs(*names: str) -> pytest.MarkDecorator:
    """Skips a test without these files, and says where they are missed."""
    missing = [name for name in names if not (DIRECTORY / name).is_file()]
    reason = f"{', '.join(missing)} is not in {DIRECTORY}; name another directory in {VARIABLE}"
    return pytest.mark.skipif(bool(missing), reason=reason)
