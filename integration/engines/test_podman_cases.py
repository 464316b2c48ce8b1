"""podman: secrets, kube, builds, pods, health checks and rarer cases."""

from __future__ import annotations

import json
import os

import pytest

from integration import host, needs
from integration.engines.podman import IMAGE
from integration.engines.test_podman_options import cgroup_of, limit
from integration.runtime import call

INFRA = "localhost/infra"
MEBI = 1 << 20


# -- secrets


@pytest.fixture
def secret(podman, tmp_path):
    (tmp_path / "secret").write_text("hidden")
    podman("secret", "create", "word", str(tmp_path / "secret")).ok()
    yield "word"
    podman("secret", "rm", "word").ok()


def test_a_secret_is_a_file(podman, secret):
    script = "cat /run/secrets/word; stat -c ' %a' /run/secrets/word"

    assert podman.run("--secret", secret, IMAGE, "sh", "-c", script).ok().out == "hidden 444\n"


def test_a_secret_has_an_owner_a_mode_and_a_place(podman, secret):
    words = ["--secret", f"{secret},target=/etc/word,uid=1000,gid=1001,mode=0400"]
    result = podman.run(*words, IMAGE, "stat", "-c", "%u %g %a", "/etc/word")

    assert result.ok().out == "1000 1001 400\n"


def test_a_secret_is_in_the_environment_of_exec_too(podman, secret):
    container = podman.up("--secret", f"{secret},type=env,target=WORD")

    assert podman("exec", container, "sh", "-c", "echo $WORD").ok().out == "hidden\n"


# -- volumes


def test_a_volume_is_given_to_the_user(podman, tmp_path):
    (tmp_path / "file").write_text("text")
    words = ["-v", f"{tmp_path}:/data:U", "--user", "1000:1001"]
    podman.run(*words, IMAGE, "sh", "-c", "echo new >/data/made").ok()

    found = {name: os.stat(tmp_path / name) for name in ("file", "made")}
    assert {(one.st_uid, one.st_gid) for one in found.values()} == {(1000, 1001)}


def test_a_volume_is_given_to_the_mapped_root(podman, scratch):
    path = f"{scratch}/given"
    os.mkdir(path)
    words = ["--uidmap", "0:300000:65536", "--gidmap", "0:300000:65536"]
    result = podman.run(*words, "-v", f"{path}:/data:U", IMAGE, "stat", "-c", "%u", "/data")
    owner = os.stat(path).st_uid
    os.rmdir(path)

    assert (result.ok().out, owner) == ("0\n", 300000)


def test_an_overlay_volume_keeps_what_is_written_to_a_given_directory(podman, scratch):
    top = f"{scratch}/kept"
    for name in ("lower", "upper", "work"):
        os.makedirs(f"{top}/{name}")
    options = f"O,upperdir={top}/upper,workdir={top}/work"
    words = ["-v", f"{top}/lower:/mnt:{options}"]
    podman.run(*words, IMAGE, "sh", "-c", "echo kept >/mnt/file").ok()

    assert (os.listdir(f"{top}/lower"), host.text_of(f"{top}/upper/file")) == ([], "kept\n")


def test_a_directory_is_the_root(podman, scratch, template):
    # :O keeps the directory as it was.
    rootfs = f"{scratch}/rootfs"
    if not os.path.exists(rootfs):
        os.mkdir(rootfs)
        template.fill(rootfs)
    words = ["--rootfs", f"{rootfs}:O"]
    result = podman.run(*words, "sh", "-c", "echo new >/new; cat /new")

    assert (result.ok().out, os.path.exists(f"{rootfs}/new")) == ("new\n", False)


# -- cgroups


@needs.cgroups
def test_without_a_cgroup_of_conmon_the_container_has_one(podman):
    container = podman.up("--cgroups", "no-conmon")
    conmon = host.text_of(f"/proc/{podman.inspect(container, '{{.State.ConmonPid}}')}/cgroup")
    paths = set(cgroup_of(podman, container).values())

    assert conmon == host.text_of("/proc/self/cgroup")
    assert any(f"libpod-{container}" in path for path in paths)


@needs.controllers("cpu", "memory")
def test_a_running_container_is_updated(podman):
    container = podman.up("--memory", "64m")
    podman("update", "--memory", "32m", "--cpu-shares", "512", container).ok()
    names = ("memory.limit_in_bytes", "memory.max")

    assert limit(podman, container, "memory", *names) == str(32 * MEBI)
    assert limit(podman, container, "cpu", "cpu.shares", "cpu.weight") in {"512", "20", "59"}
    assert podman("exec", container, "echo", "hi").ok().out == "hi\n"


@needs.controllers("memory")
def test_an_update_that_is_not_possible_is_an_error(podman):
    container = podman.up("--memory", "64m")

    assert podman("update", "--cpuset-cpus", "9999", container).code != 0
    assert podman.inspect(container, "{{.State.Status}}") == "running"


