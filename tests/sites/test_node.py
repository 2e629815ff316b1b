"""A node's gates: who asks, in what bundle, and what the artist's own policy says of it."""

import gc
import hashlib
import io
import json
import math
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from PIL import Image

from fedstyle_secure.config import Config
from fedstyle_secure.errors import FederationError, PrivacyError, RunError, StrangerError
from fedstyle_secure.federation.artist import Studio
from fedstyle_secure.federation.bundle import BundleError, opened, packed
from fedstyle_secure.federation.codes import Decline
from fedstyle_secure.federation.offers import Place, manifest_request
from fedstyle_secure.federation.protocol import instruction_record
from fedstyle_secure.federation.releases import Layouts
from fedstyle_secure.galleries.atelier import Atelier
from fedstyle_secure.privacy.events import SampledGaussian
from fedstyle_secure.privacy.gate import withdraw
from fedstyle_secure.privacy.ledger import Ledger
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.sites import heads
from fedstyle_secure.sites.cards import Card
from fedstyle_secure.sites.consent_log import decide
from fedstyle_secure.sites.fleet import Sent
from fedstyle_secure.sites.header import opened as header_of
from fedstyle_secure.sites.header import sealed
from fedstyle_secure.sites.homes import Home, enrol, init_artist, init_opener, init_platform, settle
from fedstyle_secure.sites.hosting import asked_for
from fedstyle_secure.sites.node import Node, Task
from fedstyle_secure.sites.parcel import body, pack, unpack, wrapped
from fedstyle_secure.sites.roster import FILE, Roster
from fedstyle_secure.sites.statements import Statement
from fedstyle_secure.system import plan_of
from fedstyle_secure.systems.style.system import StyleSystem

ARTISTS = ("impasto-1", "hatching-1", "mosaic-1")
PUBLIC = ("public-impasto-1", "public-woodcut-1")
SETTINGS = (
    "gallery.source=folder", "gallery.size=32", f"gallery.public={json.dumps(PUBLIC)}",
    "gallery.artists=16", "gallery.pictures=60", "gallery.public_artists=16",
    "style.encoder=cnn", "style.dim=8", "style.pretrain_steps=3", "style.practice_artists=0",
    "styles.source=vocabulary", "run.rounds=2", "training.expected_pictures=9",
    "privacy.noise_multiplier=4",
)  # fmt: skip
RUN, NODE = "ab" * 16, 7


@pytest.fixture(scope="module")
def source():
    return Atelier(artists=3, pictures=12, public=2, size=32, seed=0, test_fraction=0.25)


@pytest.fixture(scope="module")
def start(source):
    """The public state of a run."""
    return StyleSystem(Config().override(SETTINGS)).learn([source.portfolio(name) for name in PUBLIC])


@pytest.fixture
def homes(tmp_path, source):
    """Homes of three artists, an opener and a platform, who know each other."""
    for name in ARTISTS:
        folder = tmp_path / f"art-{name}" / name
        folder.mkdir(parents=True)
        for i, picture in enumerate(source.portfolio(name).pictures):
            Image.fromarray(picture).save(folder / f"{i:03d}.png")
    found = {
        "platform": init_platform(tmp_path / "platform", "localhost", 8443, tmp_path / "public"),
        "opener": init_opener(tmp_path / "opener"),
    } | {name: init_artist(tmp_path / name, name, tmp_path / f"art-{name}") for name in ARTISTS}
    for one in found.values():
        for other in found.values():
            if one != other and (one.role, other.role) != ("artist", "artist"):
                enrol(one, other.card)
    return found


