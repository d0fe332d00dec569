"""The project's own commands. They need Python 3.11 or newer, and a package index.

    python3 dev.py demo  [ARGS]    run the example application
    python3 dev.py dashboard       the web pages over the example's jobs: `--port`, `--no-browser`
    python3 dev.py test  [ARGS]    run pytest: `dev.py test tests/unit -x`, `dev.py test -- -k foo`,
                                   `dev.py test -n 0` for one test at a time
    python3 dev.py check           run ruff, mypy and import-linter
    python3 dev.py bench [ARGS]    run the benchmarks
    python3 dev.py simulate [ARGS] worlds in virtual time: `dev.py simulate --seeds 1000`; years of
                                   schedules: `dev.py simulate --years 3 --seeds 10`
    python3 dev.py chaos [ARGS]    hurt processes, disks and clocks: `dev.py chaos --minutes 30`
    python3 dev.py mutants [ARGS]  remove each guard in a copy, and see which test goes red
    python3 dev.py setup           make the virtual environment; the verbs above do so by themselves
    python3 dev.py lock  [ARGS]    refresh requirements/*.txt: `dev.py lock --upgrade`

`--python 3.13` uses that version, in `.venv-3.13` (every verb but lock);
`--python all` (test) runs the tests on every CPython from 3.11 on that this machine has.
With CI=true, a skipped test fails the run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
# Several tests at once, as many as tests/conftest.py says; who is done takes over from the others.
SPREAD = ("-n", "auto", "--dist", "worksteal")
UV_LOCK = ROOT / "requirements" / "uv.txt"
DEV_LOCK = ROOT / "requirements" / "dev.txt"
# What an interpreter must be able to tell us: a shim that refuses, or one without venv, cannot.
PROBE = "import ensurepip, sys, venv; print(sys.implementation.name, *sys.version_info[:2])"


class DevError(Exception):
    """Something the reader can mend; shown without a traceback."""


class Environment:
    """A virtual environment of this checkout: `.venv`, or `.venv-3.13` for a version asked for.

    Its stamp says what it was made from. It is removed before setup touches anything and written
    when all is done, so an environment without one was interrupted, and is made anew.
    """

    def __init__(self, version: str | None = None) -> None:
        self.version = version
        self.folder = ROOT / (f".venv-{version}" if version else ".venv")
        self.python = self.tool("python")
        self.stamp = self.folder / "setup-stamp"
        # A change of these asks for a new environment: scripts, for one, hold its path.
        self.base = f"{version or platform.python_version()} {platform.machine()} {self.folder}\n"

    def tool(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def wanted(self) -> str:
        files = (UV_LOCK, DEV_LOCK, ROOT / "pyproject.toml")
        return self.base + " ".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)

    def stamped(self) -> str:
        """The stamp; empty when a setup did not end, or when the Python behind it has gone."""
        whole = os.path.exists(self.python) and self.stamp.exists()
        return self.stamp.read_text() if whole else ""

    def ensure(self) -> Environment:
        """Make it what the locks and pyproject.toml say. When it is, this only reads the files."""
        if self.stamped() != self.wanted():
            with (ROOT / f"{self.folder.name}.lock").open("w") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX)  # two setups come one after the other
                os.set_inheritable(handle.fileno(), True)
                if self.stamped() != self.wanted():  # or the other one did it
                    self.install()
        return self

    def install(self) -> None:
        wanted = self.wanted()
        self.install_uv()
        env = uv_settings(self.python)
        pip = [self.tool("uv"), "pip"]
        target = ["--quiet", "--python", self.python]
        step([*pip, "sync", *target, "--require-hashes", str(DEV_LOCK)], env)
        ours = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
        step([*pip, "install", *target, *ours], env)
        self.stamp.write_text(wanted)

    def install_uv(self) -> None:
        """The part of setup that needs nothing but pip; in an environment that is whole, or new."""
        if self.stamped().startswith(self.base):
            say(f"setup: updating {self.folder.name}")
            self.stamp.unlink()
        else:
            base = find_python(self.version) if self.version else running_python()
            say(f"setup: making {self.folder.name} with {base}")
            self.stamp.unlink(missing_ok=True)
            step([base, "-m", "venv", "--clear", str(self.folder)])
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        step([*pip, "--require-hashes", "--no-deps", "--requirement", str(UV_LOCK)])


def uv_settings(python: str) -> dict[str, str]:
    """An environment for uv, which does not read pip's settings: where the package index is and
    which certificates to trust, as pip has it. Settings made for uv itself win."""
    listing = [python, "-m", "pip", "config", "list"]
    text = subprocess.run(listing, capture_output=True, text=True, check=False).stdout
    pip = dict(re.findall(r"^(\S+?)='(.*)'$", text, re.MULTILINE))
    env = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    for option, name in (("index-url", "UV_DEFAULT_INDEX"), ("cert", "SSL_CERT_FILE")):
        for section in (":env:", "install", "global"):
            if f"{section}.{option}" in pip:
                env.setdefault(name, pip[f"{section}.{option}"])
    return env


def running_python() -> str:
    """The interpreter that runs this; if that is in a virtual environment, the one behind it."""
    return getattr(sys, "_base_executable", None) or sys.executable


def numbers(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text)]


def interpreters() -> dict[str, str]:
    """The usable CPythons of this machine, 3.11 and newer: `{"3.13": "/usr/bin/python3.13", ...}`.

    For each version the first wins of: the running one, PATH, the system's, pyenv's, uv's.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or Path.home() / ".local/share/uv/python")
    kept = [*pyenv.glob("3.*/bin"), *uv.glob("cpython-3.*/bin")]
    kept.sort(key=lambda folder: numbers(folder.parent.name), reverse=True)
    usual = [*os.get_exec_path(), "/usr/bin", "/usr/local/bin"]
    candidates = [("{}.{}".format(*sys.version_info), running_python())]
    for folder in dict.fromkeys([*map(Path, usual), *kept]):
        names = [re.fullmatch(r"python(3\.\d+)", path.name) for path in folder.glob("python3.*")]
        candidates += [(name[1], str(folder / name[0])) for name in names if name]

    found: dict[str, str] = {}
    for version, path in candidates:
        if version not in found and numbers(version) >= [3, 11] and is_cpython(path, version):
            found[version] = path
    return dict(sorted(found.items(), key=lambda item: numbers(item[0])))


