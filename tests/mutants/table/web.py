"""Nobody gets in unasked, nobody sees what is hidden, and what is done is written down."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["MUTANTS"]

MUTANTS = (
    Mutant(
        name="web-who-is-nobody-is-asked",
        promises=(17,),
        guard="whoever does not say who they are is refused, whatever they ask for",
        file="web/app.py",
        old="if who.role is Role.PUBLIC:",
        new="if False:",
        tests=("web/test_access.py",),
    ),
    Mutant(
        name="web-role-is-compared",
        promises=(17,),
        guard="a route is open to its role and those above it",
        file="web/app.py",
        old="if who.role < route.role:",
        new="if False:",
        tests=("web/test_access.py::test_every_route_is_open_to_its_role_and_to_none_below",),
    ),
    Mutant(
        name="web-proxy-is-not-this-machine",
        promises=(17,),
        guard="without credentials, a request that somebody has passed on is refused",
        file="web/gate.py",
        old="if near and named and not _passed_on(request):",
        new="if near and named:",
        tests=("web/test_access.py::test_without_credentials_nobody_else_does",),
    ),
    Mutant(
        name="web-link-of-the-start-is-needed",
        promises=(17,),
        guard="served by itself without credentials, only who has the link gets in",
        file="web/serving.py",
        old='if app.house.gate.is_closed else f"sign-in',
        new='if True else f"sign-in',
        tests=("web/test_serving.py",),
    ),
    Mutant(
        name="web-rebound-name-is-refused",
        promises=(17,),
        guard="without credentials, only names of this machine are answered to",
        file="web/app.py",
        old="self._hosts = None if house.gate.is_closed else LOCAL",
        new="self._hosts = None",
        tests=("web/test_access.py::test_without_credentials_nobody_else_does",),
    ),
    Mutant(
        name="web-address-that-others-reach",
        promises=(17,),
        guard="an address that others can reach is not served without credentials",
        file="web/serving.py",
        old="if is_loopback_name(host) or app.house.gate.is_closed:",
        new="if True:",
        tests=(
            "cli/test_web.py"
            "::test_an_address_that_others_reach_is_refused_without_credentials[192.0.2.7]",
        ),
        hangs=True,
    ),
    Mutant(
        name="web-origin-is-compared",
        promises=(17,),
        guard="a change that a page of another site asks for is refused",
        file="web/guard.py",
        old='if not _is_own(origin, headers.get("host", ""), scope.get("scheme", "http")):',
        new="if False:",
        tests=("web/test_guard.py::test_a_change_comes_from_a_page_of_ours_or_from_a_tool",),
    ),
    Mutant(
        name="web-form-of-another-site",
        promises=(17,),
        guard="a change without an origin is refused, if a form may have sent it",
        file="web/guard.py",
        old='if kind != "application/json":',
        new="if False:",
        tests=(
            "web/test_guard.py::test_without_credentials_no_form_of_another_site_changes_anything",
        ),
    ),
    Mutant(
        name="web-session-is-signed",
        promises=(17,),
        guard="a cookie that was not made here is nobody's",
        file="web/sessions.py",
        old="if not hmac.compare_digest(self._sign(body), signature):",
        new="if False:",
        tests=("web/test_signing.py::test_a_cookie_that_was_changed_is_nobodys",),
    ),
    Mutant(
        name="web-session-ends-with-its-credential",
        promises=(17,),
        guard="a credential that was changed or taken away ends its sessions",
        file="web/sessions.py",
        old="hmac.compare_digest(session.mark, self._mark(credential))",
        new="True",
        tests=("web/test_signing.py::test_a_cookie_ends_with_its_time_or_with_its_credential",),
    ),
    Mutant(
        name="web-wrong-credentials-are-counted",
        promises=(17,),
        guard="who is wrong too often waits",
        file="web/gate.py",
        old="self._failures.count(client_of(request), time.monotonic())",
        new="pass",
        tests=(
            "web/test_access.py"
            "::test_wrong_passwords_are_counted_and_right_ones_are_not_refused_for_them",
        ),
    ),
    Mutant(
        name="web-older-data-is-hidden-whole",
        promises=(17,),
        guard="where another version of a type keeps its secrets, nobody knows",
        file="web/redaction.py",
        old="masked(data, masks.data) if info.version == masks.version else HIDDEN",
        new="masked(data, masks.data)",
        tests=(
            "web/test_redaction.py::test_older_data_of_a_type_with_secrets_is_hidden_as_a_whole",
        ),
    ),
    Mutant(
        name="web-search-for-a-secret",
        promises=(17,),
        guard="a job that was found by what is hidden of it is not shown as found",
        file="web/looking.py",
        old="if text is None or not self._redaction.hides_some_of(shown.type):",
        new="if True:",
        tests=("web/test_redaction.py::test_who_looks_for_a_secret_is_not_told_of_finding_one",),
    ),
    Mutant(
        name="web-key-twice-in-json",
        promises=(17,),
        guard="JSON that says a thing twice is refused, as two readers would read it differently",
        file="web/reading.py",
        old="if name in found:",
        new="if False:",
        tests=("web/test_bad_input.py::test_a_body_that_makes_no_sense",),
    ),
    Mutant(
        name="web-body-is-bounded-as-it-comes",
        promises=(17,),
        guard="a body that does not say how long it is is not read to its end",
        file="web/bodies.py",
        old="if size > most:",
        new="if False:",
        tests=(
            "web/test_guard.py"
            "::test_a_body_that_does_not_say_how_long_it_is_is_not_read_to_its_end",
        ),
        limit=15.0,
        hangs=True,
    ),
    Mutant(
        name="once-asks-for-what-is-there",
        promises=(6,),
        guard="whoever asks again within a day is answered with the job that there is",
        file="once.py",
        old="found = await storage.outlook(ids, now)",
        new="found = await storage.outlook(ids[:1], now)",
        tests=(
            "contract/test_once.py::test_whoever_asks_again_gets_the_job_that_there_is[memory]",
        ),
    ),
    Mutant(
        name="once-compares-what-is-asked",
        promises=(6,),
        guard="a key that was used for another job is refused",
        file="once.py",
        old="info.type != record.type or info.data != msgspec.json.decode(record.data)",
        new="False",
        tests=(
            "contract/test_once.py::test_a_key_that_was_used_for_something_else_is_refused[memory]",
        ),
    ),
)