class Platform:
    """Sends what it likes to one node, signed or not."""

    def __init__(self, homes, *settings):
        self.homes = homes
        self.config = Config().override([*SETTINGS, *settings])
        self.identity = homes["platform"].identity
        cards = [homes[name].card for name in ARTISTS]
        self.roster = Roster.of(cards, homes["opener"].card, self.identity.public)
        self.bundle = packed(self.config, {FILE: self.roster.to_toml(self.identity)})
        self.sha256 = hashlib.sha256(self.bundle).hexdigest()
        self.overridden = False

    def sent(self, run_id):
        return Sent(self.bundle, self.sha256, self.overridden)

    def message(self, content, kind, **changes):
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
        told = {
            "identity": self.identity,
            "run": RUN,
            "settings": self.config.digest(),
            "roster": self.roster.digest,
        }
        message = sealed(Message(content, NODE, kind, ttl=60), **(told | changes))
        message.metadata.__dict__["_message_id"] = "1"
        return message

    def instruction(self, start, **changes):
        return self.message(instruction_record(start, fixed=True), "train", **changes)

    def ask(self, message, who=ARTISTS[0]):
        return unpacked(Node(self.homes[who], self.sent).answer(message))


def unpacked(reply):
    if not reply.has_error():
        reply.content = unpack(body(reply.content))
    return reply


def code(reply):
    """Why nothing came; every word of the reply is a fixed phrase."""
    assert reply.has_error(), "answered"
    assert reply.error.reason in {one.phrase for one in Decline}
    return reply.error.code


def released(home):
    return Ledger(home.path / "ledger.jsonl").entries


def test_a_node_answers_the_platform_that_it_knows(homes, start):
    platform = Platform(homes)
    reply = platform.ask(platform.instruction(start))
    assert not reply.has_error()
    # Without an offer nothing that is summed leaves: the card does, under the artist's name.
    assert {entry.kind for entry in released(homes[ARTISTS[0]])} == {"card"}
    assert {entry.policy for entry in released(homes[ARTISTS[0]])} == {homes[ARTISTS[0]].policy.digest()}


def test_whoever_may_submit_a_run_gets_nothing_out_of_a_node(homes, start, tmp_path):
    """Without a header, with one of its own, with one of another message, run, node or kind."""
    platform, stranger = Platform(homes), Identity.load(tmp_path / "stranger" / "identity.key")
    bare = platform.instruction(start)
    for key in ("text", "signature"):
        del bare.content["parcel"][key]
    other = platform.message(Place(RUN, 0, 0, 1).to_record(), "query.announce")
    moved = platform.instruction(start)
    for key in ("text", "signature"):
        moved.content["parcel"][key] = other.content["parcel"][key]
    altered = platform.instruction(start)
    inside = unpack(body(altered.content))
    inside["round"]["number"] = 1
    altered.content["parcel"]["body"] = body(wrapped(inside))
    replayed = platform.instruction(start)
    replayed.metadata.__dict__["_dst_node_id"] = NODE + 1
    broken = platform.instruction(start)
    broken.content["parcel"].update({"text": "[" * 100_000, "signature": b""})
    for message in (
        bare, moved, altered, replayed, broken,
        platform.instruction(start, identity=stranger),
        platform.instruction(start, settings="0" * 64),
        platform.instruction(start, roster="0" * 64),
        platform.instruction(start, run="../../elsewhere"),
    ):  # fmt: skip
        assert code(platform.ask(message)) == Decline.STRANGER
    assert released(homes[ARTISTS[0]]) == ()


