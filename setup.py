"""Which folders ship, and under which import name; everything else is in pyproject.toml.

The folder `cli/` ships as `raftbook_cli`: a distribution that owned the generic name `cli` would
collide with others in site-packages. pyproject.toml can express the renaming but not together
with package discovery, and a list written by hand forgets the next folder.
"""

from setuptools import find_packages, setup

cli_packages = ["raftbook_cli", *(f"raftbook_cli.{name}" for name in find_packages("cli"))]

setup(
    packages=[*find_packages(include=["raftbook", "raftbook.*"]), *cli_packages],
    package_dir={"raftbook_cli": "cli"},
)
