"""A wrong setting stops the start with one line and exit code 2, over every transport."""

import pytest

from ttp_mcp.cli import main

pytestmark = pytest.mark.requirement("start.one-line")

TRANSPORTS = ([], ["--transport", "http"], ["--transport", "sse"])


@pytest.fixture
def run_program(monkeypatch, capsys, tmp_path):
    """Runs the program with an environment of its own; returns exit code and stderr."""

    def run(arguments, **environment):
        for name, value in {"TTP_STATE_DIR": str(tmp_path), "TZ": "UTC", **environment}.items():
            monkeypatch.setenv(name, value)
        code = main(arguments)
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("sandbox", [[], ["--sandbox"]])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TTP_ACCESS", "${TTP_ACCESS:-read}"),
        ("TTP_TOOLSETS", "stories"),
        ("TTP_CONFIRM", "yes"),
        ("TTP_STATE_DIR", "${HOME}/state"),
        ("TTP_STATE_DIR", "state"),
        ("TTP_MEDIA_DIRS", "$HOME/Pictures"),
        ("TTP_SERVER_KEY", "${TTP_SERVER_KEY}"),
        ("TTP_SERVER_KEY", "'unbalanced" + "k" * 40),
        ("TTP_ALLOWED_HOSTS", "%HOSTS%"),
        ("TTP_STATE_URL", "nonsense"),
        ("TTP_STATE_URL", "mysql://host/db"),
    ],
)
def test_wrong_setting_is_one_line_that_names_it(run_program, transport, sandbox, name, value):
    code, line = run_program([*sandbox, *transport], **{name: value})
    assert (code, line.count("\n")) == (2, 1)
    assert line.startswith(f"ttp-mcp: {name} ")
    assert value not in line


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("flag", ["--log-level", "--host", "--path"])
def test_placeholder_in_a_flag_is_one_line_that_names_it(run_program, transport, flag):
    code, line = run_program([*transport, flag, "${NAME}"])
    assert (code, line.count("\n")) == (2, 1)
    assert line.startswith(f"ttp-mcp: {flag} ")


def test_transport_is_understood_in_any_case(run_program):
    code, line = run_program(["--transport", "HTTP", "--path", "mcp"])
    assert (code, line.split(" ")[:2]) == (2, ["ttp-mcp:", "--path"])


def test_command_reports_a_wrong_setting_in_the_same_line(run_program):
    code, line = run_program(["tools"], TTP_ACCESS="${TTP_ACCESS:-read}")
    assert (code, line.split(" ")[:2]) == (2, ["ttp-mcp:", "TTP_ACCESS"])
