"""People and tokens: added, let in, given rights, shut out; and who did it stands in the log."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client
from knox.models import AuthToken
from playwright.sync_api import Page

from migration_console import people, tokens
from migration_console.lib.audit import AuditEntry, broken_lines, history
from migration_console.lib.errors import Refused
from tests.conftest import Client as Script
from tests.pages.conftest import SignIn

PASSWORD = "four words without sense"


def lines(subject: Any) -> list[tuple[str, str]]:
    return [(line.action, line.actor) for line in history(subject).order_by("id")]


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def ann(tables: None) -> User:
    return get_user_model().objects.create_superuser("ann", password="correct horse battery")


@pytest.fixture
def cleo(ann: User) -> User:
    return people.add_person("cleo", groups=["operator"], admin=False, by=ann)


def test_a_person_is_added_and_lets_himself_in_by_a_link_that_is_good_once(page: Page) -> None:
    page.goto("/admin/auth/user/")
    page.click("a[href='/admin/auth/user/add/']")
    page.fill("input[name=name]", "bob")
    page.click("text=Add and make a link")
    link = page.inner_text(".secret code")
    page.goto("/admin/auth/user/")
    assert "Invited" in page.inner_text("#result_list")
    page.context.clear_cookies()
    page.goto(link)
    for number in (1, 2):
        page.fill(f"input[name=new_password{number}]", PASSWORD)
    page.click("text=Set the password")
    page.fill("input[name=username]", "bob")
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_selector("text=Dashboard")
    assert "People" not in page.inner_text("nav >> nth=0")
    page.goto(link)
    page.wait_for_selector("text=This link is no longer good")
    bob = get_user_model().objects.get(username="bob")
    assert lines(bob) == [
        ("person.added", "ann"),
        ("person.link_made", "ann"),
        ("person.password_set", "bob"),
        ("person.signed_in", "bob"),
    ]


def test_a_person_is_shut_out_by_typing_the_name_and_signed_out_at_once(page: Page, sign_in: SignIn) -> None:
    theirs = sign_in("steward", name="bob")
    bob = get_user_model().objects.get(username="bob")
    page.goto(f"/admin/auth/user/{bob.pk}/change/")
    assert page.is_disabled("button.danger")
    page.fill("input[data-confirm-name]", "bob")
    page.click("button.danger")
    page.wait_for_selector("text=bob is let in no more")
    theirs.goto("/admin/")
    theirs.wait_for_selector("input[name=password]")
    page.click("button:has-text('Let in again')")
    page.wait_for_selector("text=bob is let in again")
    assert lines(bob)[-2:] == [("person.deactivated", "ann"), ("person.reactivated", "ann")]


def test_rights_are_given_and_taken(page: Page, sign_in: SignIn) -> None:
    sign_in("steward", name="bob")
    bob = get_user_model().objects.get(username="bob")
    page.goto(f"/admin/auth/user/{bob.pk}/change/")
    page.uncheck("input[value=steward]")
    page.check("input[value=auditor]")
    page.click("text=Save rights")
    page.wait_for_selector("text=bob has new rights")
    assert people.groups_of(User.objects.get(pk=bob.pk)) == ["auditor"]
    assert '"groups_before":["steward"]' in history(bob)[0].details


def test_operators_make_tokens_and_no_administrators(cleo: User) -> None:
    client = client_of(cleo)
    assert client.get("/admin/auth/user/add/").status_code == 403
    assert (
        client.post(f"/admin/auth/user/{cleo.pk}/change/", {"groups": ["operator"], "admin": "on"}).status_code == 403
    )
    for by in (cleo, AnonymousUser()):
        with pytest.raises(Refused, match="Only an administrator"):
            people.change_rights(cleo, groups=[], admin=True, by=by)
    assert not User.objects.get(pk=cleo.pk).is_superuser
    assert client.get("/admin/knox/authtoken/add/").status_code == 200


def test_nobody_hands_out_what_he_has_not(cleo: User, ann: User) -> None:
    cleo.user_permissions.clear()
    reader = people.add_person("dan", groups=["auditor"], admin=False, by=ann)
    assert people.groups_to_grant(reader) == ["auditor", "read"]
    with pytest.raises(Refused, match="no more than you may yourself"):
        tokens.make_token("script", groups=["ingest"], days=1, by=reader)
    assert not AuthToken.objects.exists()


def test_the_last_administrator_stays(ann: User) -> None:
    with pytest.raises(Refused, match="only administrator"):
        people.change_rights(ann, groups=["steward"], admin=False, by=ann)
    with pytest.raises(Refused, match="yourself"):
        people.deactivate(ann, by=ann)
    eve = people.add_person("eve", groups=[], admin=True, by=ann)
    people.deactivate(ann, by=eve)
    with pytest.raises(Refused, match="only administrator"):
        people.change_rights(eve, groups=["steward"], admin=False, by=eve)


def test_names_that_are_taken_or_odd_are_refused_beside_the_field(ann: User) -> None:
    for name in ("ann", "a b", "<b>", "x" * 151, ""):
        answer = client_of(ann).post("/admin/auth/user/add/", {"name": name, "groups": ["steward"]})
        assert (answer.status_code, b"errorlist" in answer.content) == (200, True)
    assert User.objects.count() == 1


def test_a_token_is_shown_once_lets_a_script_in_and_is_revoked(page: Page) -> None:
    page.goto("/admin/knox/authtoken/")
    page.click("a[href='/admin/knox/authtoken/add/']")
    page.fill("input[name=name]", "nightly")
    page.check("input[value=ingest]")
    page.click("text=Make the token")
    token = page.inner_text(".secret code >> nth=0")
    assert token in page.inner_text(".secret code >> nth=1")
    page.click("button[data-copy] >> nth=0")
    page.wait_for_selector("text=/Copied|Ctrl/")
    ask = Script()
    assert ask("GET", "/runs", authorization=f"Token {token}").status_code == 200
    page.goto("/admin/knox/authtoken/?q=nightly")
    row = page.inner_text("#result_list tbody")
    assert "ann" in row
    assert "Good" in row
    assert token not in page.content()
    page.click("#result_list tbody a >> nth=0")
    page.fill("input[data-confirm-name]", "nightly")
    page.click("text=Revoke this token")
    page.wait_for_selector("text=The token of nightly is revoked")
    assert ask("GET", "/runs", authorization=f"Token {token}").status_code == 401
    nightly = User.objects.get(username="nightly")
    assert lines(nightly) == [("token.made", "ann"), ("token.revoked", "ann")]
    assert not any(token in line.details for line in AuditEntry.objects.all())


def test_tokens_that_ended_or_end_soon_are_marked(cleo: User) -> None:
    for name, days in (("old", -1), ("soon", 5), ("fresh", 100)):
        made, _ = tokens.make_token(name, groups=["read"], days=1, by=cleo)
        AuthToken.objects.filter(pk=made.pk).update(expiry=made.expiry + timedelta(days=days - 1))
    shown = client_of(cleo).get("/admin/knox/authtoken/").content.decode()
    assert re.findall(r"</span>(Expired|Ends soon|Good)</span>", shown) == ["Good", "Ends soon", "Expired"]


def test_five_wrong_passwords_shut_one_name_out_from_one_address(ann: User) -> None:
    def sign_in(password: str, address: str) -> int:
        form = {"username": "ann", "password": password, "next": "/admin/"}
        return int(Client().post("/admin/login/", form, REMOTE_ADDR=address).status_code)

    assert [sign_in("wrong", "192.0.2.1") for _ in range(6)] == [200, 200, 200, 200, 429, 429]
    assert sign_in("correct horse battery", "192.0.2.1") == 429
    assert sign_in("correct horse battery", "192.0.2.2") == 302
    done = [action for action, _ in lines(ann)]
    assert done[-6:] == [*["person.sign_in_failed"] * 4, "person.locked_out", "person.signed_in"]
    assert Script("read")("GET", "/runs", REMOTE_ADDR="192.0.2.1").status_code == 200


def test_a_name_that_nobody_has_is_not_kept_since_it_may_be_a_password(ann: User) -> None:
    Client().post("/admin/login/", {"username": "hunter2hunter2", "password": "ann"})
    line = AuditEntry.objects.get(action="person.sign_in_failed")
    assert (line.subject, line.subject_id, line.actor) == ("a name that nobody has", "", "")


@pytest.mark.parametrize(
    ("proxies", "told", "found"),
    [
        (0, "203.0.113.9", "10.0.0.1"),
        (1, "spoofed, 203.0.113.9", "203.0.113.9"),
        (2, "spoofed, 203.0.113.9, 10.0.0.7", "203.0.113.9"),
        (2, "203.0.113.9", "203.0.113.9"),
        (1, "", "10.0.0.1"),
        (1, "no address", None),
    ],
)
def test_behind_proxies_people_are_told_apart(
    rf: Any, settings: Any, proxies: int, told: str, found: str | None
) -> None:
    from migration_console.signing import address_of

    settings.PROXIES = proxies
    assert address_of(rf.get("/", headers={"X-Forwarded-For": told}, REMOTE_ADDR="10.0.0.1")) == found


def test_the_log_is_filtered_read_and_verified(page: Page, sign_in: SignIn) -> None:
    bob = get_user_model().objects.get(username="ann")
    people.add_person("finn", groups=["steward"], admin=False, by=bob)
    page.goto("/admin/migration_console/auditentry/?action=person.added")
    assert page.locator("#result_list tbody tr").count() == 1
    page.click("#result_list tbody a >> nth=0")
    assert "steward" in page.inner_text("dl.details >> nth=0")
    page.goto("/admin/migration_console/auditentry/")
    page.click("text=Verify")
    page.wait_for_selector("text=Yes: all")
    AuditEntry.objects.filter(action="person.added").update(actor="somebody else")
    page.click("text=Verify again")
    page.wait_for_selector("text=was changed after it was written")
    assert len(list(broken_lines())) == 1


def test_every_name_leads_to_all_that_its_owner_did(cleo: User, ann: User) -> None:
    client, log = client_of(ann), "/admin/migration_console/auditentry/"
    AuditEntry.objects.update(actor="a+b&c=d@e")
    found = re.search(r'href="(\?actor=[^"]+)"', client.get(log).content.decode())
    assert found
    assert "a+b&amp;c=d@e</bdi>" in client.get(log + unescape(found[1])).content.decode()


def test_history_leads_to_the_one_log(cleo: User, ann: User) -> None:
    answer = client_of(ann).get(f"/admin/auth/user/{cleo.pk}/history/", follow=True)
    assert b"person.added" in answer.content
    assert answer.redirect_chain[0][0].startswith("/admin/migration_console/auditentry/?subject_type=user")
