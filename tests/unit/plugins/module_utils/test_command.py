"""_command: bounded, explained, in a known locale."""

from __future__ import annotations

import sys
import time

import pytest

from ansible_collections.bare_metal.kubernetes.plugins.module_utils._command import CommandError, run, tail


def test_both_streams_and_the_exit_code_come_back() -> None:
    result = run(
        [sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"], check=False
    )
    assert (result.rc, result.stdout, result.stderr) == (3, "out\n", "err\n")


def test_the_locale_is_c_and_more_variables_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    code = "import os; print(os.environ['LC_ALL'], os.environ['LANG'], os.environ['EXTRA'])"
    assert run([sys.executable, "-c", code], env={"EXTRA": "1"}).stdout == "C C 1\n"


def test_input_goes_to_standard_input_and_is_not_in_the_error() -> None:
    with pytest.raises(CommandError) as caught:
        run([sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit('broken')"], input_text="CANARY")
    assert "broken" in str(caught.value)
    assert "CANARY" not in str(caught.value)


def test_without_input_a_reader_gets_an_end_of_file() -> None:
    assert run([sys.executable, "-c", "import sys; print(repr(sys.stdin.read()))"], timeout=20).stdout == "''\n"


def test_a_failure_carries_its_result() -> None:
    with pytest.raises(CommandError) as caught:
        run([sys.executable, "-c", "print('only here'); raise SystemExit(4)"])
    assert caught.value.result is not None
    assert caught.value.result.rc == 4
    assert "only here" in str(caught.value)
    assert not caught.value.missing


@pytest.mark.parametrize("name", ["no-such-program-anywhere", "/no/such/program"])
def test_a_program_that_is_not_there_is_told_from_one_that_fails(name: str) -> None:
    with pytest.raises(CommandError) as caught:
        run([name])
    assert caught.value.missing
    assert name in str(caught.value)


def test_a_program_that_cannot_be_started_is_an_error_of_the_same_type() -> None:
    with pytest.raises(CommandError, match="could not be started"):
        run(["/etc"])


def test_the_time_limit_also_ends_children_that_hold_the_pipes() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    started = time.monotonic()
    with pytest.raises(CommandError, match="did not end within 1 s"):
        run([sys.executable, "-c", code], timeout=1)
    assert time.monotonic() - started < 20


def test_bytes_that_are_no_text_do_not_break_the_reader() -> None:
    assert run([sys.executable, "-c", "import sys; sys.stdout.buffer.write(b'a\\xff')"]).stdout == "a\ufffd"


def test_tail_keeps_the_last_lines_that_say_something() -> None:
    assert tail("one\n\n  \ntwo  \nthree\n", 2) == "two\nthree"


def test_programs_do_not_see_the_machines_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """kubeadm would write them into the control plane's pods, etcdctl ask them for etcd."""
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "http://proxy:3128")
    monkeypatch.setenv("KEPT", "yes")
    names = run(["env"]).stdout
    assert "proxy" not in names.lower()
    assert "KEPT=yes" in names
    assert "HTTPS_PROXY=x" in run(["env"], env={"HTTPS_PROXY": "x"}).stdout
