"""Every class of error has a page with causes and remedies, which the message of the command line names."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import pytest

import saeviz
from saeviz.cli.explain import PAGES, page_of
from saeviz.values import errors, notes

KINDS = [
    kind
    for module in (errors, notes)
    for kind in vars(module).values()
    if inspect.isclass(kind) and issubclass(kind, saeviz.SaevizError) and kind is not saeviz.SaevizError
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_page(saeviz_command, kind):
    name = page_of(kind)
    text = saeviz_command("explain", name.lower()).out
    assert text.startswith(f"{name}: ")
    assert "remedy" in text or "Choose" in text or "decide" in text
    assert max(map(len, text.splitlines())) <= 100


def test_every_page_is_about_an_error_and_listed(saeviz_command):
    assert set(PAGES) <= {kind.__name__ for kind in KINDS}
    assert len(saeviz_command("explain").out.splitlines()) == len(PAGES)


def test_a_message_leads_to_its_page(saeviz_command):
    ended = saeviz_command("check", "absent.toml")
    assert ended.code == saeviz.ExitCode.USAGE
    assert "saeviz explain" not in ended.err, "the last line of a log is the message"
    leader, terminal = os.openpty()
    subprocess.run([sys.executable, "-m", "saeviz", "check", "absent.toml"], stderr=terminal, check=False)
    assert b"more about such errors: saeviz explain ConfigError" in os.read(leader, 65536)
    os.close(leader)
    os.close(terminal)
    assert "did you mean 'ConfigError'" in saeviz_command("explain", "ConfgError").err
