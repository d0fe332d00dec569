"""An expression in plain English."""

from __future__ import annotations

import pytest

from backroom.cron import Cron


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 9 * * MON-FRI", "at 09:00, Monday to Friday"),
        ("30 2 * * *", "at 02:30, every day"),
        ("0,30 9,17 * * *", "at 09:00, 09:30, 17:00 and 17:30, every day"),
        ("15 30 9 * * *", "at 09:30:15, every day"),
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("1-59/5 * * * *", "every 5 minutes from 00:01 to 23:56"),
        ("*/7 * * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"),
        ("5-20,40 * * * *", "at minutes 5 to 20 and 40 of every hour"),
        ("0 * * * *", "every hour"),
        ("15 * * * *", "every hour at minute 15"),
        ("0 */2 * * *", "every 2 hours"),
        ("15 */2 * * *", "every 2 hours at minute 15"),
        ("5,20 */2 * * *", "at minutes 5 and 20, in every 2nd hour"),
        ("0 9-17 * * *", "every hour from 09:00 to 17:00"),
        ("*/15 9-17 * * MON-FRI", "every 15 minutes from 09:00 to 17:45, Monday to Friday"),
        ("10-40/5 9 * * *", "every 5 minutes from 09:10 to 09:40"),
        ("* 2 * * *", "every minute from 02:00 to 02:59"),
        ("*/7 9-17 * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56, in the hours 9 to 17"),
        ("5,6 1-3,9 * * *", "at minutes 5 and 6, in the hours 1 to 3 and 9"),
        ("* * * * * *", "every second"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("30 * * * * *", "at second 30 of every minute"),
        ("5,10 * * * * *", "at seconds 5 and 10 of every minute"),
        ("*/10 */5 * * * *", "every 10 seconds of every 5th minute"),
        ("30 */5 9 * * *", "at second 30 of every 5th minute, in the hour 9"),
        ("*/20 3,4 */2 * * *", "every 20 seconds of minutes 3 and 4, in every 2nd hour"),
        ("0 0 1 * *", "at 00:00, on the 1st"),
        ("0 0 1,15,L * *", "at 00:00, on the 1st, the 15th and the last day of the month"),
        ("0 0 1-7,22,23 * *", "at 00:00, on the 1st to the 7th, the 22nd and the 23rd"),
        ("0 0 11,12,31 * *", "at 00:00, on the 11th, the 12th and the 31st"),
        ("0 0 L * *", "at 00:00, on the last day of the month"),
        ("0 0 */2 * *", "at 00:00, on every 2nd day of the month from the 1st"),
        ("0 0 2-31,L * *", "at 00:00, on the 2nd to the 31st and the last day of the month"),
        ("0 0 * * 0", "at 00:00, on Sunday"),
        ("0 0 * * MON,WED,FRI", "at 00:00, on Monday, Wednesday and Friday"),
        ("0 0 * * 5-7", "at 00:00, Friday to Sunday"),
        ("0 0 * * 0-2", "at 00:00, on Monday, Tuesday and Sunday"),
        ("0 0 * * MON#2", "at 00:00, on the second Monday of the month"),
        ("0 0 * * FRIL,TUE", "at 00:00, on Tuesday and the last Friday of the month"),
        ("0 0 13 * FRI", "at 00:00, on the 13th, and also on Friday"),
        ("0 0 13 * 1-5", "at 00:00, on the 13th, and also Monday to Friday"),
        ("0 0 1-7 * */7", "at 00:00, on the 1st to the 7th, if that is Sunday"),
        ("0 0 */2 * 1,2", "at 00:00, on every 2nd day of the month from the 1st, if that is Monday"
         " or Tuesday"),
        ("0 0 1-31 * FRI", "at 00:00, every day"),
        ("0 0 ? * FRI", "at 00:00, on Friday"),
        ("0 0 29 2 *", "at 00:00, on the 29th, in February"),
        ("0 0 1 1-3 *", "at 00:00, on the 1st, from January to March"),
        ("0 0 1 1-3,8 *", "at 00:00, on the 1st, in January to March and August"),
        ("*/5 * * 12 *", "every 5 minutes, in December"),
        ("@daily", "at 00:00, every day"),
        ("@weekly", "at 00:00, on Sunday"),
        ("@yearly", "at 00:00, on the 1st, in January"),
    ],
)  # fmt: skip
def test_what_an_expression_says(text: str, words: str) -> None:
    assert Cron(text).explain() == f"{words} (UTC)"


def test_the_zone_is_told() -> None:
    told = Cron("0 9 * * MON-FRI", tz="Europe/Paris").explain()
    assert told == "at 09:00, Monday to Friday (Europe/Paris)"
