"""An extractor whose model and SAE come from a hub, in a process of its own, as a user would run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

SERVER = Path(__file__).parents[2] / "hub_server.py"
COMMIT = "c0ffee" * 6 + "c0ff"
SCRIPT = """
import json, sys
from PIL import Image
import saeviz
from saeviz_vit import VitOptions
from saeviz_vit.vit import VitExtractor

extractor = VitExtractor(VitOptions(model="owner/tiny", saes={"1": "owner/sae"}), saeviz.Context(device="cpu"))
item = saeviz.ImageItem("grey", lambda: Image.new("RGB", (40, 40), (90, 90, 90)))
[batch] = extractor.extract([item])
print(json.dumps({"n": int(batch.matrix.nnz), **extractor.provenance}))
"""


def run(tmp_path, port):
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "HF_HOME": str(tmp_path / "home"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_model_and_sae_from_the_hub(tmp_path, vit_folder, make):
    shutil.copytree(vit_folder, tmp_path / "served" / "owner" / "tiny")
    make.sae(tmp_path / "served" / "owner" / "sae", file="n_images_2600058.pt")
    server = subprocess.Popen([sys.executable, SERVER, tmp_path / "served"], stdout=subprocess.PIPE, text=True)
    port = server.stdout.readline().strip()
    try:
        found = run(tmp_path, port)
        assert found["n"] > 0
        assert found["model_commit"] == COMMIT
        assert found["saes"] == {"1": {"source": "owner/sae", "commit": COMMIT}}
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()
