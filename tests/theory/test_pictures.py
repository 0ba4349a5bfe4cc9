"""``python -m tests.theory``: the pictures are drawn, and words it does not know are refused."""

from __future__ import annotations

import pytest
from PIL import Image

from tests.theory import __main__ as pictures


def test_pictures_are_written_where_they_say(tmp_path, monkeypatch, capsys, usual_style):
    quick = {name: pictures.PICTURES[name] for name in ("decay", "free_energy", "cooling")}
    monkeypatch.setattr(pictures, "PICTURES", quick)
    pictures.main([f"out={tmp_path / 'new' / 'folder'}"])
    files = sorted((tmp_path / "new" / "folder").iterdir())
    assert [file.stem for file in files] == sorted(quick)
    assert sorted(capsys.readouterr().out.split()) == [str(file) for file in files]
    for file in files:
        with Image.open(file) as image:
            assert min(image.size) > 400


@pytest.mark.parametrize("words", [["folder"], ["out="], ["out=a", "out=b"]])
def test_other_words_are_refused(words):
    with pytest.raises(SystemExit, match=r"^usage: python -m tests.theory \[out=FOLDER\]"):
        pictures.main(words)
