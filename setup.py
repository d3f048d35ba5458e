"""Which folders ship, under which import name, and whether the core is compiled.

The folder `cli/` ships as `raftbook_cli`: a distribution that owned the generic name `cli` would
collide with others in site-packages. pyproject.toml can express the renaming but not together
with package discovery, and a list written by hand forgets the next folder.

RAFTBOOK_COMPILED=1 compiles `raftbook/core` with mypyc, which is asked for only then.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import SetupError

COMPILER = "mypy[mypyc]>=2.4,<2.5"  # those the suite has been run with
GROUP = "raftbook_core"

# Plain in every build: they are not in the way of an order, and a test can give a plain module
# another ENGINE_VERSION.
PLAIN = {"__init__.py", "invariants.py", "snapshot.py", "versions.py"}

cli_packages = ["raftbook_cli", *(f"raftbook_cli.{name}" for name in find_packages("cli"))]
is_compiled = os.environ.get("RAFTBOOK_COMPILED", "") not in ("", "0")


class CompileCore(build_ext):
    """Compiles the core, and only for an installed copy, which nobody edits."""

    def finalize_options(self) -> None:
        if self.inplace or self.editable_mode:
            raise SetupError(
                "RAFTBOOK_COMPILED: a compiled core beside its sources would still be the one that "
                "runs when they have been edited; install without -e, or use `make compiled`"
            )
        from mypyc.build import mypycify  # not before: it is there once setup_requires is met

        modules = sorted(Path("raftbook", "core").glob("*.py"))
        paths = [str(path) for path in modules if path.name not in PLAIN]
        extensions = mypycify(paths, group_name=GROUP)
        if sys.platform == "linux":  # calls within the core go straight, not by a table
            for each in extensions:  # the lists that they come with are one
                each.extra_compile_args = [*each.extra_compile_args, "-fno-semantic-interposition"]
                each.extra_link_args = [*each.extra_link_args, "-Wl,-Bsymbolic"]
        self.distribution.ext_modules = extensions
        super().finalize_options()


setup(
    packages=[*find_packages(include=["raftbook", "raftbook.*"]), *cli_packages],
    package_dir={"raftbook_cli": "cli"},
    **(
        {
            "setup_requires": [COMPILER],
            "ext_modules": [Extension(f"{GROUP}__mypyc", [])],  # in whose place the real ones come
            "cmdclass": {"build_ext": CompileCore},
        }
        if is_compiled
        else {}
    ),
)