@needs.controllers("memory", "pids")
def test_stats_show_memory_and_processes(podman):
    container = podman.up("--memory", "64m", command=("sh", "-c", "sleep 1000 & exec sleep 1001"))
    podman("exec", container, "sh", "-c", "while ! pidof sleep | grep -q ' '; do :; done").ok()
    shown = "{{.PIDs}} {{.MemUsage}}"
    line = podman("stats", "--no-stream", "--format", shown, container).ok().out

    assert line.startswith("2 ")
    assert line.strip().endswith("/ 67.11MB")


def test_top_shows_what_the_container_sees(podman):
    container = podman.up("--user", "1234:1234")
    lines = podman("top", container, "pid", "user", "comm", "capeff").ok().lines

    assert lines[1].split() == ["1", "1234", "sleep", "none"]


# -- the life of a container


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_a_health_check_runs_inside(podman, ok, code):
    words = ["--health-cmd", "test -e /ok", "--health-interval", "disable"]
    container = podman.up(*words, "--health-retries", "1")
    if ok:
        podman("exec", container, "touch", "/ok").ok()
    result = podman("healthcheck", "run", container)
    shown = json.loads(podman("inspect", container).ok().out)[0]["State"]
    health = shown.get("Health") or shown["Healthcheck"]

    assert result.code == code, result
    assert health["Status"] == ("healthy" if ok else "unhealthy")


def test_an_initialised_container_waits_for_its_start(podman):
    container = podman("create", "--network", "none", IMAGE, "echo", "hi").ok().out.strip()
    podman("init", container).ok()
    status = podman.inspect(container, "{{.State.Status}}")
    result = podman("start", "--attach", container).ok()

    assert (status, result.out) == ("initialized", "hi\n")


def test_an_initialised_container_is_removed(podman):
    container = podman("create", "--network", "none", IMAGE, "echo", "hi").ok().out.strip()
    podman("init", container).ok()

    assert podman("rm", "--force", "--time", "0", container).code == 0
    assert podman("container", "exists", container).code == 1


def test_conmon_ends_what_takes_too_long(podman):
    # It kills the process group of init, which must be init's own.
    container = podman.up("--timeout", "1", command=("sh", "-c", "sleep 1000; echo over"))
    podman("wait", container).ok()

    assert podman.inspect(container, "{{.State.ExitCode}}") != "0"
    assert podman("logs", container).ok().out == ""


def test_a_container_that_fails_is_started_again(podman, tmp_path):
    words = ["--restart", "on-failure:2", "-v", f"{tmp_path}:/data"]
    script = "echo run >>/data/runs; test $(wc -l </data/runs) = 3 && exec sleep 1000; exit 4"
    container = podman.up(*words, command=("sh", "-c", script))
    wait = f'until [ "$(wc -l <{tmp_path}/runs)" = 3 ]; do sleep 0.05; done'
    call(["sh", "-c", wait]).ok()

    assert podman("exec", container, "cat", "/data/runs").ok().out == "run\n" * 3


def test_hooks_of_a_directory_run(podman, tmp_path):
    (tmp_path / "hooks").mkdir()
    hook = {
        "version": "1.0.0",
        "hook": {"path": "/bin/sh", "args": ["sh", "-c", f"cat >{tmp_path}/state"]},
        "when": {"always": True},
        "stages": ["createRuntime"],
    }
    (tmp_path / "hooks/first.json").write_text(json.dumps(hook))
    words = ["run", "--rm", "--network", "none", IMAGE, "echo", "hi"]
    result = podman("--hooks-dir", str(tmp_path / "hooks"), *words)

    assert result.ok().out == "hi\n"
    assert json.loads(host.text_of(f"{tmp_path}/state"))["status"] in {"creating", "created"}


# -- pods


def test_a_pod_shares_its_processes(podman, pod_infra):
    # Nobody has a pid namespace of its own: podman sends `kill --all` to stop.
    words = ["--share", "pid,ipc,net,uts", "--network", "none"]
    pod = podman("pod", "create", *pod_infra, *words).ok().out.strip()
    first = podman("run", "-d", "--pod", pod, IMAGE, "sleep", "1234").ok().out.strip()
    second = podman("run", "-d", "--pod", pod, IMAGE, "sleep", "1235").ok().out.strip()
    seen = podman("exec", second, "ps", "-o", "args").ok().lines
    podman("stop", "--time", "0", first).ok()
    left = podman("exec", second, "ps", "-o", "args").ok().lines

    assert {"sleep 1000", "sleep 1234", "sleep 1235"} <= set(seen)
    assert "sleep 1234" not in left
    assert {"sleep 1000", "sleep 1235"} <= set(left)


