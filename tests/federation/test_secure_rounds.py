"""Whole runs with the encrypted sum: what is on the wire, dropouts, forgeries, and what stays behind."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from flwr.app import ConfigRecord

import fedstyle_secure
from fedstyle_secure.audit.integrity import check_finished
from fedstyle_secure.engines import local
from fedstyle_secure.errors import ConfigError, FederationError
from fedstyle_secure.federation import artist as artist_module
from fedstyle_secure.federation import desk as desk_module
from fedstyle_secure.federation import summing
from fedstyle_secure.federation.sums import epoch_of, sums_something
from fedstyle_secure.secure_sum.codes import Code, Refusal
from fedstyle_secure.secure_sum.identity import Identity
from fedstyle_secure.secure_sum.messages import sign_upload
from fedstyle_secure.secure_sum.transcript import read
from fedstyle_secure.secure_sum.wire import Kind, decode, encode
from fedstyle_secure.system import State, plan_of
from fedstyle_secure.transcripts import check

EXACT = ["privacy.noise_multiplier=0", "styles.min_contributors=2"]


def prototypes(run):
    return State.load(run.folder.product_file).public["prototypes"]


def tap(monkeypatch, change=None):
    """Record every reply; `change` may alter one before it is delivered."""
    seen = []
    real = local.LocalGrid._handle

    def handle(self, message):
        reply = real(self, message)
        if change is not None:
            change(message, reply)
        seen.append((message.metadata.message_type, reply))
        return reply

    monkeypatch.setattr(local.LocalGrid, "_handle", handle)
    return seen


@pytest.mark.long
@pytest.mark.parametrize(
    ("extra", "rounding"),
    # An artist's vector is rounded to 1 / 1024 of its length, by OS entropy, in clear just as encrypted.
    [([], 1e-3), (["secure_sum.updates=true"], 1e-3), (["privacy.unit=artist"], 3e-2)],
)
def test_encryption_changes_nothing_but_rounding(tiny, tmp_path, extra, rounding):
    config = tiny.override([*EXACT, *extra, "prototypes.releases=2"])
    clear = fedstyle_secure.train(config.override(["secure_sum.enabled=false"]), tmp_path / "clear")
    sealed = fedstyle_secure.train(config, tmp_path / "sealed")
    assert np.abs(prototypes(clear) - prototypes(sealed)).max() < rounding
    ours, theirs = (State.load(run.folder.product_file).trained for run in (clear, sealed))
    assert max(np.abs(ours[k] - theirs[k]).max() for k in ours) < rounding
    for key in ("artist_top1", "artist_map", "style_top1"):
        assert sealed.summary["utility"][key] == clear.summary["utility"][key]
    assert sealed.summary["secure_sum"]["exact"] is True
    assert clear.summary["secure_sum"]["openings"] == 0
    # Something was learned from the sums, or this would compare nothing with nothing.
    assert sealed.summary["secure_sum"]["openings"] >= 2


def test_nothing_that_is_summed_is_on_the_wire_in_clear(tiny, tmp_path, monkeypatch):
    seen = tap(monkeypatch)
    fedstyle_secure.train(tiny.override(["styles.count=3"]), tmp_path / "run")
    replies = [reply for kind, reply in seen if kind == "train"]
    assert all("prototypes" not in reply.content for reply in replies)
    uploads = [reply.content["upload"] for reply in replies if "upload" in reply.content]
    assert len(uploads) == 4
    # One size whatever styles an artist has, and as many messages: presence does not show.
    assert {len(upload["body"]) for upload in uploads} == {61456}
    assert len({upload["body"] for upload in uploads}) == 4
    kinds = [kind for kind, _ in seen]
    assert kinds.count("query.announce") == 4
    assert kinds.count("query.open") == kinds.count("query.manifest") == 1


@pytest.mark.long
def test_an_upload_that_was_changed_on_its_way_costs_its_artist_the_round_and_nobody_else(
    tiny, tmp_path, monkeypatch
):
    config = tiny.override([*EXACT, "run.min_artists=2"])

    def change(message, reply):
        if reply.has_content() and "upload" in reply.content:
            artist = reply.content["reply"]["artist"]
            upload = reply.content["upload"]
            if artist == "impasto-1":
                body = bytearray(upload["body"])
                body[1000] ^= 1
                fields = {
                    "manifest": upload["manifest"],
                    "signature": upload["signature"],
                    "body": bytes(body),
                }
                reply.content["upload"] = ConfigRecord(fields)

    tap(monkeypatch, change)
    run = fedstyle_secure.train(config, tmp_path / "run")
    line = run.folder.metrics()[0]
    assert line["declined"] == [
        "artist 'impasto-1': the upload's signature does not verify under the roster's key"
    ]
    assert line["sum"]["artists"] == 3
    assert line["sum"]["attempts"] == 2
    monkeypatch.undo()

    # The same as if that artist had not been there.
    def silent(message, reply):
        if (
            reply.has_content()
            and "upload" in reply.content
            and reply.content["reply"]["artist"] == "impasto-1"
        ):
            del reply.content["upload"]

    tap(monkeypatch, silent)
    clear = fedstyle_secure.train(config, tmp_path / "without")
    assert clear.folder.metrics()[0]["sum"]["artists"] == 3
    assert np.array_equal(prototypes(run), prototypes(clear))


@pytest.mark.long
def test_too_few_left_for_a_sum_and_the_round_goes_on_without_it(tiny, tmp_path, monkeypatch):
    def drop(message, reply):
        sealed = reply.has_content() and "upload" in reply.content
        if sealed and reply.content["reply"]["artist"] != "impasto-1":
            del reply.content["upload"]

    tap(monkeypatch, drop)
    run = fedstyle_secure.train(tiny, tmp_path / "run")
    line = run.folder.metrics()[0]
    assert line["sum"]["artists"] == 0
    assert "1 artists are ready for the sum, it needs 3" in line["sum"]["why"]
    assert "prototypes" not in line["releases"]
    assert run.summary["secure_sum"]["exact"] is None


@pytest.mark.long
@pytest.mark.parametrize(
    "weaker",
    [
        lambda terms: dataclasses.replace(terms, k_min=2),
        lambda terms: dataclasses.replace(terms, groups=dataclasses.replace(terms.groups, threshold=1)),
        lambda terms: dataclasses.replace(terms, n_max=5),
    ],
)
def test_the_opener_and_every_artist_refuse_weaker_terms_than_their_settings(
    tiny, tmp_path, monkeypatch, weaker
):
    tiny = tiny.override(["privacy.noise=own"])
    real = summing.manifest_request

    def asked(place, cohort, terms, context):
        return real(place, cohort, weaker(terms), context)

    monkeypatch.setattr(summing, "manifest_request", asked)
    run = fedstyle_secure.train(tiny, tmp_path / "opener")
    assert "the opener refuses: code 205" in run.folder.metrics()[0]["sum"]["why"]
    # An opener that goes along: the artists still send nothing.
    monkeypatch.setattr(desk_module.Desk, "_check", lambda self, terms: None)
    seen = tap(monkeypatch)
    with pytest.raises(FederationError, match=f"code {Code.TERMS.value}"):
        fedstyle_secure.train(tiny, tmp_path / "artists")
    assert not any(reply.has_content() and "upload" in reply.content for _, reply in seen)


@pytest.mark.long
def test_an_offer_of_another_opener_is_refused_before_a_byte_leaves(tiny, tmp_path, monkeypatch):
    """The platform puts up an opener of its own, which signs everything with a key that nobody pinned."""
    real = artist_module.Studio.seal

    def seal(self, sealed, state, offer):
        forged = dataclasses.replace(offer.signed, signature=bytes(64))
        return real(self, sealed, state, dataclasses.replace(offer, signed=forged))

    monkeypatch.setattr(artist_module.Studio, "seal", seal)
    seen = tap(monkeypatch)
    with pytest.raises(FederationError, match=f"code {Code.OPENER_SIGNATURE.value}"):
        fedstyle_secure.train(tiny, tmp_path / "run")
    assert not any(reply.has_content() and "upload" in reply.content for _, reply in seen)


@pytest.mark.long
def test_an_exchanged_encryption_key_is_refused_before_a_byte_leaves(tiny, tmp_path, monkeypatch):
    from fedstyle_secure.secure_sum.profiles import Q60
    from fedstyle_secure.secure_sum.scheme import make_keys

    foreign = make_keys(Q60)[0].to_bytes()
    real = artist_module.Studio.seal
    refused = []

    def seal(self, sealed, state, offer):
        try:
            return real(self, sealed, state, dataclasses.replace(offer, public=foreign))
        except Refusal as refusal:
            refused.append(refusal.code)
            raise

    monkeypatch.setattr(artist_module.Studio, "seal", seal)
    with pytest.raises(FederationError, match="code 203"):
        fedstyle_secure.train(tiny, tmp_path / "run")
    assert set(refused) == {Code.PUBLIC_KEY}


@pytest.mark.long
def test_no_secret_is_left_where_the_platform_can_read(tiny, tmp_path, monkeypatch):
    """Seeds and secret keys of this run are in no file of the run's folder and in no message."""
    from fedstyle_secure.secure_sum import opener as opener_module

    secrets = []
    real = opener_module.make_keys

    def make(profile):
        public, secret = real(profile)
        secrets.append(secret.to_bytes())
        return public, secret

    monkeypatch.setattr(opener_module, "make_keys", make)
    seen = tap(monkeypatch)
    run = fedstyle_secure.train(tiny, tmp_path / "run")
    studios = tmp_path / "studios"
    for name in ("identity.key", "mask.key"):
        secrets += [path.read_bytes().strip() for path in studios.rglob(name)]
    secrets += [(studios / ".opener" / "passphrase").read_bytes()]
    assert len(secrets) >= 1 + 4 + 1
    places = [path.read_bytes() for path in run.folder.path.rglob("*") if path.is_file()]
    for _, reply in seen:
        if reply.has_content():
            for record in reply.content.config_records.values():
                places += [v if isinstance(v, bytes) else str(v).encode() for v in record.values()]
    for secret in secrets:
        for form in (secret, secret[:64]):
            assert not any(form in place for place in places)
        try:
            raw = bytes.fromhex(secret.decode())
        except (ValueError, UnicodeDecodeError):
            continue
        assert not any(raw in place for place in places)
    # A key is gone once its sum was opened.
    assert not list(studios.rglob("secret.key"))


