"""Whether this core is the plain one or was compiled from the same source."""

from typing import Final

KIND: Final = "compiled" if __file__.endswith((".so", ".pyd")) else "pure"
"""Of how all of the core runs: its modules are compiled together, or none is."""