def is_cpython(path: str, version: str) -> bool:
    """Whether this really runs, is a CPython of that version, and can make environments."""
    try:
        probe = [path, "-c", PROBE]
        answer = subprocess.run(probe, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.split() == ["cpython", *version.split(".")]


def find_python(version: str) -> str:
    found = interpreters()
    if version not in found:
        listing = "".join(f"\n    {name}  {path}" for name, path in found.items())
        raise DevError(f"no usable CPython {version} on this machine; it has:{listing or ' none'}")
    return found[version]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(command: list[str]) -> int:
    """Run to the end; the exit code. Ctrl-C reaches the command too, which may take its time."""
    with subprocess.Popen(command) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            process.wait()
            raise
    return code if code >= 0 else 128 - code  # ended by a signal: as a shell says it


def step(command: list[str], env: dict[str, str] | None = None) -> None:
    """One command of setup; what it says is shown when it fails, on stderr (stdout is the verb's).

    It inherits the setup's lock (`close_fds`): should this process be killed, the next setup waits
    until the command that it left behind has ended.
    """
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "close_fds": False}
    ended = subprocess.run(command, env=env, text=True, check=False, **options)
    if ended.returncode:
        say(ended.stdout.rstrip())
        raise DevError(f"setup failed, exit code {ended.returncode} of: {' '.join(command)}")


def become(command: list[str]) -> NoReturn:
    """Turn into the command, so that signals, output and exit code are its own."""
    os.execv(command[0], command)


def run_and_sum_up(commands: dict[str, list[str]]) -> int:
    """Run each, whatever became of the others; a line about each; the first exit code not 0."""
    codes, lines = [], []
    for name, command in commands.items():
        say(f"--- {name}")
        began = time.monotonic()
        codes.append(run(command))
        verdict = f"FAILED ({codes[-1]})" if codes[-1] else "ok"
        lines.append(f"{name:<20} {verdict:<12} {time.monotonic() - began:6.1f} s")
    print("---", *lines, sep="\n", flush=True)
    return next((code for code in codes if code), 0)


def setup(version: str | None, args: list[str]) -> int:
    Environment(version).ensure()
    return 0


def demo(version: str | None, args: list[str]) -> int:
    become([Environment(version).ensure().python, "-m", "examples.mail.demo", *args])


def dashboard(version: str | None, args: list[str]) -> int:
    become([Environment(version).ensure().python, "-m", "examples.mail.dashboard", *args])


