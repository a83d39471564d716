"""The Helm chart, rendered without a cluster: valid against Kubernetes' own schemas, and safe in what it asks for."""

import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from fakes.deploy_tools import helm, schema
from jsonschema import Draft202012Validator
from prometheus_client import REGISTRY

from config.seeing import series
from config.settings.environment import read_environment
from config.settings.origins import VARIABLES

CHART = Path(__file__).resolve().parents[2] / "deploy" / "helm" / "atrium"
KUBERNETES = "1.31"
NEEDED = {"existingSecret": "atrium", "weaviateUrl": "http://weaviate:8080"}
EVERYTHING: dict[str, Any] = {
    **NEEDED,
    "publicUrl": "https://atrium.example.org",
    "allowedHosts": ["a.example.org", "b.example.org"],
    "files": {"existingClaim": "atrium-files"},
    "ingress": {"enabled": True, "host": "atrium.example.org", "tlsSecret": "tls"},
    "autoscaling": {"gateway": {"enabled": True}, "worker": {"enabled": True}},
    "keda": {
        "enabled": True,
        "engines": [
            {
                "deployment": "vllm",
                "pool": "main",
                "minReplicas": 1,
                "maxReplicas": 8,
                "waitingPerReplica": 4,
            },
            {"deployment": "big", "pool": "slow", "minReplicas": 0, "maxReplicas": 4, "desired": True},
        ],
    },
    "discovery": {"kubernetes": {"enabled": True, "namespaces": ["engines", "ai"]}},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "imagePullSecrets": [{"name": "registry"}],
    "nodeSelector": {"kind": "cpu"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "networkPolicy": {"database": {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]}},
    "environment": {"ATRIUM_SLOW_MS": 4000},
}
WITHOUT_KEDA: dict[str, Any] = {**NEEDED, "autoscaling": {"gateway": {"enabled": True}}}
CUSTOM = {
    "ScaledObject": "keda.sh_scaledobjects.yaml",
    "ServiceMonitor": "monitoring.coreos.com_servicemonitors.yaml",
}


