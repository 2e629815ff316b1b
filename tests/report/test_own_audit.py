"""An audit of somebody's own model becomes a page like a run's, and a policy can judge it."""

import json
import re

import numpy as np
import pytest

from attacks import Claim, audit_scores
from attacks.auditing import files
from attacks.auditing.audit import Audit
from attacks.auditing.findings import Check, Row
from fedstyle_secure.audit.own import read_own_audit
from fedstyle_secure.errors import AuditError, ConfigError
from fedstyle_secure.files import file_sha256
from fedstyle_secure.policy.own import all_checks
from fedstyle_secure.report.formats import report
from fedstyle_secure.report.page.selfhash import verify_page

from .test_html import NUMBER, Page, check_outline, resolve

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "entry_points", lambda group: ())
    member = np.arange(800) < 400
    scores = {"member": member, "strong <x>": RNG.normal(1.5 * member), "weak": RNG.normal(size=800)}
    found = audit_scores(scores, rates=(0.1, 0.001))
    checks = (Check("sampling", True, "as assumed"), Check("rows", False, "wrong in conv.weight (0.9)"))
    Audit("model", found.rows, checks, Claim(8.0, 1e-5), found.about, found.curves).report(tmp_path / "own")
    return tmp_path / "own"


def test_every_number_of_the_page_is_cited_and_is_what_the_files_hold(folder):
    report(folder, ("html", "json", "pdf", "csv"), date="2026-11-21")
    text = (folder / "report" / "report.html").read_text()
    verify_page(folder / "report" / "report.html")
    page = Page(text)
    check_outline(page)
    cited = {
        "findings.json": [f.to_dict() for f in read_own_audit(folder).findings],
        "audit.json": json.loads((folder / "audit.json").read_text()),
        "report.json": json.loads((folder / "report" / "report.json").read_text()),
    }
    values = 0
    for attrs, texts in page.marked:
        value = resolve(cited, attrs["data-source"])[0]
        if isinstance(value, float):
            shown = float("".join(texts).replace(",", ""))
            assert shown == pytest.approx(value, abs=0.006, rel=1e-3)
            values += 1
    assert values > 20
    loose = [
        data
        for data, marks in page.texts
        if re.search(NUMBER, data)
        and not any(
            "data-source" in attrs or tag in ("style", "title", "time", "code", "footer")
            for tag, attrs in marks
        )
        and not any("class" in attrs for _, attrs in marks)
    ]
    assert [one for one in loose if "SHA-256" not in one] == []
    assert "strong &lt;x&gt;" in text
    assert "Does not hold:" in text


def policy(tmp_path, text):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return path


def failed(folder, path):
    return {(one.key, one.subject): one.problem for one in all_checks(folder, path) if one.problem}


def test_a_policy_judges_figures_checks_and_the_claim(folder, tmp_path):
    asked = policy(
        tmp_path,
        '[attacks]\nforbidden_verdicts = ["leaks"]\nallow_inconclusive = true\n'
        "max_tpr = { fpr = 0.1, value = 0.9 }\nrequired = ['weak', 'LiRA']\n[epsilon]\nartwork = 4.0\n",
    )
    found = failed(folder, asked)
    assert found["attacks", "rows"] == "wrong in conv.weight (0.9)"
    assert found["epsilon.artwork", "claim"] == "8.00 is claimed, above 4"
    assert "the audit knows no such attack" in found["attacks.required", "LiRA"]
    leaking = [subject for key, subject in found if key == "attacks.forbidden_verdicts"]
    assert leaking
    assert all(one.startswith("holder, strong <x>") for one in leaking)
    assert not [subject for key, subject in found if key == "attacks.max_tpr"]
    met = policy(tmp_path, "[epsilon]\nartwork = 8.0\n")
    assert {key for key, _ in failed(folder, met)} == {"attacks"}, "what does not hold fails any policy"