def bench(version: str | None, args: list[str]) -> int:
    become([Environment(version).ensure().python, "-m", "benchmarks", *args])


def simulate(version: str | None, args: list[str]) -> int:
    become([Environment(version).ensure().python, "-m", "tests.simulation", *args])


def mutants(version: str | None, args: list[str]) -> int:
    become([Environment(version).ensure().python, "-m", "tests.mutants", *args])


def chaos(version: str | None, args: list[str]) -> int:
    become([Environment(version).ensure().python, "-m", "tests.crash.chaos", *args])


def test(version: str | None, args: list[str]) -> int:
    if version == "all":
        again = [sys.executable, str(ROOT / "dev.py"), "test", "--python"]
        return run_and_sum_up({f"test on {v}": [*again, v, "--", *args] for v in interpreters()})
    command = [Environment(version).ensure().python, "-m", "pytest", *SPREAD, *args]
    if os.environ.get("CI") != "true":
        become(command)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        code = run([*command, f"--junit-xml={report}"])
        text = report.read_text(encoding="utf-8") if report.exists() else ""
    # A test expected to fail stands there as skipped too, but it did run.
    skipped = re.search(r'<skipped (?!type="pytest\.xfail")', text) is not None
    if skipped:
        say("Some tests were skipped (see SKIPPED above); with CI=true that is a failure.")
    return code or int(skipped)


def check(version: str | None, args: list[str]) -> int:
    environment = Environment(version).ensure()
    target = ["--python-version", version] if version else []
    return run_and_sum_up(
        {
            "ruff check": [environment.tool("ruff"), "check"],
            "ruff format --check": [environment.tool("ruff"), "format", "--check"],
            "mypy": [environment.tool("mypy"), *target],
            "lint-imports": [environment.tool("lint-imports")],
        }
    )


def lock(version: str | None, args: list[str]) -> int:
    """Needs only uv, so that it can mend a lock that does not install. No address of an index or
    a folder of packages gets into the files, whatever this machine's settings are."""
    environment = Environment()
    if not os.path.exists(environment.tool("uv")):
        environment.install_uv()
    compile_ = [
        *(environment.tool("uv"), "pip", "compile", "--quiet", "--python", environment.python),
        *("--universal", "--python-version", "3.11", "--generate-hashes"),
        *("--no-emit-index-url", "--no-emit-find-links", "--no-emit-index-annotation"),
        *("--custom-compile-command", "python3 dev.py lock", *args),
    ]
    env = uv_settings(environment.python)
    everything = ["pyproject.toml", "--all-extras", "--group", "dev"]
    step([*compile_, "--group", "uv", "--output-file", str(UV_LOCK)], env)
    step([*compile_, *everything, "--output-file", str(DEV_LOCK)], env)
    return setup(None, [])


VERBS = {
    verb.__name__: verb
    for verb in (demo, dashboard, test, check, bench, simulate, chaos, mutants, setup, lock)
}


def parse(argv: list[str]) -> tuple[str, str | None, list[str]]:
    """`test --python 3.13 -x -- -k foo` -> ("test", "3.13", ["-x", "-k", "foo"])."""
    verb, *rest = argv
    end = rest.index("--") if "--" in rest else len(rest)
    version, args, words = None, [], iter(rest[:end])
    for word in words:
        if word == "--python" or word.startswith("--python="):
            version = word.partition("=")[2] or next(words, "")
        else:
            args.append(word)
    args += rest[end + 1 :]
    if verb not in VERBS:
        raise DevError(f"no verb {verb!r}; there are: {', '.join(VERBS)}")
    if args and verb in ("check", "setup"):
        raise DevError(f"{verb} takes no arguments, got: {' '.join(args)}")
    if version is not None and verb == "lock":
        raise DevError("lock takes no --python: the locks serve every version")
    every = (verb, version) == ("test", "all")
    if version is not None and not every and not re.fullmatch(r"3\.\d+", version):
        raise DevError(f"--python takes a version like 3.13 (test: or all), got {version!r}")
    return verb, version, args


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(__doc__)
        return 0 if argv else 2
    os.chdir(ROOT)
    try:
        if sys.version_info < (3, 11):  # noqa: UP036 (an older one may well start this file)
            raise DevError(f"Python 3.11 or newer is needed, this is {platform.python_version()}")
        verb, version, args = parse(argv)
        return VERBS[verb](version, args)
    except DevError as error:
        say(f"dev.py: {error}")
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
