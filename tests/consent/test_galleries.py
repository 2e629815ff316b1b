"""Galleries leave out what may not be used, as if it were not there."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedstyle_secure.config import GallerySection
from fedstyle_secure.consent import credentials
from fedstyle_secure.errors import GalleryError
from fedstyle_secure.galleries.checks import survey
from fedstyle_secure.galleries.consented import review
from fedstyle_secure.galleries.folder import FolderGallery
from fedstyle_secure.galleries.opening import open_pictures

from .conftest import ALLOWED, mining, packet, picture, with_xmp

PURPOSE = "ai_generative_training"
NO = 'cawg.ai_generative_training.use = "notAllowed"\n'
YES = 'cawg.ai_generative_training.use = "allowed"\n'


def opened(path: Path, **options: object) -> FolderGallery:
    return FolderGallery(path, size=20, **{"consent": PURPOSE, "min_pictures": 2} | options)


def refused(path: Path, artist: str = "anna", **options: object) -> dict[str, str]:
    """Names to ways."""
    return {one.name: one.way for one in opened(path, **options).portfolio(artist).refused}


def same(one: object, other: object) -> bool:
    """Whether two portfolios are the same, bit by bit."""
    assert np.array_equal(one.pictures, other.pictures)
    assert np.array_equal(one.test, other.test)
    for column in ("names", "sha256", "labels", "skipped"):
        assert getattr(one, column) == getattr(other, column)
    return one.digest() == other.digest()


def test_where_nobody_is_asked_nothing_changes(portfolio):
    asked, plain = survey(opened(portfolio)), survey(opened(portfolio, consent=None))
    assert asked.digest == plain.digest
    assert asked.purpose == PURPOSE
    told = plain.to_dict()
    assert set(told) == {"artists", "skipped", "shared", "digest"}
    assert asked.to_dict() == told | {"refused": (), "purpose": PURPOSE}
    # Files that would not be valid are none of its business then.
    (portfolio / "anna/consent.toml").write_text("[")
    (portfolio / "anna/1.png").write_bytes(with_xmp(mining("DMI-PROHIBITED"), seed=1))
    assert opened(portfolio, consent=None).portfolio("anna").refused == ()


def test_each_way_refuses(portfolio, signed):
    anna = portfolio / "anna"
    (anna / "consent.toml").write_text(f'{ALLOWED}[works."0.png"]\n{NO}')
    (anna / "tdmrep.json").write_text('[{"location": "/sketches/", "tdm-reservation": 1}]')
    (anna / "1.png").write_bytes(with_xmp(mining("DMI-PROHIBITED-GENAIMLTRAINING"), seed=1))
    (anna / "2.png").write_bytes(with_xmp(packet(attributes='tdm:reservation="1"'), seed=2))
    (anna / "3.png").write_bytes(signed({f"cawg.{PURPOSE}": {"use": "constrained"}}, data=picture(seed=3)))
    assert refused(portfolio, on_bad="refuse") == {
        "anna/0.png": "consent.toml",
        "anna/sketches/6.png": "reservation",
        "anna/sketches/7.png": "reservation",
        "anna/1.png": "reservation",
        "anna/2.png": "reservation",
        "anna/3.png": "credentials",
    }
    assert opened(portfolio).portfolio("anna").names == ("anna/4.png", "anna/5.png")
    assert opened(portfolio).portfolio("bela").refused == ()


def test_a_picture_can_allow_itself_and_nothing_else_is_used(portfolio, signed):
    anna = portfolio / "anna"
    (anna / "consent.toml").unlink()
    for i in range(3):
        allows = signed({f"cawg.{PURPOSE}": {"use": "allowed"}}, data=picture(seed=i))
        (anna / f"{i}.png").write_bytes(allows)
    found = opened(portfolio).portfolio("anna")
    assert found.names == ("anna/0.png", "anna/1.png", "anna/2.png")
    assert {one.way for one in found.refused} == {"unsaid"}
    assert len(found.refused) == 5
    # A yes of the picture does not outweigh a no beside it.
    (anna / "consent.toml").write_text(f'[works."0.png"]\n{NO}')
    assert refused(portfolio)["anna/0.png"] == "consent.toml"


def test_a_yes_for_everything_does_not_outweigh_a_pictures_no(portfolio, signed):
    says_no = signed({f"cawg.{PURPOSE}": {"use": "notAllowed"}}, data=picture(seed=1))
    (portfolio / "anna/1.png").write_bytes(says_no)
    (portfolio / "anna/consent.toml").write_text(f'{ALLOWED}[works."1.png"]\n{YES}')
    assert refused(portfolio) == {"anna/1.png": "credentials"}


def test_a_refused_work_is_no_bad_one(portfolio):
    (portfolio / "anna/9.png").write_bytes(b"broken")
    (portfolio / "anna/9.gif").write_bytes(b"GIF89a")
    shutil.copy(portfolio / "anna/1.png", portfolio / "anna/double.png")
    names = "".join(f'[works."{name}"]\n{NO}' for name in ("9.png", "9.gif", "double.png"))
    (portfolio / "anna/consent.toml").write_text(ALLOWED + names)
    found = opened(portfolio, on_bad="refuse").portfolio("anna")
    assert len(found.names) == 8
    assert len(found.refused) == 3
    (portfolio / "anna/consent.toml").write_text(ALLOWED)
    with pytest.raises(GalleryError, match="mend or remove it"):
        opened(portfolio, on_bad="refuse").portfolio("anna")


def test_works_that_beside_files_refuse_are_not_opened(portfolio, monkeypatch):
    from fedstyle_secure.galleries import folder

    read = []
    monkeypatch.setattr(
        folder, "read_picture_bytes", lambda path, _: read.append(path.name) or path.read_bytes()
    )
    (portfolio / "anna/consent.toml").write_text(f'{ALLOWED}[works."0.png"]\n{NO}')
    opened(portfolio).portfolio("anna")
    assert "0.png" not in read
    # Nor anybody else's.
    assert len(read) == 7


def test_too_few_that_may_be_used_say_how_to_consent(portfolio):
    (portfolio / "anna/consent.toml").unlink()
    with pytest.raises(GalleryError) as caught:
        opened(portfolio)
    for part in (
        "'anna' has 0 training pictures",
        "use of 8 was refused",
        "gallery.min_pictures",
        "consent.toml",
    ):
        assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    gallery = opened(portfolio, on_bad="skip")
    assert gallery.artists == ("bela",)
    assert [one.artist for one in gallery.skipped] == ["anna"]
    assert len(gallery.refused) == 8
    found = survey(gallery, "skip")
    assert len(found.refused) == 8
    assert json.loads(json.dumps(found.to_dict()))["refused"][0]["way"] == "unsaid"


def test_pictures_that_refuse_count_for_nobody(portfolio):
    for i in range(6):
        (portfolio / f"anna/{i}.png").write_bytes(with_xmp(mining("DMI-PROHIBITED"), seed=i))
    with pytest.raises(GalleryError, match=r"'anna' has 2 training pictures .*the use of 6 was refused"):
        opened(portfolio, min_pictures=4).portfolio("anna")


def test_public_artists_are_asked_too(portfolio):
    (portfolio / "anna/consent.toml").write_text(f"[default]\n{NO}")
    with pytest.raises(GalleryError, match=r"'anna' has 0 .*the use of 8 was refused"):
        opened(portfolio, public=["anna"])


@pytest.mark.parametrize(
    ("place", "valid"),
    [("consent.toml", "anna/consent.toml"), ("anna/sketches/tdmrep.json", "anna/tdmrep.json")],
)
def test_a_file_that_would_say_nothing_where_it_lies_is_an_error(portfolio, place, valid):
    (portfolio / place).write_text("")
    with pytest.raises(GalleryError, match=f"'{place}' lies where it is not read; valid: '{valid}'"):
        opened(portfolio)


def test_with_a_table_the_file_lies_beside_it(portfolio):
    rows = [f"{artist}/{i}.png,{artist},train" for artist in ("anna", "bela") for i in range(6)]
    (portfolio / "split.csv").write_text("\n".join(["path,artist,split", *rows]))
    with pytest.raises(GalleryError, match=r"'anna/consent\.toml' lies where it is not read"):
        opened(portfolio)
    for artist in ("anna", "bela"):
        (portfolio / artist / "consent.toml").unlink()
    (portfolio / "consent.toml").write_text(f'{ALLOWED}[works."anna/0.png"]\n{NO}[works."1.png"]\n{NO}')
    assert refused(portfolio) == {"anna/0.png": "consent.toml", "anna/1.png": "consent.toml"}
    assert refused(portfolio, "bela") == {"bela/1.png": "consent.toml"}


def test_a_link_to_somebody_elses_yes_is_none(portfolio):
    (portfolio / "anna/consent.toml").unlink()
    (portfolio / "anna/consent.toml").symlink_to(portfolio / "bela/consent.toml")
    with pytest.raises(GalleryError, match="is a link"):
        opened(portfolio)


def test_settings_open_a_gallery_that_asks(portfolio):
    (portfolio / "anna/consent.toml").write_text(f'{ALLOWED}[works."0.png"]\n{NO}')
    settings = GallerySection(source="folder", path=str(portfolio), size=32)
    found = open_pictures(settings, consent=PURPOSE)
    assert found.purpose == PURPOSE
    assert [one.name for one in found.portfolio("anna").refused] == ["anna/0.png"]
    assert open_pictures(settings).portfolio("anna").refused == ()


def test_an_opt_out_is_absent_from_the_next_gallery(portfolio):
    before = survey(opened(portfolio)).digest
    (portfolio / "anna/consent.toml").write_text(f'{ALLOWED}[works."0.png"]\n{NO}')
    after = survey(opened(portfolio))
    assert after.digest != before
    (portfolio / "anna/consent.toml").write_text(ALLOWED)
    (portfolio / "anna/0.png").unlink()
    assert survey(opened(portfolio)).digest == after.digest


kinds = st.sampled_from(["plain", "named", "mining", "located", "double", "broken"])


@settings(max_examples=30)
@given(st.lists(kinds, min_size=12, max_size=12), st.integers(0, 3))
def test_a_portfolio_is_that_of_the_works_that_may_be_used(works, seed):
    """Those that are refused are as if they were not there, whatever they are and whichever they equal."""
    with tempfile.TemporaryDirectory() as folder:
        there, gone = Path(folder, "there"), Path(folder, "gone")
        names, locations = [], []
        for root in (there, gone):
            (root / "anna").mkdir(parents=True)
            for i in range(4):
                (root / f"anna/kept{i}.png").write_bytes(picture(seed=i))
        for i, kind in enumerate(works):
            name = f"{i:02}.png"
            data = picture(seed=50 + i)
            if kind == "mining":
                data = with_xmp(mining("DMI-PROHIBITED"), seed=50 + i)
            elif kind == "double":
                data = picture(seed=i % 4)
            elif kind == "broken":
                data = b"\x89PNG\r\n\x1a\nbroken"
            (there / "anna" / name).write_bytes(data)
            if kind == "located":
                locations.append({"location": f"/{name}$", "tdm-reservation": 1})
            elif kind == "plain":
                (gone / "anna" / name).write_bytes(data)
            elif kind != "mining":
                names.append(name)
        (there / "anna/consent.toml").write_text(ALLOWED + "".join(f'[works."{n}"]\n{NO}' for n in names))
        (there / "anna/tdmrep.json").write_text(json.dumps(locations))
        (gone / "anna/consent.toml").write_text(ALLOWED)
        options = {"seed": seed, "test_fraction": 0.3}
        found = opened(there, **options).portfolio("anna")
        assert same(found, opened(gone, **options).portfolio("anna"))
        assert same(found, replace(opened(gone, consent=None, **options).portfolio("anna"), skipped=()))
        assert len(found.refused) == sum(kind != "plain" for kind in works)
        assert found.refused == opened(there, **options).portfolio("anna").refused


says = st.sampled_from(["allowed", "notAllowed", "constrained", ""])


@settings(max_examples=60)
@given(
    default=says,
    own=says,
    signs=says,
    located=st.booleans(),
    mines=st.sampled_from(["", "DMI-ALLOWED", "DMI-PROHIBITED"]),
)
def test_the_strictest_of_all_ways_counts(default, own, signs, located, mines):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root = Path(folder)
        # What a sound signature holds, without the time that it takes to make one.
        voices = [credentials.Said("credentials", signs, "says so")] if signs else []
        patch.setattr("fedstyle_secure.consent.voices.credentials_say", lambda data, purpose: voices)
        (root / "a.png").write_bytes(with_xmp(mining(mines)) if mines else picture())
        entry = f"cawg.{PURPOSE}.use = "
        text = f'[default]\n{entry}"{default}"\n' if default else ""
        text += f'[works."a.png"]\n{entry}"{own}"\n' if own else ""
        (root / "consent.toml").write_text(text)
        (root / "tdmrep.json").write_text(json.dumps([{"location": "/", "tdm-reservation": int(located)}]))
        (found,) = review(root, PURPOSE)
        beside = own or default
        said = [use for use in (beside, signs) if use]
        allowed = bool(said) and set(said) == {"allowed"} and not located and mines != "DMI-PROHIBITED"
        assert (found.refused is None) == allowed