def run(*words: str, values: dict[str, Any], folder: Path) -> "subprocess.CompletedProcess[str]":
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    command = [helm(), *words, "--kube-version", f"{KUBERNETES}.0", "--values", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def render(folder: Path, values: dict[str, Any]) -> list[dict[str, Any]]:
    done = run("template", "demo", str(CHART), "--namespace", "ai", values=values, folder=folder)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@pytest.fixture(scope="module", params=["least", "everything", "without keda"])
def objects(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    values = {"least": NEEDED, "everything": EVERYTHING, "without keda": WITHOUT_KEDA}[request.param]
    return render(tmp_path_factory.mktemp("chart"), values)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return render(tmp_path_factory.mktemp("chart"), EVERYTHING)


def of(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """Objects of a kind by name, without the release's prefix."""
    return {
        each["metadata"]["name"].removeprefix("demo-atrium-"): each
        for each in objects
        if each["kind"] == kind
    }


def pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Pod templates by component."""
    found = {}
    for each in objects:
        if each["kind"] in ("Deployment", "Job"):
            template = each["spec"]["template"]
            found[template["metadata"]["labels"]["app.kubernetes.io/component"]] = template
    return found


def test_helm_finds_nothing_to_complain_of(tmp_path: Path) -> None:
    done = run("lint", str(CHART), "--strict", values=EVERYTHING, folder=tmp_path)

    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


def test_every_object_is_valid_for_kubernetes(objects: list[dict[str, Any]]) -> None:
    builtin = [each for each in objects if each["kind"] not in CUSTOM]
    assert len(builtin) >= 16
    for each in builtin:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_a_wrong_field_would_be_found(everything: list[dict[str, Any]]) -> None:
    deployment = of(everything, "Deployment")["gateway"]
    wrong = {**deployment, "spec": {**deployment["spec"], "replica": 3}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


@pytest.mark.parametrize("kind", CUSTOM)
def test_custom_objects_are_valid_for_their_operators(everything: list[dict[str, Any]], kind: str) -> None:
    definition = yaml.safe_load(schema(CUSTOM[kind]).read_text())
    found = [each for each in everything if each["kind"] == kind]
    assert found
    for each in found:
        version = each["apiVersion"].rpartition("/")[2]
        (own,) = [each for each in definition["spec"]["versions"] if each["name"] == version]
        Draft202012Validator(own["schema"]["openAPIV3Schema"]).validate(each)


def test_the_planes_run_apart(objects: list[dict[str, Any]]) -> None:
    templates = pods(objects)

    assert set(templates) == {"gateway", "control", "worker", "beat", "migrate"}
    args = {part: each["spec"]["containers"][0]["args"] for part, each in templates.items()}
    assert args == {
        "gateway": ["gateway"],
        "control": ["control"],
        "worker": ["worker"],
        "beat": ["beat"],
        "migrate": ["prepare"],
    }
    beat = of(objects, "Deployment")["beat"]["spec"]
    assert (beat["replicas"], beat["strategy"]["type"]) == (1, "Recreate")


def test_every_pod_is_restricted(objects: list[dict[str, Any]]) -> None:
    """What the Pod Security Standard `restricted` asks for, and a root file system nobody writes."""
    for part, template in pods(objects).items():
        pod = template["spec"]
        # Who asks Kubernetes nothing has no token that could.
        assert pod["automountServiceAccountToken"] is (pod.get("serviceAccountName") is not None), part
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert own["readOnlyRootFilesystem"] is True
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]["cpu"]
            written = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert {"/var/lib/atrium", "/tmp"} <= written
        assert not any("hostPath" in volume for volume in pod["volumes"])


def test_no_secret_is_in_a_manifest(objects: list[dict[str, Any]]) -> None:
    assert not [each for each in objects if each["kind"] == "Secret"]
    for template in pods(objects).values():
        (container,) = template["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "atrium"}}]
        named = {each["name"] for each in container["env"]}
        assert not named & {"ATRIUM_SECRET_KEY", "ATRIUM_KEYRING", "ATRIUM_DATABASE_URL", "ATRIUM_REDIS_URL"}


def test_every_variable_is_one_that_atrium_reads(everything: list[dict[str, Any]], tmp_path: Path) -> None:
    secret = {
        "ATRIUM_DATABASE_URL": "postgres://a:b@db/atrium",
        "ATRIUM_REDIS_URL": "redis://redis:6379/0",
        "ATRIUM_SECRET_KEY": "s" * 40,
        "ATRIUM_KEYRING": f"1:{'A' * 43}=",
    }
    for part, template in pods(everything).items():
        env = {each["name"]: each["value"] for each in template["spec"]["containers"][0]["env"]}
        assert set(env) - set(VARIABLES) <= {"ATRIUM_WORKER_CONCURRENCY"}, part
        read = read_environment({**secret, **env, "ATRIUM_HOME": str(tmp_path), "ATRIUM_ROLE": "gateway"})
        assert read.profile == "full"
        assert read.allowed_hosts[:2] == ("a.example.org", "b.example.org")
        assert read.drain_s == 120


def test_the_servers_are_probed_and_leave_slowly(objects: list[dict[str, Any]]) -> None:
    for part in ("gateway", "control"):
        pod = pods(objects)[part]["spec"]
        (container,) = pod["containers"]
        assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
        assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
        assert container["startupProbe"]["httpGet"]["path"] == "/health/live"
        env = {each["name"]: each["value"] for each in container["env"]}
        pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        # gunicorn gets five seconds more than the drain (entrypoint.sh), and the kubelet waits for both.
        assert pod["terminationGracePeriodSeconds"] > pause + int(env["ATRIUM_DRAIN"]) + 5
        strategy = of(objects, "Deployment")[part]["spec"]["strategy"]["rollingUpdate"]
        assert strategy["maxUnavailable"] == 0


def test_migrations_come_before_the_pods(objects: list[dict[str, Any]]) -> None:
    (job,) = of(objects, "Job").values()

    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    # A hook runs before the chart's other objects exist: it may ask for none of them.
    assert "serviceAccountName" not in job["spec"]["template"]["spec"]
    assert not any("configMap" in volume for volume in job["spec"]["template"]["spec"]["volumes"])


def test_selectors_find_their_own_pods_alone(objects: list[dict[str, Any]]) -> None:
    labels = {part: template["metadata"]["labels"] for part, template in pods(objects).items()}

    def matched(selector: dict[str, str]) -> set[str]:
        return {part for part, own in labels.items() if selector.items() <= own.items()}

    for name, service in of(objects, "Service").items():
        assert matched(service["spec"]["selector"]) == {name}
    for name, deployment in of(objects, "Deployment").items():
        assert matched(deployment["spec"]["selector"]["matchLabels"]) == {name}
    budgets = of(objects, "PodDisruptionBudget")
    assert set(budgets) == {"gateway", "control", "worker"}
    for name, budget in budgets.items():
        assert matched(budget["spec"]["selector"]["matchLabels"]) == {name}
    policies = of(objects, "NetworkPolicy")
    assert matched(policies.pop("deny")["spec"]["podSelector"]["matchLabels"]) == set(labels)
    for name, policy in policies.items():
        assert matched(policy["spec"]["podSelector"]["matchLabels"]) == {name}
    assert set(policies) == set(labels)


def test_the_network_is_closed_but_for_what_is_needed(objects: list[dict[str, Any]]) -> None:
    policies = of(objects, "NetworkPolicy")
    deny = policies.pop("deny")["spec"]

    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in deny
    assert "egress" not in deny
    assert {name for name, each in policies.items() if each["spec"].get("ingress")} == {"gateway", "control"}
    for name, each in policies.items():
        for rule in each["spec"].get("ingress", []):
            assert rule["from"], name
        ports = {port["port"] for rule in each["spec"]["egress"] for port in rule["ports"]}
        assert {53, 5432, 6379} <= ports
        # Who makes the schema or keeps the clock has no business with engines.
        assert (8080 in ports) == (name in ("gateway", "control", "worker"))
        assert (587 in ports) == (name == "control")
        assert all(rule.get("to") != [] for rule in each["spec"]["egress"])


def test_control_alone_may_see_endpoints_and_nothing_else(
    everything: list[dict[str, Any]], tmp_path: Path
) -> None:
    accounts = {part: each["spec"].get("serviceAccountName") for part, each in pods(everything).items()}
    assert {part for part, name in accounts.items() if name} == {"control"}
    assert (
        set(of(everything, "ServiceAccount"))
        == {"control"}
        == {accounts["control"].removeprefix("demo-atrium-")}
    )
    kinds = ("Role", "RoleBinding")
    places = {kind: [each for each in everything if each["kind"] == kind] for kind in kinds}
    for found in places.values():
        assert [each["metadata"]["namespace"] for each in found] == ["engines", "ai"]
    for role in places["Role"]:
        assert role["rules"] == [
            {
                "apiGroups": ["discovery.k8s.io"],
                "resources": ["endpointslices"],
                "verbs": ["get", "list", "watch"],
            }
        ]
    for binding, role in zip(places["RoleBinding"], places["Role"], strict=True):
        assert binding["roleRef"]["name"] == role["metadata"]["name"]
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": accounts["control"], "namespace": "ai"}
        ]
    reached = of(everything, "NetworkPolicy")
    ports = {
        name: {port["port"] for rule in each["spec"].get("egress", []) for port in rule["ports"]}
        for name, each in reached.items()
    }
    assert {name for name, found in ports.items() if 6443 in found} == {"control"}
    plain = render(tmp_path, NEEDED)
    assert not [each for each in plain if each["kind"] in ("ServiceAccount", *kinds)]
    assert not [name for name, each in of(plain, "NetworkPolicy").items() if "6443" in str(each)]
    own = render(tmp_path, {**NEEDED, "discovery": {"kubernetes": {"enabled": True}}})
    assert [each["metadata"]["namespace"] for each in own if each["kind"] == "Role"] == ["ai"]


def test_scaling_leaves_the_number_of_pods_alone(everything: list[dict[str, Any]], tmp_path: Path) -> None:
    deployments = of(everything, "Deployment")
    scaled = of(everything, "ScaledObject")

    assert set(scaled) == {"gateway", "worker", "vllm", "big"}
    assert "HorizontalPodAutoscaler" not in {each["kind"] for each in everything}
    for name in ("gateway", "worker"):
        assert "replicas" not in deployments[name]["spec"]
        assert scaled[name]["spec"]["scaleTargetRef"]["name"] == deployments[name]["metadata"]["name"]
    plain = render(tmp_path, WITHOUT_KEDA)
    assert set(of(plain, "HorizontalPodAutoscaler")) == {"gateway"}
    assert "replicas" not in of(plain, "Deployment")["gateway"]["spec"]
    assert of(plain, "Deployment")["worker"]["spec"]["replicas"] == 2


def test_scaling_asks_for_series_that_exist(everything: list[dict[str, Any]]) -> None:
    assert series.JOBS is not None
    known = {
        sample if family.type != "counter" else f"{family.name}_total"
        for family in REGISTRY.collect()
        for sample in (family.name,)
    }
    triggers = [
        trigger for each in of(everything, "ScaledObject").values() for trigger in each["spec"]["triggers"]
    ]
    asked = [trigger["metadata"]["query"] for trigger in triggers if trigger["type"] == "prometheus"]
    assert len(asked) == 4
    for query in asked:
        names = set(re.findall(r"\batrium_[a-z_]+\b", query))
        assert names
        assert names <= known, query


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"existingSecret": ""}, "existingSecret"),
        ({"weaviateUrl": "weaviate:8080"}, "weaviateUrl"),
        ({"publicUrl": "https://a.example/path"}, "publicUrl"),
        ({"gateway": {"replicas": 0}}, "replicas"),
        ({"drain": {"seconds": 0}}, "seconds"),
        ({"ingress": {"enabled": True}}, "ingress.host"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_by_name(change: dict[str, Any], named: str, tmp_path: Path) -> None:
    done = run("template", "demo", str(CHART), values={**NEEDED, **change}, folder=tmp_path)

    assert done.returncode != 0
    assert named in done.stderr


def test_the_charts_version_is_the_products() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (CHART.parents[2] / "pyproject.toml").read_text()

    assert f'version = "{chart["appVersion"]}"' in project
