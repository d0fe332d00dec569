"""The text of an expression: what is wrong, where it stands, and what may stand there."""

from __future__ import annotations

from typing import Any

import pytest

from backroom import ConfigurationError
from backroom.cron import Cron


@pytest.mark.parametrize(
    ("text", "field", "column", "why"),
    [
        # Values.
        ("60 * * * *", "minute", 1, "allowed is 0 to 59, got '60'"),
        ("60 * * * * *", "second", 1, "allowed is 0 to 59, got '60'"),
        ("0 24 * * *", "hour", 3, "allowed is 0 to 23, got '24'"),
        ("0 0 0 * *", "day of month", 5, "allowed is 1 to 31, got '0'"),
        ("0 0 32 * *", "day of month", 5, "allowed is 1 to 31, got '32'"),
        ("0 0 1 13 *", "month", 7, "allowed is 1 to 12 or JAN to DEC, got '13'"),
        ("0 0 1 0 *", "month", 7, "got '0'"),
        ("0 0 * * 8", "day of week", 9, "allowed is 0 to 7 or SUN to SAT, got '8'"),
        ("0 9 * * MOM", "day of week", 9, "got 'MOM'; did you mean 'MON'?"),
        ("0 9 * * MON,TUX", "day of week", 13, "got 'TUX'; did you mean 'TUE'?"),
        ("0 9 * * MON-FRY", "day of week", 13, "got 'FRY'; did you mean 'FRI'?"),
        ("0 9 * * monday", "day of week", 9, "got 'monday'; did you mean 'MON'?"),
        ("0 9 * SEPT *", "month", 7, "did you mean 'SEP'?"),
        ("0 MON * * *", "hour", 3, "allowed is 0 to 23, got 'MON'"),
        ("0   9 *  MAI *", "month", 10, "got 'MAI'; did you mean 'MAY'?"),
        ("-5 * * * *", "minute", 1, "got nothing"),
        ("5- * * * *", "minute", 3, "got nothing"),
        ("1,,2 * * * *", "minute", 3, "got nothing"),
        ("1, * * * *", "minute", 3, "got nothing"),
        ("1.5 * * * *", "minute", 1, "got '1.5'"),
        ("+5 * * * *", "minute", 1, "got '+5'"),
        ("٣ * * * *", "minute", 1, "got '٣'"),
        ("1_0 * * * *", "minute", 1, "got '1_0'"),
        ("*5 * * * *", "minute", 1, "got '*5'"),
        ("** * * * *", "minute", 1, "got '**'"),
        ("99999999999999999999 * * * *", "minute", 1, "got '99999999999999999999'"),
        ("0 H * * *", "hour", 3, "got 'H'"),
        # Ranges.
        ("30-10 * * * *", "minute", 1, "'30-10' runs backwards; write '30-59,0-10'"),
        ("0 22-2 * * *", "hour", 3, "write '22-23,0-2'"),
        ("0 9 * NOV-FEB *", "month", 7, "write 'NOV-12,1-FEB'"),
        ("0 9 * * FRI-MON", "day of week", 9, "write 'FRI-7,0-MON'"),
        ("1-5-7 * * * *", "minute", 3, "got '5-7'"),
        ("*-5 * * * *", "minute", 1, "got '*'"),
        ("0 5-99 * * *", "hour", 5, "allowed is 0 to 23, got '99'"),
        # Steps.
        ("*/0 * * * *", "minute", 3, "a step is a whole number from 1 to 60, got '0'"),
        ("*/90 * * * *", "minute", 3, "got '90'"),
        ("*/ * * * *", "minute", 3, "got ''"),
        ("*/x * * * *", "minute", 3, "got 'x'"),
        ("*/-5 * * * *", "minute", 3, "got '-5'"),
        ("0 8-18/25 * * *", "hour", 8, "from 1 to 24, got '25'"),
        ("1//2 * * * *", "minute", 3, "got '/2'"),
        ("0 0 */32 * *", "day of month", 7, "from 1 to 31"),
        ("0 0 1 */13 *", "month", 9, "from 1 to 12"),
        ("0 0 * * */8", "day of week", 11, "from 1 to 7"),
        # What is for some fields only.
        ("0 ? * * *", "hour", 3, "'?' is for days only; write '*'"),
        ("0 0 ?,5 * *", "day of month", 5, "got '?'"),
        ("0 0 * * L", "day of week", 9, "the last Friday of a month is '5L' or 'FRIL'"),
        ("0 L * * *", "hour", 3, "got 'L'"),
        ("0 0 L-3 * *", "day of month", 6, "stands alone, got 'L-3'"),
        ("0 0 LW * *", "day of month", 6, "stands alone, got 'LW'"),
        ("0 0 15W * *", "day of month", 5, "'W' is not supported"),
        ("0 0 1#2 * *", "day of month", 5, "got '1#2'"),
        ("0 0 * * MOL", "day of week", 9, "got 'MO'; did you mean 'MON'?"),
        ("0 0 * * 8L", "day of week", 9, "got '8'"),
        ("0 0 * * 1,MON#6", "day of week", 15, "got '6'; write 'MON#1' to 'MON#5', or 'MONL'"),
        ("0 0 * * MON#", "day of week", 13, "got ''"),
        ("0 0 * * #2", "day of week", 9, "got nothing"),
        ("0 0 * * MON-FRI#1", "day of week", 9, "got 'MON-FRI'"),
        ("0 0 * * MON#1/2", "day of week", 13, "got '1/2'"),
        # The number of fields.
        ("", "text", 1, "it is empty; a cron expression needs five fields"),
        (" \t ", "text", 1, "it is empty"),
        ("*", "hour", 2, "it is missing"),
        ("0 9 * *", "day of week", 8, "it is missing: a cron expression needs five fields"),
        ("0 0 9 * * MON 2030", "seventh field", 15, "there is one too many"),
        # Names.
        ("@dayly", "name", 1, "'@dayly' is unknown; did you mean '@daily'?"),
        ("@reboot", "name", 1, "a schedule outlives every start"),
        ("@every 5m", "name", 1, "use `every`, with a timedelta"),
        ("@", "name", 1, "allowed are @yearly, @annually, @monthly"),
        ("@daily 5", "name", 8, "nothing may follow @daily"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, field: str, column: int, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Cron(text)
    message = str(caught.value)
    assert message.startswith(f"cron {text!r}: {field}, column {column}: "), message
    assert why in message, message


@pytest.mark.parametrize("text", [None, 5, b"* * * * *", ["*"] * 5, ("*",)])
def test_what_is_no_text_is_refused(text: Any) -> None:
    with pytest.raises(ConfigurationError, match="a cron expression is text, got"):
        Cron(text)


def test_a_text_of_any_length_is_answered() -> None:
    Cron(",".join(map(str, range(60))) + " * * * *")
    with pytest.raises(ConfigurationError, match="at most 1000 characters, got 2007"):
        Cron("1," * 1000 + " * * * ")


@pytest.mark.parametrize(
    ("tz", "hint"),
    [
        ("Europe/Pariss", "there is no time zone 'Europe/Pariss'; did you mean 'Europe/Paris'?"),
        ("Paris", "did you mean 'Europe/Paris'?"),
        ("europe/pari", "did you mean 'Europe/Paris'?"),
        ("America/New York", "did you mean 'America/New_York'?"),
        ("New York", "did you mean 'America/New_York'?"),
        ("America", "there is no time zone 'America'"),
        ("", "there is no time zone ''"),
        ("../UTC", "there is no time zone '../UTC'"),
        ("/etc/localtime", "there is no time zone '/etc/localtime'"),
        ("UTC\0", "there is no time zone"),
        ("GMT+25", "IANA names are taken, such as 'Europe/Paris' or 'UTC'"),
        ("\ud800", "there is no time zone"),
    ],
)
def test_an_unknown_zone_is_told_with_one_that_looks_like_it(tz: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Cron("0 9 * * *", tz)
    assert hint in str(caught.value)


@pytest.mark.parametrize("tz", [None, 2, b"UTC"])
def test_a_zone_that_is_no_text_is_refused(tz: Any) -> None:
    with pytest.raises(ConfigurationError, match="a time zone is given by its IANA name"):
        Cron("0 9 * * *", tz)


def test_no_hint_leads_to_a_zone_whose_sign_is_the_other_way_round() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Cron("0 9 * * *", "GMT+2")
    assert "Etc/" not in str(caught.value)
