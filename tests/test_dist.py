"""``make dist``: the wheel and the source archive are whole, and both install and run."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(
    not shutil.which("make") or not shutil.which("git"), reason="there is no make or no git"
)


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a program without what the tests' own environment says of this checkout; gives its output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CHATHUB_"))}
    done = subprocess.run(command, cwd=cwd, env=kept | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's files, with nothing that was built here before."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("not in a git checkout: the list of the project's files is not known")
    folder = tmp_path_factory.mktemp("source")
    for name in listed.stdout.split("\n"):
        if name and (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def dist(source: Path) -> dict[str, Path]:
    """The files that ``make dist`` leaves: ending → file."""
    files = files_of(source)
    # what an earlier build left behind must not come back
    (source / "build" / "lib" / "chathub" / "sql").mkdir(parents=True)
    (source / "build" / "lib" / "chathub" / "sql" / "deleted.sql").write_text("")
    run("make", "dist", f"PYTHON={sys.executable}", cwd=source)
    made = {path.relative_to(source) for path in (source / "dist").iterdir()}
    assert files_of(source) == files | made
    return {("whl" if path.suffix == ".whl" else "tar.gz"): source / path for path in made}


def files_of(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def version_of(source: Path) -> str:
    (line,) = [line for line in (source / "setup.cfg").read_text().split("\n") if line.startswith("version")]
    return line.split("=")[1].strip()


def test_there_is_one_wheel_and_one_source_archive_of_the_version(
    source: Path, dist: dict[str, Path]
) -> None:
    version = version_of(source)
    assert dist["whl"].name == f"chathub-{version}-py3-none-any.whl"
    assert dist["tar.gz"].name == f"chathub-{version}.tar.gz"
    changes = (source / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.*)$", changes, re.M)
    assert headings[0] == "Unreleased" and re.fullmatch(rf"{version} — \d{{4}}-\d\d-\d\d", headings[1])


def test_the_wheel_holds_every_module_and_every_sql_file(source: Path, dist: dict[str, Path]) -> None:
    """Packages are listed by hand in setup.cfg: a forgotten one is found here."""
    inside = {name for name in zipfile.ZipFile(dist["whl"]).namelist() if name.startswith("chathub/")}
    expected = {str(path.relative_to(source)) for path in (source / "chathub").rglob("*.py")}
    expected |= {"chathub/" + str(path.relative_to(source)) for path in (source / "sql").rglob("*.sql")}
    # what the server sends
    expected |= {"chathub/docs/openapi.json", "chathub/docs/api.html", "chathub/frontend/welcome.html"}
    assert inside == expected | {"chathub/py.typed"}


def test_the_source_archive_holds_every_file_that_is_not_hidden(source: Path, dist: dict[str, Path]) -> None:
    with tarfile.open(dist["tar.gz"]) as archive:
        inside = {Path(*Path(member.name).parts[1:]) for member in archive if member.isfile()}
    expected = {path for path in files_of(source) if not path.parts[0].startswith(".")}
    expected = {path for path in expected if path.parts[0] not in ("dist", "build")}
    # its metadata
    made = {path for path in inside if path.parts[0] == "chathub.egg-info"} | {Path("PKG-INFO")}
    assert inside - made == expected


@pytest.mark.parametrize("ending", ["whl", "tar.gz"])
def test_each_installs_into_a_new_environment_and_runs(
    source: Path, dist: dict[str, Path], ending: str, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    folder = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    # dependencies are those of this environment: nothing is downloaded. Its .pth files are not read, so that
    # an editable ChatHub in it is not found
    (environment / folder / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps")
    run(*pip, "--no-build-isolation", "--ignore-installed", dist[ending], cwd=tmp_path)
    version = version_of(source)
    assert run(environment / "bin" / "chathub", "--version", cwd=tmp_path) == f"chathub {version}\n"
    look = (
        "import chathub, importlib.metadata as m; from chathub.database.queries import sql_folder; "
        "print(chathub.__file__, m.version('chathub'), *sorted(p.relative_to(sql_folder()) for p in "
        "sql_folder().rglob('*.sql')))"
    )
    place, installed, *statements = run(python, "-c", look, cwd=tmp_path).split()
    assert Path(place).is_relative_to(environment) and installed == version
    assert statements == sorted(str(p.relative_to(source / "sql")) for p in (source / "sql").rglob("*.sql"))
