"""What the command line loads: a reader of files needs no consensus."""

from __future__ import annotations

import subprocess
import sys


def test_reading_a_log_loads_no_raft() -> None:
    program = (
        "import sys; import raftbook_cli.log, raftbook_cli.data_directory; "
        "print([name for name in sys.modules if name.startswith('pysyncobj')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr
