from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedstyle_secure.consent.beside import MOST_BYTES
from fedstyle_secure.consent.statement import read_statement
from fedstyle_secure.errors import GalleryError

WORKS = ("a.png", "B.PNG", "sketches/a.png", "sketches/old/c.png", "caf\u00e9.png", "odd[1].png", "odd1.png")
NO = 'cawg.ai_generative_training.use = "notAllowed"\n'
YES = 'cawg.ai_generative_training.use = "allowed"\n'


def said(tmp_path: Path, text: str, works: tuple[str, ...] = WORKS) -> dict[str, str | None]:
    (tmp_path / "consent.toml").write_bytes(text.encode())
    found = read_statement(tmp_path)
    assert found is not None
    uses = found.of(works, "ai_generative_training")
    return {name: None if one is None else one.use for name, one in uses.items()}


def refused(tmp_path: Path, text: str) -> set[str]:
    return {name for name, use in said(tmp_path, text).items() if use != "allowed"}


def test_nothing_is_said_where_there_is_no_file_and_where_it_is_empty(tmp_path):
    assert read_statement(tmp_path) is None
    assert set(said(tmp_path, "").values()) == {None}
    assert set(said(tmp_path, '[default]\ncawg.ai_training.use = "allowed"\n').values()) == {None}


@pytest.mark.parametrize(
    "entry",
    [
        'cawg.ai_generative_training.use = "allowed"',
        'cawg.ai_generative_training = { use = "allowed" }',
        '"cawg.ai_generative_training" = { use = "allowed" }',
        'cawg = { ai_generative_training = { use = "allowed" } }',
    ],
)
def test_an_entry_may_be_written_as_toml_and_as_json_write_it(tmp_path, entry):
    assert set(said(tmp_path, f"[default]\n{entry}\n").values()) == {"allowed"}


@pytest.mark.parametrize("info", ["", ', constraint_info = "https://example.org/terms"'])
def test_constrained_is_never_enough(tmp_path, info):
    entry = f'cawg.ai_generative_training = {{ use = "constrained"{info} }}'
    assert set(said(tmp_path, f"[default]\n{entry}\n").values()) == {"constrained"}


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("a.png", {"a.png"}),
        ("sketches/a.png", {"sketches/a.png"}),
        ("sketches/*", {"sketches/a.png", "sketches/old/c.png"}),
        ("SKETCHES/*", {"sketches/a.png", "sketches/old/c.png"}),
        ("b.png", {"B.PNG"}),
        ("*", set(WORKS)),
        ("*.png", set(WORKS)),
        ("c.png", {"sketches/old/c.png"}),
        ("cafe\u0301.png", {"caf\u00e9.png"}),
        ("odd[1].png", {"odd[1].png"}),
        ("odd?.png", {"odd1.png"}),
    ],
)
def test_a_name_means(tmp_path, pattern, meant):
    assert refused(tmp_path, f'[default]\n{YES}[works."{pattern}"]\n{NO}') == meant
    # And the other way round: what is allowed work by work is those works alone.
    assert refused(tmp_path, f'[default]\n{NO}[works."{pattern}"]\n{YES}') == set(WORKS) - meant


def test_of_several_that_mean_a_work_the_strictest_counts_whatever_their_order(tmp_path):
    one, other = f'[works."sketches/*"]\n{NO}', f'[works."sketches/a.png"]\n{YES}'
    for text in (one + other, other + one):
        assert refused(tmp_path, f"[default]\n{YES}{text}") == {"sketches/a.png", "sketches/old/c.png"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x = [", ("cannot be read", "valid: TOML")),
        (b"\xff", ("cannot be read",)),
        ("[defaults]\n", ("unknown key 'defaults'", "did you mean 'default'")),
        ("[default]\ncawg.ai_trainin.use = 'allowed'\n", ("default.cawg.ai_trainin", "did you mean")),
        ("[default]\nai_training.use = 'allowed'\n", ("unknown key", "cawg.ai_training")),
        ("[default]\ncawg.ai_training.use = 'Allowed'\n", ("default.cawg.ai_training.use", "'notAllowed'")),
        ("[default]\ncawg.ai_training.use = true\n", ("default.cawg.ai_training.use", "valid: use")),
        ("[default]\ncawg.ai_training = 'allowed'\n", ("default.cawg.ai_training", "valid: a table")),
        ("[default]\ncawg.ai_training = {}\n", ("default.cawg.ai_training.use is None",)),
        ("[default]\ncawg.ai_training = {use='allowed', until='2030'}\n", ("ai_training.until",)),
        ("[default]\ncawg.ai_training = {use='constrained', constraint_info=1}\n", ("constraint_info",)),
        ("[default]\n'cawg.ai_training' = {use='allowed'}\ncawg.ai_training.use='allowed'\n", ("twice",)),
        ("default = 1\n", ("default is 1", "valid: a table")),
        ("works = 1\n", ("works is no table",)),
        ("[works.'gone.png']\n", ("works.'gone.png' means no work",)),
        ("[works.'../bela/1.png']\n", ("is no name below the folder",)),
        ("[works.'/a.png']\n", ("is no name below the folder",)),
        ("[works.'./a.png']\n", ("is no name below the folder",)),
        ("[works.'sketches\\a.png']\n", ("is no name below the folder",)),
        ('[works.""]\n', ("is no name below the folder",)),
        ('[works."a\\n.png"]\n', ("is no name below the folder",)),
        ('[works."a\\u202e.png"]\n', ("is no name below the folder",)),
        ('["a\\nwarning: forged"]\n', ("unknown key 'a\\nwarning: forged'",)),
        ("[works.'caf\u00e9.png']\n[works.'cafe\u0301.png']\n", ("in two codings",)),
        ("a." * 5000 + "b = 1\n", ("consent.toml",)),
        ("x = " + "[" * 100_000, ("cannot be read",)),
    ],
)
def test_what_is_wrong_is_one_line_that_names_file_and_key(tmp_path, text, parts):
    (tmp_path / "consent.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(GalleryError) as caught:
        read_statement(tmp_path).of(WORKS, "ai_training")
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 600
    for part in (str(tmp_path / "consent.toml"), *parts):
        assert part in message


def test_a_link_a_pipe_a_folder_and_a_huge_file_are_refused(tmp_path):
    real = tmp_path / "real.toml"
    real.write_text("")
    path = tmp_path / "home" / "consent.toml"
    path.parent.mkdir()

    def message() -> str:
        with pytest.raises(GalleryError) as caught:
            read_statement(path.parent)
        return str(caught.value)

    path.symlink_to(real)
    assert "is a link" in message()
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "is a link" in message()
    path.unlink()
    os.mkfifo(path)
    assert "not a regular file" in message()
    path.unlink()
    path.mkdir()
    assert "not a regular file" in message()
    path.rmdir()
    with path.open("wb") as file:
        file.truncate(2**30)
    assert f"at most {MOST_BYTES}" in message()


@pytest.mark.parametrize("name", ["Consent.toml", "consent.TOML", "consent.toml.txt", "consent.toml "])
def test_another_spelling_is_an_error_and_no_silence(tmp_path, name):
    (tmp_path / name).write_text("")
    with pytest.raises(GalleryError, match=r"is not called consent\.toml"):
        read_statement(tmp_path)
    (tmp_path / "consent.toml").write_text("")
    with pytest.raises(GalleryError, match="are both there"):
        read_statement(tmp_path)
