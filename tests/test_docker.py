"""The container files, as far as they can be checked without a Docker engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.server import Server

ROOT = Path(__file__).parent.parent
COMPOSE = ROOT / "docker" / "compose.yaml"

# The fields that the manifests may have, from the types that the published schemas are made of
# (KubeRay's ray.io/v1, Milvus's operator's milvus.io/v1beta1); ... is for what may hold anything.
POD: dict = {
    "spec": {
        "securityContext": {"runAsNonRoot": bool},
        "containers": [
            {
                "name": str,
                "image": str,
                "env": [
                    {
                        "name": str,
                        "value": str,
                        "valueFrom": {"secretKeyRef": {"name": str, "key": str, "optional": bool}},
                    }
                ],
                "resources": {"requests": ..., "limits": ...},
                "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool}],
            }
        ],
        "volumes": [{"name": str, "persistentVolumeClaim": {"claimName": str, "readOnly": bool}}],
    }
}
COMPONENT: dict = {"replicas": int, "image": str, "resources": {"requests": ..., "limits": ...}}
IN_CLUSTER: dict = {"inCluster": {"deletionPolicy": ("Delete", "Retain"), "values": ...}}
MANIFESTS = {
    "rayjob.yaml": {
        "apiVersion": ("ray.io/v1",),
        "kind": ("RayJob",),
        "metadata": {"name": str},
        "spec": {
            "entrypoint": str,
            "shutdownAfterJobFinishes": bool,
            "ttlSecondsAfterFinished": int,
            "backoffLimit": int,
            "rayClusterSpec": {
                "rayVersion": str,
                "headGroupSpec": {"rayStartParams": ..., "template": POD},
                "workerGroupSpecs": [
                    {
                        "groupName": str,
                        "replicas": int,
                        "minReplicas": int,
                        "maxReplicas": int,
                        "rayStartParams": ...,
                        "template": POD,
                    }
                ],
            },
        },
    },
    "milvus.yaml": {
        "apiVersion": ("milvus.io/v1beta1",),
        "kind": ("Milvus",),
        "metadata": {"name": str},
        "spec": {
            "mode": ("cluster", "standalone"),
            "components": {
                "image": str,
                "proxy": COMPONENT,
                **dict.fromkeys(("mixCoord", "dataNode", "indexNode", "queryNode"), COMPONENT),
            },
            "dependencies": {
                "etcd": IN_CLUSTER,
                "storage": IN_CLUSTER,
                "msgStreamType": ("pulsar", "kafka", "rocksmq", "natsmq"),
            },
        },
    },
}
DOCKERFILES = [
    ROOT / "docker" / name for name in ("Dockerfile", "Dockerfile.gpu", "Dockerfile.ray")
]


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Instructions and their arguments, without comments and with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", "", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def pinned(image: str) -> bool:
    """Whether the tag of `image` names one release: a version or a date to its last part."""
    return re.search(r":(v?\d+\.\d+\.\d+\S*|RELEASE\.\d{4}-\d\d-\d\dT\S+)$", image) is not None


@pytest.fixture
def services():
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(COMPOSE.read_text())["services"]


def test_compose_schema():
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(COMPOSE)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_images_are_pinned(services):
    for service in services.values():
        assert "build" in service or pinned(service["image"])


def test_compose_ports_are_local(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_waits_for_health(services):
    for service in services.values():
        for name, needed in service.get("depends_on", {}).items():
            assert needed == {"condition": "service_healthy"}
            assert "healthcheck" in services[name]


def test_the_page_has_its_sounds_and_is_asked_for_its_health(services, tmp_path):
    pytest.importorskip("uvicorn")
    web = services["web"]
    assert "data:/data" in web["volumes"] and "8000" in web["ports"][0]
    assert any(each.endswith(":/sounds:ro") for each in web["volumes"])
    kind, *command = web["healthcheck"]["test"]
    assert kind == "CMD" and command[0] == "python"
    served = Server(tmp_path / "none yet", token="a token that it does not know")
    asked = [sys.executable, *command[1:-1], command[-1].replace(":8000", f":{served.port}")]
    healthy = subprocess.run(asked, capture_output=True)
    served.close()
    gone = subprocess.run(asked, capture_output=True)
    assert (healthy.returncode, gone.returncode) == (0, 1)


def test_compose_builds_from_existing_files(services):
    build = services["soundsearch"]["build"]
    context = (COMPOSE.parent / build["context"]).resolve()
    assert context == ROOT.resolve()
    assert (context / build["dockerfile"]).is_file()


def test_compose_variables_are_documented():
    readme = (ROOT / "docker" / "README.md").read_text()
    variables = re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE.read_text())
    assert len(variables) == COMPOSE.read_text().count("${")  # each has a default
    for name, default in variables:
        assert re.search(rf"\| `{name}` \|.*`{re.escape(default)}`", readme), name


def unknown(manifest, fields, where=""):
    """The places in a manifest that have no such field, or not such a value."""
    if fields is ...:
        return []
    if isinstance(fields, dict) and isinstance(manifest, dict):
        return [
            place
            for name, value in manifest.items()
            for place in (
                unknown(value, fields[name], f"{where}.{name}")
                if name in fields
                else [f"{where}.{name}"]
            )
        ]
    if isinstance(fields, list) and isinstance(manifest, list):
        return [place for each in manifest for place in unknown(each, fields[0], where)]
    if isinstance(fields, tuple):
        return [] if manifest in fields else [where]
    return [] if type(manifest) is fields else [where]


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_have_only_published_fields(name):
    yaml = pytest.importorskip("yaml")
    manifest = yaml.safe_load((ROOT / "docker" / name).read_text())
    assert unknown(manifest, MANIFESTS[name]) == []
    other = {**manifest, "spec": {"mod": "cluster"}, "kind": "Job"}
    assert set(unknown(other, MANIFESTS[name])) == {".spec.mod", ".kind"}


def test_the_image_of_the_ray_job_is_the_one_that_is_built():
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((ROOT / "docker" / "rayjob.yaml").read_text())["spec"]["rayClusterSpec"]
    text = (ROOT / "docker" / "Dockerfile.ray").read_text()
    groups = [job["headGroupSpec"], *job["workerGroupSpecs"]]
    [image] = {each["template"]["spec"]["containers"][0]["image"] for each in groups}
    assert f"-t {image} ." in text
    assert f"ray[default]=={job['rayVersion']}" in text


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
class TestDockerfile:
    def test_bases_are_pinned(self, dockerfile):
        stages = set()
        for instruction, said in instructions(dockerfile):
            if instruction == "FROM":
                image, _, stage = said.split()
                assert image in stages or pinned(image)
                stages.add(stage)

    def test_copied_files_exist(self, dockerfile):
        said = [said for name, said in instructions(dockerfile) if name == "COPY"]
        words = [copy.split() for copy in said if "--from=" not in copy]
        sources = [w for copy in words for w in copy[:-1] if not w.startswith("--")]
        assert {"pyproject.toml", "soundsearch"} <= set(sources)
        assert all((ROOT / source).exists() for source in sources)

    def test_runs_as_a_user(self, dockerfile):
        last_stage = []
        for instruction, said in instructions(dockerfile):
            last_stage = [] if instruction == "FROM" else [*last_stage, (instruction, said)]
        users = [said for instruction, said in last_stage if instruction == "USER"]
        assert users and re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])
        assert ("ENTRYPOINT", '["soundsearch"]') in last_stage

    def test_extras_exist(self, dockerfile):
        tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        text = dockerfile.read_text()
        named = re.findall(r"\['optional-dependencies'\]\['([\w-]+)'\]", text)
        named += [
            extra for each in re.findall(r"\.\[([\w,-]+)\]", text) for extra in each.split(",")
        ]
        assert "milvus" in named
        assert set(named) <= set(project["optional-dependencies"])
