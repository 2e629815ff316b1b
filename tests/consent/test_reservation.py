from __future__ import annotations

import json

import pytest

from fedstyle_secure.consent.reservation import read_reservation
from fedstyle_secure.errors import GalleryError

WORKS = ("a.png", "sketches/a.png", "sketches/old b.jpg", "\u00e9tude.png")


def reserved(tmp_path, *rules: object) -> set[str]:
    (tmp_path / "tdmrep.json").write_text(json.dumps(rules))
    return {name for name, said in read_reservation(tmp_path).of(WORKS).items() if said is not None}


def rule(location: str, value: int = 1) -> dict[str, object]:
    return {"location": location, "tdm-reservation": value}


@pytest.mark.parametrize(
    ("location", "meant"),
    [
        ("/", set(WORKS)),
        ("/*", set(WORKS)),
        ("/a.png", {"a.png"}),
        ("/A.PNG", {"a.png"}),
        ("/sketches/", {"sketches/a.png", "sketches/old b.jpg"}),
        ("/sketches/old%20b.jpg", {"sketches/old b.jpg"}),
        ("/e\u0301tude", {"\u00e9tude.png"}),
        ("/*.png$", {"a.png", "sketches/a.png", "\u00e9tude.png"}),
        ("/s*a.png$", {"sketches/a.png"}),
        ("/*a*", {"a.png", "sketches/a.png", "sketches/old b.jpg"} - {"sketches/old b.jpg"}),
        ("/a.png$", {"a.png"}),
    ],
)
def test_a_location_means(tmp_path, location, meant):
    assert reserved(tmp_path, rule(location)) == meant


def test_a_one_is_not_taken_back_by_a_zero_and_a_zero_allows_nothing(tmp_path):
    assert reserved(tmp_path, rule("/"), rule("/a.png", 0)) == set(WORKS)
    assert reserved(tmp_path, rule("/", 0), rule("/a.png")) == {"a.png"}
    assert reserved(tmp_path, rule("/gone.png", 0)) == set()


def test_overlapping_ends_are_no_match(tmp_path):
    with pytest.raises(GalleryError, match="means no work"):
        reserved(tmp_path, rule("/a.p*.png$"))


def test_the_servers_place_is_read_and_two_are_too_many(tmp_path):
    (tmp_path / ".well-known").mkdir()
    place = tmp_path / ".well-known/tdmrep.json"
    place.write_text(json.dumps([rule("/a.png")]))
    assert read_reservation(tmp_path).reserved == ("/a.png",)
    (tmp_path / "tdmrep.json").write_text("[]")
    with pytest.raises(GalleryError, match="one of them"):
        read_reservation(tmp_path)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "cannot be read"),
        ("{}", "holds no list"),
        ("[1]", "rule 1 is no object"),
        ('[{"location": "/", "tdm-reservation": true}]', "tdm-reservation is True"),
        ('[{"location": "/", "tdm-reservation": 2}]', "tdm-reservation is 2"),
        ('[{"location": "/", "tdm-reservation": "1"}]', "tdm-reservation is '1'"),
        ('[{"location": "/"}]', "tdm-reservation is None"),
        ('[{"location": "a.png", "tdm-reservation": 1}]', "begins with /"),
        ('[{"location": "/", "tdm-reservation": 1, "reservation": 0}]', "unknown key 'reservation'"),
        ('[{"location": "/", "tdm-reservation": 1, "tdm-reservation": 0}]', "twice"),
        ('[{"location": "/", "tdm-reservation": 1, "tdm-policy": 3}]', "tdm-policy is no text"),
        ('[{"location": "/gone/", "tdm-reservation": 1}]', "'/gone/' means no work"),
        ('[{"location": "/../x", "tdm-reservation": 1}]', "means no work"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_file(tmp_path, text, part):
    (tmp_path / "tdmrep.json").write_text(text)
    with pytest.raises(GalleryError) as caught:
        read_reservation(tmp_path).of(WORKS)
    assert str(tmp_path / "tdmrep.json") in str(caught.value)
    assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_many_stars_take_no_time(tmp_path):
    (tmp_path / "tdmrep.json").write_text(json.dumps([rule("/" + "*a" * 5000 + "$")]))
    with pytest.raises(GalleryError, match="means no work"):
        read_reservation(tmp_path).of(["a" * 250])
