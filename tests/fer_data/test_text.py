"""What leaves the program is one line of text without secrets, whatever users and files say."""

import io

import pytest
from rich.table import Table

from fer_data.errors import UserError
from fer_data.text import for_spreadsheet, one_line, plain, redacted
from jobs.console import PlainConsole

SECRET, KEY = "TOPsecret", "HIDDENkey"
AWKWARD = [
    template.format(secret)
    for template in (
        "s3://{}@bucket/data",
        "S3://{}@bucket/data?versionId=3",
        "http://{}@host.example/cat.jpg",
        "https://{}@host.example:8443/a/cat.jpg?size=3#top",
        "rtsp://{}@10.0.0.9:554/stream",
        "gs:/{}@bucket",
        "//{}@host/share",
        "{}@host.example/data",
    )
    for secret in (
        f"{KEY}:{SECRET}",
        f"{KEY}:a/{SECRET}",
        f"{KEY}:?{SECRET}/b",
        f"{KEY}:#{SECRET}?x=y",
        f"{KEY}:p@{SECRET}",
        f"{KEY}:%2F{SECRET}%40",
    )
]


@pytest.mark.parametrize("uri", AWKWARD)
def test_no_part_of_a_user_name_or_password_is_printed(uri):
    for text in (redacted(uri), plain(f"cannot read {uri}: try again"), str(UserError(f"--data '{uri}' is missing"))):
        assert SECRET not in text
        assert KEY not in text or "://" not in uri
    assert SECRET not in one_line(OSError(f"{'x' * 290} {uri}"))


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://key:secret@bucket/a?token=t", "s3://bucket/a"),
        ("http://user:pass word@host/a", "http://host/a"),
        ("http://host:8000/a@2x.png", "http://…@2x.png"),
        ("https://host/a.jpg?X-Amz-Signature=0123", "https://host/a.jpg"),
        ("s3://bucket/a#1.png", "s3://bucket/a#1.png"),
        ("/home/me@work/data: old/x?y", "/home/me@work/data: old/x?y"),
        ("file:///home/me@work", "file:///home/me@work"),
        ("a\n\x1b[31merror: forged", r"a\n\x1b[31merror: forged"),
    ],
)
def test_the_rest_of_a_uri_stays(uri, shown):
    assert redacted(uri) == shown


@pytest.mark.parametrize(
    "text",
    [
        "watch at http://127.0.0.1:8000/?token=abc",
        "MLflow https://host/#/experiments/1/runs/2f",
        "photo@train: is in colour (--resize admits it)",
        "/data/x.zip: 3 of 4 rows are unusable; the first, a@train/sad, is empty",
    ],
)
def test_a_message_without_secrets_stays(text):
    assert plain(text) == text
    assert plain(plain(text)) == text


def test_a_password_with_a_space_is_hidden_in_a_message():
    assert plain("unrecognized: http://user:pa ss@host/a, --x") == "unrecognized: http://host/a, --x"


def test_a_terminal_prints_text_as_text():
    console = PlainConsole(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    name = "[link=http://evil]x[/link] [/oops] :smile:\x1b]8;;\n error: forged"
    table = Table("name", title=name)
    table.add_row(name)
    console.out(name)
    console.print(table)
    printed = console.file.getvalue()
    assert printed.count(r"[link=http://evil]x[/link] [/oops] :smile:\x1b]8;;\n error: forged") == 3
    assert "\x1b]8" not in printed
    console.out("page a\nb", "tables c", sep="\n")
    assert console.file.getvalue().endswith("page a\\nb\ntables c\n")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-a", "@x", "\tx", "plain", "a=b"])
def test_a_cell_is_no_formula(text):
    assert for_spreadsheet(text) == (text if text[0].isalpha() else f"'{text}")
    assert for_spreadsheet(-1.5) == -1.5