@pytest.mark.long
def test_verify_finds_a_changed_and_a_missing_line(tiny, tmp_path):
    run = fedstyle_secure.train(tiny.override(["prototypes.releases=2"]), tmp_path / "run")
    assert check(run.folder).problems == []
    assert len(check(run.folder).manifests) == 2
    whole = run.folder.transcript_file.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 4] ^= 1
    run.folder.transcript_file.write_bytes(changed)
    assert any("line 1" in problem for problem in check(run.folder).problems)
    first, _, closing = whole.splitlines(keepends=True)
    run.folder.transcript_file.write_bytes(first)
    assert check(run.folder).problems == [
        "round 3 summed 4 artists, and transcript.jsonl says nothing of it",
        "the run is finished, and the opener did not close it",
    ]
    run.folder.transcript_file.write_bytes(first + closing)
    assert check(run.folder).problems == ["line 2: does not follow the line before it"]
    run.folder.transcript_file.unlink()
    assert check(run.folder).problems == ["transcript.jsonl is missing, and rounds [0, 3] were summed"]
    run.folder.transcript_file.write_bytes(whole)
    assert check(run.folder, "0" * 64).problems != []


KILLER = """
    import os, signal, sys
    from pathlib import Path
    import fedstyle_secure
    from fedstyle_secure.federation import platform

    config, out, moment = fedstyle_secure.Config.load(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
    real = platform.save_opened

    def save(run, number, opened):
        if moment == "after":
            real(run, number, opened)
        os.kill(os.getpid(), signal.SIGKILL)

    platform.save_opened = save
    fedstyle_secure.train(config, out)
"""