def _rewritten(folder, tmp_path, about=None, rows=None):
    """A copy with other contents, whose hashes fit."""
    copy = tmp_path / "crafted"
    copy.mkdir(exist_ok=True)
    told = json.loads((folder / "audit.json").read_text())
    found = json.loads((folder / "findings.json").read_text())
    (copy / "findings.json").write_text(json.dumps((rows or list)(found)))
    for name in told["files"]:
        if name != "findings.json":
            (copy / name).write_bytes((folder / name).read_bytes())
    told["files"] = {name: file_sha256(copy / name) for name in told["files"]}
    (copy / "audit.json").write_text(json.dumps((about or dict)(told)))
    return copy


@pytest.mark.parametrize(
    ("about", "rows", "says"),
    [
        (lambda a: a | {"checks": [{"name": "rows", "holds": "false", "says": ""}]}, None, "checks.0.holds"),
        (lambda a: {k: v for k, v in a.items() if k != "claim"}, None, "claim: Field required"),
        (lambda a: a | {"claim": a["claim"] | {"epsilon": "8"}}, None, "claim.epsilon"),
        (lambda a: a | {"claim": a["claim"] | {"epsilon": -1.0}}, None, "claim.epsilon"),
        (lambda a: a | {"files": dict.fromkeys(a["files"], 1)}, None, "files."),
        (lambda a: a | {"about": []}, None, "about: "),
        (None, lambda r: [r[0] | {"value": "0.5"}, *r[1:]], "value"),
        (None, lambda r: [r[0] | {"verdict": "fine"}, *r[1:]], "verdict"),
        (None, lambda r: [r[0] | {"view": "x"}, *r[1:]], "lacks what it should hold"),
        (None, lambda r: ["x"], "lacks what it should hold"),
    ],
)
def test_a_crafted_folder_whose_hashes_fit_is_one_line(folder, tmp_path, about, rows, says):
    copy = _rewritten(folder, tmp_path, about, rows)
    with pytest.raises(AuditError, match=says) as caught:
        all_checks(copy, policy(tmp_path, "[epsilon]\nartwork = 8.0\n"))
    assert "\n" not in str(caught.value)


def test_an_interval_of_no_stated_confidence_meets_no_policy(folder, tmp_path):
    asked = policy(tmp_path, "[attacks]\nmin_confidence = 0.9\n")
    assert not [key for key, _ in failed(folder, asked) if key == "attacks.min_confidence"]
    rows = (Row("mine", "membership AUC", "leaks", 0.9, 0.8, 0.95, n=60),)
    Audit("scores", rows).report(tmp_path / "untold")
    assert failed(tmp_path / "untold", asked)["attacks.min_confidence", "audit"].endswith("of confidence 0")


def test_what_an_own_audit_cannot_show_fails(folder, tmp_path):
    asked = policy(
        tmp_path, "[evidence]\nown_ledgers = true\nsigned = true\n[consent]\nallow_withdrawn = false\n"
        "[epsilon]\nartist = 9\nlifetime_artwork = 9\ndelta = 1e-6\n",
    )  # fmt: skip
    keys = {key for key, _ in failed(folder, asked)}
    assert keys >= {"evidence.own_ledgers", "evidence.signed", "consent.allow_withdrawn", "epsilon.artist"}
    assert keys >= {"epsilon.lifetime_artwork", "epsilon.delta"}


def test_an_edited_folder_and_arguments_that_do_not_belong_are_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match="no opener and no studios"):
        all_checks(folder, policy(tmp_path, "[epsilon]\nartwork = 8.0\n"), opener="00")
    with pytest.raises(ConfigError, match="name none"):
        report(folder, opener="00")
    rows = (folder / "findings.json").read_text()
    (folder / "findings.json").write_text(rows.replace('"leaks"', '"not broken by this attack"'))
    with pytest.raises(AuditError, match=r"findings\.json: was changed after the audit was written"):
        report(folder)
    (folder / "findings.json").unlink()
    (folder / "findings.json").write_text(rows)
    about = json.loads((folder / "audit.json").read_text())
    (folder / "audit.json").write_text(json.dumps(about | {"format": 9}))
    with pytest.raises(AuditError, match="is no audit by `attacks` in format 1"):
        report(folder)
