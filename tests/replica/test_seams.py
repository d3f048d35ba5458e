"""PySyncObj is opened up in one place, and only the text it was opened up for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pysyncobj.syncobj as opened
import pytest

from raftbook.replica import seams
from tests.replica.zoo import stock


def test_the_installed_text_is_the_one_the_overrides_were_written_against() -> None:
    seams.install()


def test_another_text_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "syncobj.py"
    changed.write_text(Path(opened.__file__).read_text() + "\n# a newer release\n")
    monkeypatch.setattr(opened, "__file__", str(changed))
    with pytest.raises(ImportError, match=r"has sha256 .*install pysyncobj==0\.3\.17"):
        seams.install()


def test_a_node_does_not_even_import_with_another_text(tmp_path: Path) -> None:
    package = tmp_path / "pysyncobj"
    package.mkdir()
    for source in Path(opened.__file__).parent.glob("*.py"):
        (package / source.name).write_text(source.read_text())
    (package / "syncobj.py").write_text(
        Path(opened.__file__).read_text().replace("raftMatchIndex", "matchIndex")
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", "import raftbook.replica.raft"],
        env={"PYTHONPATH": f"{tmp_path}:{root}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "ImportError: pysyncobj/syncobj.py has sha256" in done.stderr


def test_every_overridden_name_is_one_of_the_stock_class() -> None:
    """A misspelt override would silently leave the defect in place."""
    from raftbook.replica.raft import Raft

    overridden = [name for name in vars(Raft) if name.startswith("_SyncObj__")]
    assert len(overridden) >= 5
    for name in [*overridden, "_checkCommandsToApply"]:
        assert name in vars(stock.syncobj.SyncObj), name


def test_the_private_copy_of_the_zoo_is_stock() -> None:
    assert stock.syncobj.createJournal is stock.journal.createJournal
    assert stock.syncobj.SyncObj is not opened.SyncObj
    assert opened.createJournal is not stock.syncobj.createJournal