@pytest.mark.long
@pytest.mark.parametrize("unit", ["artwork", "artist"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_around_an_opening_the_run_goes_on_and_opens_nothing_twice(tiny, tmp_path, moment, unit):
    config = tiny.override([*EXACT, "prototypes.releases=2", f"privacy.unit={unit}"])
    file = tmp_path / "run.toml"
    file.write_text(config.to_toml())
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLER), str(file), str(tmp_path / "run"), moment],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    run = fedstyle_secure.train(config, tmp_path / "run", resume=True)
    whole = fedstyle_secure.train(config, tmp_path / "whole")
    first = run.folder.metrics()[0]
    if moment == "after":
        # An artist's vector is rounded by OS entropy to 1 / 1024 of its length.
        assert np.abs(prototypes(run) - prototypes(whole)).max() < (1e-6 if unit == "artwork" else 3e-2)
    else:
        assert "the opener refuses: code 23" in first["sum"]["why"]
    manifests = [manifest.round for manifest in read(run.folder.transcript_file).manifests]
    assert len(manifests) == len(set(manifests))
    # A sum that was opened and lost is in the transcript, and in nothing else.
    assert check_finished(run.folder).opener is not None


def test_fewer_artists_than_a_sum_needs_are_told_before_anything_is_released(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"styles\.min_contributors = 3, but the gallery has 2 artists"):
        fedstyle_secure.train(tiny.override(["gallery.artists=2"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_contributors_below_the_threshold_keep_a_style_where_it_was(tiny, tmp_path):
    config = tiny.override(["privacy.noise_multiplier=0", "styles.min_contributors=4"])
    before = fedstyle_secure.train(config.override(["prototypes.releases=0"]), tmp_path / "none")
    after = fedstyle_secure.train(config, tmp_path / "run")
    kept = json.loads(after.folder.transcript_file.read_text().splitlines()[0])["entry"]["kept"]
    moved = np.abs(prototypes(before) - prototypes(after)).max(axis=1) > 1e-6
    assert moved.tolist() == [bool(k) for k in kept]


def test_epochs_change_with_what_is_summed(tiny):
    config = tiny.override(["secure_sum.updates=true", "prototypes.releases=2"])
    plan = plan_of(config, 4)
    assert [epoch_of(config, plan, n) for n in range(plan.rounds)] == [0, 1, 1, 2]
    assert all(sums_something(config, plan, n) for n in range(plan.rounds))
    off = config.override(["secure_sum.enabled=false"])
    assert not any(sums_something(off, plan, n) for n in range(plan.rounds))


def platform_asks(monkeypatch, change):
    """A platform that changes what it asks for a sum."""
    real = summing.Counter.attempt

    def attempt(self, wanted, epoch, number, context, nodes):
        return real(self, wanted, *change(epoch, number, context), nodes)

    monkeypatch.setattr(summing.Counter, "attempt", attempt)


@pytest.mark.long
@pytest.mark.parametrize("desk_goes_along", [False, True])
def test_no_epoch_but_the_plans_is_opened_or_answered(tiny, tmp_path, monkeypatch, desk_goes_along):
    """Another epoch of the same round would be a second opening, and a difference of one artist."""
    platform_asks(monkeypatch, lambda epoch, number, context: (7777, number, context))
    if desk_goes_along:
        monkeypatch.setattr(desk_module, "epoch_of", lambda config, plan, number: 7777)
    seen = tap(monkeypatch)
    if desk_goes_along:
        with pytest.raises(FederationError, match="code 101"):
            fedstyle_secure.train(tiny, tmp_path / "run")
    else:
        run = fedstyle_secure.train(tiny, tmp_path / "run")
        assert f"the opener refuses: code {Code.EPOCH.value}" in run.folder.metrics()[0]["sum"]["why"]
    assert not any(reply.has_content() and "upload" in reply.content for _, reply in seen)


@pytest.mark.long
def test_a_round_without_a_sum_in_the_plan_is_not_signed_for(tiny, tmp_path, monkeypatch):
    platform_asks(monkeypatch, lambda epoch, number, context: (epoch, number + 1, context))
    run = fedstyle_secure.train(tiny, tmp_path / "run")
    assert f"code {Code.EPOCH.value}" in run.folder.metrics()[0]["sum"]["why"]


@pytest.mark.long
def test_all_of_a_sum_are_asked_the_same(tiny, tmp_path, monkeypatch):
    """Sent another instruction than the manifest names, an artist seals nothing: else a platform could ask
    all but one for nothing, and read that one out of the sum."""
    real = local.LocalGrid._handle

    def handle(self, message):
        if message.metadata.message_type == "train" and message.metadata.dst_node_id % 2:
            name, array = next(iter(message.content["trained"].items()))
            from flwr.app import Array

            message.content["trained"][name] = Array(array.numpy() * 0)
        return real(self, message)

    monkeypatch.setattr(local.LocalGrid, "_handle", handle)
    run = fedstyle_secure.train(tiny.override(["run.min_artists=1"]), tmp_path / "run")
    line = run.folder.metrics()[0]
    assert line["declined"].count("code 101: the instruction is malformed") == 2
    assert line["sum"]["artists"] == 0


@pytest.mark.long
@pytest.mark.parametrize("lie", ["garbage", "another name", "a stranger"])
def test_a_false_announcement_leaves_its_sender_out_and_nobody_else(tiny, tmp_path, monkeypatch, lie):
    def change(message, reply):
        if message.metadata.message_type != "query.announce" or not reply.has_content():
            return
        values = reply.content["announcement"]
        if values["artist"] == "impasto-1":
            name = {"garbage": "impasto-1", "another name": "mosaic-1", "a stranger": "nobody"}[lie]
            data = bytes(96) if lie == "garbage" else values["data"]
            reply.content["announcement"] = ConfigRecord({"artist": name, "data": data})

    tap(monkeypatch, change)
    config = tiny.override(["styles.min_contributors=2", "gallery.artists=5", "privacy.min_cohort=3"])
    run = fedstyle_secure.train(config, tmp_path / "run")
    # Who is spoken for by two nodes cannot be told from the liar, and is left out as well.
    assert run.folder.metrics()[0]["sum"]["artists"] == (3 if lie == "another name" else 4)


@pytest.mark.long
def test_keys_are_erased_also_where_the_last_sum_was_never_opened(tiny, tmp_path, monkeypatch):
    waiting = []

    def drop(message, reply):
        if reply.has_content() and "upload" in reply.content:
            waiting.extend((tmp_path / "studios").rglob("secret.key"))
            del reply.content["upload"]

    tap(monkeypatch, drop)
    run = fedstyle_secure.train(tiny, tmp_path / "run")
    assert run.folder.metrics()[0]["sum"]["artists"] == 0
    assert waiting
    assert not list((tmp_path / "studios").rglob("*.key.*"))
    assert not [path for name in ("secret.key", "public.key") for path in (tmp_path / "studios").rglob(name)]


@pytest.mark.long
@pytest.mark.parametrize("unit", ["artwork", "artist"])
def test_an_artist_who_touches_its_upload_costs_the_round_its_sum_and_the_run_goes_on(
    tiny, tmp_path, monkeypatch, unit
):
    """It adds the key to its own ciphertext and signs that, twice in a run of three sums."""
    real = artist_module.Studio.seal

    def seal(self, sealed, state, offer):
        upload = real(self, sealed, state, offer)
        if self.artist != "impasto-1" or state.round == sums[1]:
            return upload
        layout = self.layouts(state).summed(state.round).terms.layout
        residues = decode(Kind.BODY, layout.profile, upload.body, layout.blocks)
        shift = round(layout.profile.modulus / layout.profile.plain_modulus)
        for prime, section in zip(layout.profile.data_primes, residues, strict=True):
            section[0, 1, 0] = (int(section[0, 1, 0]) + shift) % prime
        body = encode(Kind.BODY, layout.profile, residues)
        return sign_upload(
            Identity.load(self._home / "sum" / "identity.key"), self.artist, upload.manifest, body
        )

    monkeypatch.setattr(artist_module.Studio, "seal", seal)
    config = tiny.override([*EXACT, "prototypes.releases=3", "run.rounds=3", f"privacy.unit={unit}"])
    plan = plan_of(config, config.gallery.artists)
    sums = [number for number in range(plan.rounds) if sums_something(config, plan, number)]
    run = fedstyle_secure.train(config, tmp_path / "run")
    lines = run.folder.metrics()
    assert len(lines) == plan.rounds
    for number in sums:
        found = lines[number]["sum"]
        if number == sums[1]:
            assert found["artists"] == config.gallery.artists
        else:
            assert found == {
                "artists": 0,
                "why": f"round {number}: the opener refuses: code {Code.RANGE.value}: {Code.RANGE.phrase}",
            }
    checked = check(run.folder)
    assert checked.problems == []
    assert [manifest.round for manifest in checked.manifests] == [sums[1]]
    assert not list((tmp_path / "studios").rglob("secret.key"))