def foreign_bundle(platform, extra):
    """The run's own bundle with one file more."""
    data = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(platform.bundle)) as old, zipfile.ZipFile(data, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        for name, content in extra.items():
            new.writestr(name, content)
    return data.getvalue()


STEALS = b"open('stolen', 'w').write(open('node.key').read())\n"


@pytest.mark.parametrize(
    "extra",
    [
        {"client.py": STEALS},
        {"fedstyle_secure/__init__.py": STEALS},
        {"../../.bashrc": b"x"},
        {"a.so": b"\x7fELF"},
    ],
)
def test_a_bundle_with_code_is_refused_and_never_run(homes, start, extra, monkeypatch, tmp_path):
    """4 of 4 nodes gave their keys to a bundle of ten lines."""
    monkeypatch.chdir(tmp_path)
    platform = Platform(homes)
    platform.bundle = foreign_bundle(platform, extra)
    # Not the one that was asked for.
    assert code(platform.ask(platform.instruction(start))) == Decline.BUNDLE
    # Asked for by a platform that went bad itself: its own signature, roster and digest.
    platform.sha256 = hashlib.sha256(platform.bundle).hexdigest()
    assert code(platform.ask(platform.instruction(start))) == Decline.BUNDLE
    assert released(homes[ARTISTS[0]]) == ()
    assert not (tmp_path / "stolen").exists()


def zipped(project, how=zipfile.ZIP_DEFLATED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", how) as archive:
        archive.writestr("pyproject.toml", project)
    return data.getvalue()


def test_bundles_that_are_none_are_refused_in_one_line():
    good = packed(Config(), {})
    digest = hashlib.sha256
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("LICENSE", b"0" * (2**24 + 1))
    packings = [zipped(b"tool = 3"), zipped(b"a = " + b"[" * 100_000)]
    for how, at in ((zipfile.ZIP_DEFLATED, 60), (zipfile.ZIP_BZIP2, 44), (zipfile.ZIP_LZMA, 48)):
        torn = bytearray(zipped(b"[tool.flwr.app.config]\nx = 1\n" * 99, how))
        torn[at] ^= 0x55
        packings.append(bytes(torn))
    for data in (b"", b"PK", good[:-30], good[: len(good) // 2], bomb.getvalue(), *packings):
        with pytest.raises(BundleError, match=r"^the bundle [^\n]*$"):
            opened(data, digest(data).hexdigest())
    assert Config.from_flat(opened(good, digest(good).hexdigest()).settings) == Config()


def test_settings_beside_the_bundle_are_refused(homes, start):
    platform = Platform(homes)
    platform.overridden = True
    assert code(platform.ask(platform.instruction(start))) == Decline.MALFORMED


@pytest.mark.parametrize(
    "settings",
    [
        ("privacy.dp=off", "privacy.noise_multiplier=auto"),
        ("privacy.noise_multiplier=0.1",),
        ("privacy.target_epsilon=900", "privacy.noise_multiplier=auto"),
        ("secure_sum.enabled=false",),
        ("privacy.clip_norm=50",),
        ("audit.canaries=8",),
        ("audit.record=all",),
        ("run.rounds=1000",),
    ],
)
def test_no_run_lifts_an_artists_policy(homes, start, settings):
    platform = Platform(homes, *settings)
    assert code(platform.ask(platform.instruction(start))) == Decline.POLICY
    assert released(homes[ARTISTS[0]]) == ()


@pytest.mark.parametrize("elsewhere", ["run.studios", "run.folder"])
def test_a_withdrawn_artist_releases_nothing_wherever_the_run_says_that_its_folder_is(
    homes, start, elsewhere, tmp_path
):
    """A run in other studios, with dp off, got releases of an artist who had withdrawn."""
    withdraw(homes[ARTISTS[0]].path)
    for more in ((), ("privacy.dp=off", "privacy.noise_multiplier=auto")):
        platform = Platform(homes, f"{elsewhere}={tmp_path / 'other'}", *more)
        reply = platform.ask(platform.instruction(start))
        if reply.has_error():
            assert code(reply) == Decline.POLICY
        else:
            assert reply.content["reply"]["withdrawn"] is True
            assert not reply.content.array_records
    assert released(homes[ARTISTS[0]]) == ()
    assert not (tmp_path / "other").exists()


def test_a_policy_that_was_loosened_counts_once_the_artist_agreed_at_the_machine(homes, start):
    home = homes[ARTISTS[0]]
    platform = Platform(homes, "privacy.clip_norm=50")
    (home.path / "policy.toml").write_text(home.policy.changed({"privacy.max_clip_norm": 60.0}).to_toml())
    assert code(platform.ask(platform.instruction(start))) == Decline.REFUSED
    assert b"privacy.max_clip_norm" in (home.path / "artist.log").read_bytes()
    settle(home)
    assert not platform.ask(platform.instruction(start)).has_error()
    # Tightened with an editor, it counts at once, and the way back is a loosening.
    (home.path / "policy.toml").write_text(home.policy.changed({"privacy.max_clip_norm": 1.0}).to_toml())
    assert code(platform.ask(platform.instruction(start, run="cd" * 16))) == Decline.POLICY
    (home.path / "policy.toml").write_text(home.policy.changed({"privacy.max_clip_norm": 60.0}).to_toml())
    assert code(platform.ask(platform.instruction(start, run="ef" * 16))) == Decline.REFUSED


def test_an_artist_over_its_own_budget_releases_nothing_more(homes, start):
    home = homes[ARTISTS[0]]
    path = home.path / "policy.toml"
    platform = Platform(homes)
    assert not platform.ask(platform.instruction(start)).has_error()
    spent = released(home)
    # The next run is within the artist's limit by itself, and beyond it with the first.
    allowed = home.policy.changed({"privacy.max_releases_a_day": len(spent)})
    path.write_text(allowed.to_toml())
    again = Platform(homes, "run.seed=1", "privacy.budget_epsilon=none")
    reply = again.ask(again.instruction(start, run="cd" * 16))
    assert code(reply) == Decline.POLICY
    assert released(home) == spent


def test_another_opener_or_roster_than_the_artist_knows_is_refused(homes, start, tmp_path):
    other = init_opener(tmp_path / "another")
    platform = Platform(homes)
    cards = [homes[name].card for name in ARTISTS]
    for roster in (
        Roster.of(cards, other.card, platform.identity.public),
        Roster.of(cards[1:], homes["opener"].card, platform.identity.public),
        Roster.of([replace(cards[0], identity=other.card.identity), *cards[1:]], homes["opener"].card,
                  platform.identity.public),
    ):  # fmt: skip
        platform.roster = roster
        platform.bundle = packed(platform.config, {FILE: roster.to_toml(platform.identity)})
        platform.sha256 = hashlib.sha256(platform.bundle).hexdigest()
        assert code(platform.ask(platform.instruction(start))) == Decline.MALFORMED
    assert released(homes[ARTISTS[0]]) == ()


def test_a_roster_that_another_platform_signed_is_refused(homes, start, tmp_path):
    platform, stranger = Platform(homes), Identity.load(tmp_path / "stranger" / "identity.key")
    for roster in (platform.roster.to_toml(stranger), b"", b"platform = 1", b"artists = [[[["):
        platform.bundle = packed(platform.config, {FILE: roster})
        platform.sha256 = hashlib.sha256(platform.bundle).hexdigest()
        assert code(platform.ask(platform.instruction(start))) == Decline.MALFORMED


def test_an_opener_signs_for_artists_that_it_enrolled_itself_alone(homes, tmp_path):
    """Else a platform would bring artists of its own into a sum, and take the sum of the others apart."""
    platform = Platform(homes)
    stranger = init_artist(tmp_path / "stranger", "stranger-1", tmp_path)
    hello = RecordDict({"hello": ConfigRecord({"asks": "opener"})})
    assert not platform.ask(platform.message(hello, "query.hello"), "opener").has_error()
    cards = [*(homes[name].card for name in ARTISTS), stranger.card]
    platform.roster = Roster.of(cards, homes["opener"].card, platform.identity.public)
    platform.bundle = packed(platform.config, {FILE: platform.roster.to_toml(platform.identity)})
    platform.sha256 = hashlib.sha256(platform.bundle).hexdigest()
    assert code(platform.ask(platform.message(hello, "query.hello"), "opener")) == Decline.REFUSED


def test_a_statement_holds_this_runs_releases_alone_and_no_other_artist_can_make_it(homes, start):
    platform, name = Platform(homes), ARTISTS[0]
    node = Node(homes[name], platform.sent)
    for run in (RUN, "cd" * 16):
        assert not node.answer(platform.instruction(start, run=run)).has_error()
    ask = RecordDict({"ask": ConfigRecord({"asks": "statement"})})
    content = unpacked(node.answer(platform.message(ask, "query.statement"))).content
    keys = dict(platform.roster.artists)
    stated = Statement.from_record(content, keys, RUN)
    assert [entry.run for entry in released(homes[name])] == [RUN, "cd" * 16]
    assert stated.entries == released(homes[name])[:1]
    assert "cd" * 16 not in content["statement"]["text"]
    swapped = keys | {name: keys[ARTISTS[1]]}
    with pytest.raises(FederationError, match="not signed by this artist"):
        Statement.from_record(content, swapped, RUN)
    content["statement"]["text"] = content["statement"]["text"].replace(
        '"withdrawn": false', '"withdrawn": true'
    )
    with pytest.raises(FederationError, match="not signed by this artist"):
        Statement.from_record(content, keys, RUN)


@pytest.mark.parametrize(
    "change",
    [
        {"round": []},
        {"round": True},
        {"round": -1},
        {"round": 10**6},
        {"kind": {}},
        {"kind": "update"},
        {"at": 5},
        {"parameters": {"x": math.nan}},
        {"sensitivity": math.nan},
        {"artwork_cost": SampledGaussian(1e-300, 1.0, 10**18)},
    ],
    ids=str,
)
def test_what_no_run_asked_for_is_no_statement(homes, start, change):
    """An artist who signed such an entry kept the platform's run from its end, again and again."""
    platform, name = Platform(homes), ARTISTS[0]
    assert not platform.ask(platform.instruction(start)).has_error()
    config, artists = platform.config, len(ARTISTS)
    layouts = Layouts(config, plan_of(config, artists), StyleSystem(config).forms(start), artists)
    honest = Statement.of(name, RUN, "", Ledger(homes[name].path / "ledger.jsonl")).entries
    assert asked_for(honest, layouts)
    assert not asked_for(honest * 2, layouts)
    assert not asked_for([replace(honest[0], **change)], layouts)


def test_a_system_that_the_policy_leaves_out_is_not_even_imported(homes, start, monkeypatch):
    """A system is a package: whoever names one in a run would have it imported."""
    from fedstyle_secure import registry

    platform, asked = Platform(homes), []
    real = registry.load
    monkeypatch.setattr(registry, "load", lambda place: asked.append(place) or real(place))
    text = Config.from_dict({"run": {"system": "text"}})
    platform.bundle = packed(text, {FILE: platform.roster.to_toml(platform.identity)})
    platform.sha256, platform.config = hashlib.sha256(platform.bundle).hexdigest(), text
    message = platform.instruction(start)
    asked.clear()
    assert code(platform.ask(message)) == Decline.POLICY
    assert not [place for place in asked if ".text" in place]


def test_an_artist_none_of_whose_works_take_part_declines(homes, start):
    home = homes[ARTISTS[0]]
    folder = home.path / home.policy.portfolio.path / home.name
    works = [hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()]
    decide(home.path / home.policy.consent.file, works, "ai_training", "out", "2026-01-01T00:00:00+00:00")
    platform = Platform(homes)
    assert code(platform.ask(platform.instruction(start))) == Decline.PORTFOLIO
    assert released(home) == ()


def test_cards_are_bound_to_their_owners_keys(homes, tmp_path):
    card = homes["opener"].card
    groups = card.fingerprint.split(" ")
    assert [len(group) for group in groups] == [4] * 8
    for change in ({"identity": homes["platform"].card.identity}, {"node_key": "x"}, {"address": "evil:1"}):
        replace(card, **change).save(tmp_path / "card.json")
        with pytest.raises(PrivacyError, match="was changed since its owner signed it"):
            Card.load(tmp_path / "card.json")
        assert replace(card, **change).fingerprint != card.fingerprint
    for text in (
        "",
        "[]",
        "{}",
        '{"role": "artist"}',
        "[" * 10_000,
        '{"role": 1, "name": "", "identity": ""}',
    ):
        (tmp_path / "card.json").write_text(text)
        with pytest.raises(PrivacyError, match="is no card"):
            Card.load(tmp_path / "card.json")
    # A second card of a name is not taken in place of the first by itself.
    another = init_opener(tmp_path / "second")
    with pytest.raises(PrivacyError, match="another card of the opener is known already"):
        enrol(homes[ARTISTS[0]], another.card)
    enrol(homes[ARTISTS[0]], another.card, replacing=True)
    assert homes[ARTISTS[0]].known.require("opener") == another.card
    with pytest.raises(PrivacyError, match="enrols platform and opener only"):
        enrol(homes[ARTISTS[0]], homes[ARTISTS[1]].card)


def test_a_home_is_made_once_and_its_keys_are_its_owners_alone(homes, tmp_path):
    for name, home in homes.items():
        assert Home.open(home.path) == home
        for file in home.path.rglob("*"):
            if file.is_file() and file.name != "card.json":
                assert file.stat().st_mode & 0o077 == 0, f"{name}: {file.name}"
    with pytest.raises(RunError, match="is there already"):
        init_opener(homes["opener"].path)
    with pytest.raises(RunError, match="is the home of an opener"):
        Home.open(homes["opener"].path, "artist")


def test_a_message_survives_the_wire_in_one_piece_and_no_bit_of_it_can_be_changed(homes, start):
    from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
    from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

    platform = Platform(homes)
    sent = instruction_record(start, fixed=True)
    message = platform.message(sent, "train")
    objects = {key: one.deflate() for key, one in get_all_nested_objects(message.content).items()}
    # Flower sends each object by itself, in requests of its own: a record, and what holds it.
    assert len(objects) == 2
    message.content = inflate_object_from_contents(message.content.object_id, objects)
    assert header_of(message, platform.identity.public).run == RUN
    assert pack(message.content) == pack(sent)
    for place in (0, 1000, -1):
        moved = platform.message(sent, "train")
        data = bytearray(body(moved.content))
        data[place] ^= 1
        moved.content["parcel"]["body"] = bytes(data)
        with pytest.raises(StrangerError):
            header_of(moved, platform.identity.public)


@pytest.mark.parametrize("data", [b"\xff" * 9, b"\x0a\x05", b"\x0a\x02\x08\x01"])
def test_what_is_no_content_is_refused_in_one_line(homes, data):
    with pytest.raises(FederationError, match=r"^a message's content cannot be read: [A-Za-z]+$"):
        unpack(data)
    platform = Platform(homes)
    for content in (RecordDict({}), RecordDict({"parcel": ConfigRecord({"body": 1})})):
        with pytest.raises(FederationError, match="not in one piece"):
            body(content)
        message = Message(content, NODE, "train", ttl=60)
        message.metadata.__dict__["_message_id"] = "1"
        assert code(platform.ask(message)) == Decline.STRANGER


def test_an_older_ledger_than_the_platform_was_shown_stops_its_artist(homes, start, tmp_path):
    """A backup that is put back would spend again what was spent."""
    platform, home = Platform(homes), homes[ARTISTS[0]]
    reply = platform.ask(platform.instruction(start))
    shown = heads.taken(reply.content)
    public = home.identity.public
    assert (
        heads.SignedHead.from_bytes(shown, public).head.lines
        == len(Ledger(home.path / "ledger.jsonl").heads) - 1
    )

    def again(run):
        content = instruction_record(start, fixed=True)
        heads.put(content, heads.SignedHead.from_bytes(shown, public))
        return platform.ask(platform.message(content, "train", run=run))

    assert not again("cd" * 16).has_error(), "a ledger that went on"
    for file in home.path.glob("ledger.*"):
        file.unlink()
    assert code(again("ef" * 16)) == Decline.REFUSED
    assert not (home.path / "ledger.jsonl").exists()


def test_a_work_that_its_artist_keeps_out_changes_nothing_of_what_leaves(homes, source):
    """Two artists, one of whom has a work more and keeps it out: both are asked the same, without noise."""
    platform = Platform(homes, "privacy.dp=off", "privacy.noise_multiplier=auto", "secure_sum.enabled=false")
    home = homes[ARTISTS[0]]
    start = StyleSystem(platform.config).learn([source.portfolio(name) for name in PUBLIC])
    loose = {"privacy.dp": "optional", "sum.required": ["none"]}
    (home.path / "policy.toml").write_text(home.policy.changed(loose).to_toml())
    settle(home)
    folder = home.path / home.policy.portfolio.path / home.name
    before = platform.ask(platform.instruction(start))
    work = folder / "kept out.png"
    Image.fromarray(np.full((32, 32, 3), 200, np.uint8)).save(work)
    sha256 = hashlib.sha256(work.read_bytes()).hexdigest()
    decide(home.path / home.policy.consent.file, [sha256], "ai_training", "out", "2026-01-01T00:00:00+00:00")
    after = platform.ask(platform.instruction(start, run="cd" * 16))
    decide(home.path / home.policy.consent.file, [sha256], "ai_training", "in", "2026-01-02T00:00:00+00:00")
    with_it = platform.ask(platform.instruction(start, run="ef" * 16))
    card = [reply.content["card"]["card"].numpy() for reply in (before, after, with_it)]
    np.testing.assert_array_equal(card[0], card[1])
    assert not np.array_equal(card[0], card[2])


@pytest.mark.parametrize(
    "settings",
    [
        ("gallery.min_pictures=13",),
        ("gallery.test_fraction=0.9999999",),
        ("gallery.on_bad=refuse",),
        ("gallery.split_column=another",),
    ],
)
def test_a_decline_tells_no_run_how_many_works_an_artist_has_or_which(homes, start, settings):
    """Twelve works: at 13 the run was declined, and not at 12; so was one that held out all but a hash."""
    home = homes[ARTISTS[0]]
    folder = home.path / home.policy.portfolio.path / home.name
    (folder / "broken.png").write_bytes(b"")
    platform = Platform(homes, *settings)
    assert not platform.ask(platform.instruction(start)).has_error()


def test_the_length_of_a_ledger_does_not_tell_when_a_portfolio_changes(homes, start):
    """Its number of lines is signed for the platform: a line for each change named what had changed."""
    home, platform = homes[ARTISTS[0]], Platform(homes)
    folder = home.path / home.policy.portfolio.path / home.name

    def told(run):
        reply = platform.ask(platform.instruction(start, run=run))
        return heads.SignedHead.from_bytes(heads.taken(reply.content), home.identity.public).head.lines

    first, second = told(RUN), told("cd" * 16)
    (folder / "000.png").unlink()
    third = told("ef" * 16)
    assert second - first == third - second


def test_what_an_artist_decides_and_tightens_in_a_run_counts_from_the_next_message_on(homes, start):
    """A node that runs for weeks went on with the works and the policy that it began with."""
    home, platform = homes[ARTISTS[0]], Platform(homes)
    node = Node(home, platform.sent)
    announce = [platform.message(Place(RUN, 0, 0, i).to_record(), "query.announce") for i in (1, 2)]
    assert not node.answer(announce[0]).has_error()
    works = sorted((home.path / home.policy.portfolio.path / home.name).glob("*.png"))
    out = hashlib.sha256(works[0].read_bytes()).hexdigest()
    log = decide(
        home.path / home.policy.consent.file, [out], "ai_training", "out", "2026-01-01T00:00:00+00:00"
    )
    assert not node.answer(platform.instruction(start)).has_error()
    assert Ledger(home.path / "ledger.jsonl").works.consent_hash == log.heads[-1]
    (home.path / "policy.toml").write_text(home.policy.changed({"privacy.max_rounds": 1}).to_toml())
    assert code(node.answer(announce[1])) == Decline.POLICY


def test_a_second_bundle_under_a_runs_identity_is_held_to_the_policy_too(homes, start):
    platform, other = Platform(homes), Platform(homes, "privacy.clip_norm=50")
    node = Node(homes[ARTISTS[0]], lambda run_id: (platform if run_id == 1 else other).sent(run_id))
    assert not node.answer(platform.instruction(start)).has_error()
    message = other.instruction(start)
    message.metadata.__dict__["_run_id"] = 2
    assert code(node.answer(message)) == Decline.POLICY


@pytest.mark.long
def test_a_node_holds_one_run_at_a_time(homes):
    """Each run left its settings, roster and all pictures in memory for good."""
    platform = Platform(homes)
    node = Node(homes[ARTISTS[0]], platform.sent)
    held = []
    for i in range(3):
        run = f"{i:032x}"
        message = platform.message(Place(run, 0, 0, 1).to_record(), "query.announce", run=run)
        message.metadata.__dict__["_run_id"] = i
        assert not node.answer(message).has_error()
        gc.collect()
        held.append(sum(type(one) in (Studio, Task) for one in gc.get_objects()))
    assert held[1:] == [held[1]] * 2


@pytest.mark.parametrize(("given", "place"), [("opener", "platform"), ("platform", "opener")])
def test_a_card_counts_for_its_own_part_alone(homes, given, place):
    """Whoever can write one file made the opener the platform, by a copy of its card."""
    known = homes[ARTISTS[0]].path / "known"
    shutil.copy(known / f"{given}.json", known / f"{place}.json")
    with pytest.raises(PrivacyError, match="put in another one's place"):
        homes[ARTISTS[0]].known.require(place)


def test_an_artists_card_counts_for_its_own_name_alone(homes):
    folder = homes["opener"].path / "known" / "artists"
    shutil.copy(folder / f"{ARTISTS[1]}.json", folder / f"{ARTISTS[0]}.json")
    with pytest.raises(PrivacyError, match="put in another one's place"):
        homes["opener"].known.card("artist", ARTISTS[0])
    with pytest.raises(PrivacyError, match="put in another one's place"):
        homes["opener"].known.artists()


@pytest.mark.parametrize("name", ["a\u0308nn", "all", "ann\u202e", "ann\nbo", " "])
def test_a_card_with_a_name_that_could_be_taken_for_another_is_none(tmp_path, name):
    identity = Identity.load(tmp_path / "identity.key")
    Card("artist", name, identity.public, "key").signed(identity).save(tmp_path / "card.json")
    with pytest.raises(PrivacyError, match="is no card"):
        Card.load(tmp_path / "card.json")


def test_a_key_that_lies_beside_a_card_is_not_used(homes, start):
    """The opener took an artist's key from a file beside the card that was checked."""
    opener, platform = homes["opener"], Platform(homes)
    stranger = homes["platform"].identity.public
    for name in ARTISTS:
        (opener.path / "known" / "artists" / f"{name}.pub").write_text(stranger)
    (homes["platform"].path / "known" / "opener.pub").write_text(stranger)
    config, artists = platform.config, len(ARTISTS)
    layouts = Layouts(config, plan_of(config, artists), StyleSystem(config).forms(start), artists)
    asked = manifest_request(Place(RUN, 0, 0, 1), ARTISTS, layouts.summed(0).terms, "0" * 64)
    assert not platform.ask(platform.message(asked, "query.manifest"), "opener").has_error()
    enrolled = json.loads((opener.path / "roster.json").read_text())
    assert enrolled == {name: homes[name].identity.public for name in ARTISTS}
    assert homes["platform"].known.key_file("opener").read_text() == opener.identity.public
