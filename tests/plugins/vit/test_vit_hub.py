"""An extractor whose model and SAE come from a hub, in a process of its own, as a user would run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

from torch import save

from saeviz.testing.loopback import Loopback
from tests.hub_server import COMMIT, Hub

SCRIPT = """
import json, sys
from PIL import Image
import saeviz
from saeviz_vit import VitOptions
from saeviz_vit.vit import VitExtractor

saes = {"1": sys.argv[1], "2": "owner/lens:layer_2/best"}
extractor = VitExtractor(VitOptions(model="owner/tiny", saes=saes), saeviz.Context(device="cpu"))
item = saeviz.ImageItem("grey", lambda: Image.new("RGB", (40, 40), (90, 90, 90)))
print(json.dumps({"n": [int(batch.matrix.nnz) for batch in extractor.extract([item])], **extractor.provenance}))
"""


def run(tmp_path, port, sae="owner/sae"):
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "HF_HOME": str(tmp_path / "home"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, sae], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def write_saelens(folder, make):
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    metadata = {"model_name": "owner/tiny", "hook_name": "blocks.2.hook_resid_post"}
    config = {"d_in": make.width, "d_sae": make.d_sae, "architecture": "standard", "metadata": metadata}
    config |= {"apply_b_dec_to_input": True, "normalize_activations": "none"}
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file(make.weights(), folder / "sae_weights.safetensors")


def test_model_and_saes_from_the_hub(tmp_path, vit_folder, make):
    write_saelens(tmp_path / "served" / "owner" / "lens" / "layer_2" / "best", make)
    shutil.copytree(vit_folder, tmp_path / "served" / "owner" / "tiny")
    make.sae(tmp_path / "served" / "owner" / "sae", file="n_images_2600058.pt")
    with Loopback(Hub, root=tmp_path / "served") as server:
        found = run(tmp_path, server.port)
        assert all(found["n"])
        assert found["model_commit"] == COMMIT
        assert found["saes"] == {
            "1": {"source": "owner/sae", "commit": COMMIT},
            "2": {"source": "owner/lens:layer_2/best", "commit": COMMIT},
        }
        for number, name in enumerate(("n_images_900.pt", "n_images_20000.pt", "other.pt")):
            folder = make.sae(tmp_path / "served" / "owner" / "trained" / "last", d_sae=...)
            (folder / "weights.pt").unlink()
            save(make.weights(seed=number), folder / name)
        found = run(tmp_path, server.port, "owner/trained:last")
        assert found["saes"]["1"] == {"source": "owner/trained:last", "commit": COMMIT}
        fetched = (tmp_path / "home").glob("hub/models--owner--trained/snapshots/*/last/*.pt")
        assert [path.name for path in fetched] == ["n_images_20000.pt"]
