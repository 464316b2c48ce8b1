"""A config.json that the schema calls valid, of values that work here, gives what it says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aisbx_runtime.oci.spec.explain import explain
from integration.bundle import base_config
from integration.fuzz.documents import text_of
from integration.fuzz.effort import effort
from integration.fuzz.values import ID

CAPABILITIES = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_NET_BIND_SERVICE": 10, "CAP_SYS_CHROOT": 18}
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
LIMITS = {"RLIMIT_NOFILE": "Max open files", "RLIMIT_CORE": "Max core file size"}
PROBE = """
cat /proc/self/status /proc/self/limits
echo "Hostname: $(hostname)"; echo "Cwd: $(readlink /proc/self/cwd)"
echo "Score: $(cat /proc/self/oom_score_adj)"; echo "Fds: $(ls /proc/self/fd | head -n 9 | wc -l)"
echo "Var: [$VAR]"; echo "Masked: [$(cat /etc/group)]"; echo "Args: [$1]"
true >/bin/written && echo "Root: rw" || echo "Root: ro"
cat /proc/self/mountinfo
""".replace("hostname)", "cat /proc/sys/kernel/hostname)")
# In the environment and argv: anything but NUL, lines of the probe apart.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), max_size=12)


@st.composite
def valid_configs(draw):
    config = base_config()
    process, linux = config["process"], config["linux"]
    held = draw(st.lists(st.sampled_from(sorted(CAPABILITIES)), unique=True))
    soft = draw(st.integers(16, 1024))
    process.update(
        args=["/bin/sh", "-c", PROBE, "sh", draw(texts)],
        env=["PATH=/bin", f"VAR={draw(texts)}"],
        cwd=draw(st.sampled_from(["/", "/tmp", "/opt", "/etc/../tmp"])),
        user={"uid": draw(st.sampled_from([0, 1, 1000])), "gid": draw(st.sampled_from([0, 7])),
              "umask": draw(st.integers(0, 0o777)),
              "additionalGids": draw(st.lists(st.integers(1, 65535), max_size=3, unique=True))},
        noNewPrivileges=draw(st.booleans()),
        oomScoreAdj=draw(st.integers(0, 1000)),
        rlimits=[{"type": name, "soft": soft, "hard": 1024} for name in LIMITS],
        capabilities=dict.fromkeys(SETS, held),
    )  # fmt: skip
    config["root"]["readonly"] = draw(st.booleans())
    config["hostname"] = draw(st.sampled_from(["a", "x" * 64, "h-1.example"]))
    options = draw(st.lists(st.sampled_from(["nosuid", "nodev", "noexec"]), unique=True))
    config["mounts"].append(
        {"destination": "/mnt", "type": "tmpfs", "source": "mine", "options": options}
    )
    linux["cgroupsPath"] = f"/{ID}"
    linux["maskedPaths"] = draw(st.sampled_from([[], ["/etc/group"], ["/nosuch", "/etc/group"]]))
    if draw(st.booleans()):
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    return config


def fields_of(text):
    return {
        name: " ".join(value.split())
        for name, colon, value in (line.partition(":") for line in text.splitlines())
        if colon
    }


@effort(25)
@given(config=valid_configs())
def test_what_is_valid_runs_and_gives_what_is_configured(ground, config):
    text = text_of(config)
    assert [] == explain(text.decode(), "config.json")

    ground.write("config.json", text)
    done = ground.call("run", "--bundle", ground.bundle.path, ground.id, silent=False)
    assert done.code == 0, done
    shown = fields_of(done.out)
    process, user = config["process"], config["process"]["user"]
    mask = sum(1 << CAPABILITIES[name] for name in process["capabilities"]["bounding"])
    mounted = next(line for line in done.out.splitlines() if " /mnt " in line)
    written = not config["root"]["readonly"] and user["uid"] == 0
    cwd = "/tmp" if process["cwd"].endswith("tmp") else process["cwd"]

    assert {
        "Uid": " ".join([str(user["uid"])] * 4),
        "Gid": " ".join([str(user["gid"])] * 4),
        "Groups": " ".join(str(gid) for gid in sorted(user["additionalGids"])),
        "Umask": f"{user['umask']:04o}",
        "NoNewPrivs": str(int(process["noNewPrivileges"])),
        **dict.fromkeys(("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"), f"{mask:016x}"),
        "Hostname": config["hostname"],
        "Cwd": cwd,
        "Score": str(process["oomScoreAdj"]),
        "Fds": "4",
    } == {name: shown[name] for name in (
        "Uid", "Gid", "Groups", "Umask", "NoNewPrivs", "CapBnd", "CapPrm", "CapEff", "CapInh",
        "CapAmb", "Hostname", "Cwd", "Score", "Fds",
    )}  # fmt: skip
    assert f"Var: [{process['env'][1][4:]}]\n" in done.out
    assert f"Args: [{process['args'][-1]}]\n" in done.out
    assert ("Masked: []\n" in done.out) == bool(config["linux"]["maskedPaths"])
    assert f"Root: {'rw' if written else 'ro'}\n" in done.out
    assert set(config["mounts"][-1]["options"]) <= set(mounted.split()[5].split(","))
    for name in LIMITS.values():
        line = next(line for line in done.out.splitlines() if line.startswith(name))
        assert [str(process["rlimits"][0]["soft"]), "1024"] == line.removeprefix(name).split()[:2]
    ground.check()