def test_containers_of_a_pod_meet_on_its_loopback(podman, pod_infra):
    pod = podman("pod", "create", *pod_infra, "--network", "none").ok().out.strip()
    serve = ["nc", "-l", "-p", "80", "-e", "echo", "hi"]
    podman("run", "-d", "--pod", pod, IMAGE, *serve).ok()
    ask = "until nc 127.0.0.1 80 </dev/null; do usleep 10000; done"

    assert podman("run", "--rm", "--pod", pod, IMAGE, "sh", "-c", ask).ok().out == "hi\n"


# -- play kube

MANIFEST = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {word: text}
---
apiVersion: v1
kind: Pod
metadata: {name: kubepod}
spec:
  hostname: fromkube
  restartPolicy: Never
  containers:
  - name: first
    image: localhost/box:latest
    imagePullPolicy: Never
    command: [/bin/sh, -c, "hostname; id -u; cat /etc/settings/word; echo; \
grep -q '^[^ ]* / [^ ]* ro,' /proc/mounts && echo read-only; \
echo done >/shared/done; exec sleep 1000"]
    securityContext: {runAsUser: 1000, readOnlyRootFilesystem: true}
    volumeMounts:
    - {name: settings, mountPath: /etc/settings}
    - {name: shared, mountPath: /shared}
  - name: second
    image: localhost/box:latest
    imagePullPolicy: Never
    command: [/bin/sh, -c, "until test -e /shared/done; do usleep 10000; done; cat /shared/done"]
    volumeMounts:
    - {name: shared, mountPath: /shared}
  volumes:
  - name: settings
    configMap: {name: settings}
  - name: shared
    hostPath: {path: SHARED, type: Directory}
"""


@pytest.fixture
def kube(podman, pod_infra, image_tar, tmp_path):
    """podman with an image of its own for the containers that hold pods."""
    assert pod_infra
    podman("import", "--change", 'ENTRYPOINT ["sleep", "1000"]', image_tar, INFRA).ok()
    text = host.text_of("/etc/containers/containers.conf")
    settings = text.replace("[engine]", f'[engine]\ninfra_image = "{INFRA}"')
    (tmp_path / "containers.conf").write_text(settings)
    environment = podman.environment | {"CONTAINERS_CONF": str(tmp_path / "containers.conf")}
    yield lambda *words: podman("play", "kube", *words, env=environment)
    podman("rmi", "--force", INFRA)


def test_a_pod_of_kubernetes_is_played(podman, kube, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    path = tmp_path / "pod.yaml"
    path.write_text(MANIFEST.replace("SHARED", str(tmp_path / "shared")))
    kube("--network", "none", str(path)).ok()
    podman("wait", "kubepod-second").ok()
    outputs = [podman("logs", f"kubepod-{name}").ok() for name in ("first", "second")]
    # podman 4 may fail over the cgroup of the pod, which conmon leaves too late; the rest is done.
    kube("--down", str(path))
    podman("volume", "rm", "--force", "settings")

    assert outputs[0].lines == ["fromkube", "1000", "text", "read-only"]
    assert outputs[1].out == "done\n"
    assert podman("pod", "ps", "-q").out == ""


# -- builds


def build(podman, directory, text, *words):
    (directory / "Containerfile").write_text(f"FROM {IMAGE}\n{text}\n")
    return podman("build", "--network", "none", "--tag", "localhost/built", *words, str(directory))


@pytest.fixture
def built(podman):
    yield "localhost/built"
    podman("rmi", "--force", "localhost/built")


def test_a_build_runs_its_commands(podman, built, tmp_path):
    (tmp_path / "file").write_text("text")
    lines = "COPY file /file\nRUN cat /file >/made && echo shown\nUSER 1000\nRUN id -u >/tmp/id"
    result = build(podman, tmp_path, lines).ok()

    assert "shown" in result.out.splitlines()
    assert podman.run(built, "cat", "/made", "/tmp/id").ok().out == "text1000\n"


@pytest.mark.usefixtures("built")
def test_a_build_ends_with_its_failing_command(podman, tmp_path):
    result = build(podman, tmp_path, "RUN exit 7")

    assert result.code != 0
    assert "exit status 7" in result.err


@pytest.mark.usefixtures("built")
def test_a_build_sees_secrets_and_mounts(podman, tmp_path):
    (tmp_path / "file").write_text("text")
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    mounts = "--mount=type=secret,id=word --mount=type=bind,source=file,target=/bound"
    mounts += " --mount=type=tmpfs,target=/fresh"
    line = f"RUN {mounts} cat /run/secrets/word /bound && echo && grep -c ' /fresh ' /proc/mounts"
    result = build(podman, tmp_path, line, "--secret", f"id=word,src={secret}").ok()

    assert {"hiddentext", "1"} <= set(result.lines)
