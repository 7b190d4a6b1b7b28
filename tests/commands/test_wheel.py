"""The wheel holds conf/ and what it needs to run without the repository."""

import subprocess
import sys
import zipfile

import pytest

from tests.conftest import REPOSITORY, TINY, facekp


@pytest.mark.slow
def test_conf_is_packaged_and_used(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    wheel = next(tmp_path.glob("facekp-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    packaged = {
        str(p.relative_to(tmp_path / "site/facekp/conf")) for p in (tmp_path / "site/facekp/conf").rglob("*.yaml")
    }
    assert packaged == {str(p.relative_to(REPOSITORY / "conf")) for p in (REPOSITORY / "conf").rglob("*.yaml")}
    assert (tmp_path / "site/facekp/reporting/html/page.js").is_file()
    assert (tmp_path / "site/hydra_plugins/facekp_search.py").is_file()
    for name in ("face_detection_yunet_2023mar.onnx", "LICENSE"):
        packaged_file = tmp_path / "site/facekp/photos/weights" / name
        assert packaged_file.read_bytes() == (REPOSITORY / "src/facekp/photos/weights" / name).read_bytes()
    code = "import facekp.config.location as c; print(c.CONF_DIR)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(tmp_path / "site" / "facekp" / "conf")
    given = [*TINY, "trainer.max_epochs=1", "out=run"]
    done = facekp("train", *given, cwd=tmp_path, anew=True, PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "git.txt").read_text().strip() == "no checkout"
