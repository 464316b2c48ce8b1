"""Who the program is: command, user inside and outside, and what keeps it from becoming more."""

from __future__ import annotations

from aisbx_runtime.oci import page
from aisbx_runtime.oci.explain.case import Danger, Section, outside
from aisbx_runtime.oci.plan import namespaces
from aisbx_runtime.oci.plan.process import KEEP_GROUPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aisbx_runtime.oci.explain.case import Case


def program(case: Case) -> Section:
    """Say what is started."""
    process = case.process
    says = [f"runs {' '.join(process.args)}", f"in the directory {process.cwd}"]
    if process.terminal:
        says.append("with a terminal of its own")
    facts: dict[str, object] = {
        "args": list(process.args),
        "cwd": process.cwd,
        "terminal": process.terminal,
        "environment": [entry.partition("=")[0] for entry in process.env],
    }
    names = [entry.partition("=")[0] for entry in process.env]
    says.append(f"sees {page.counted(len(names), 'environment variable')}: {page.listed(names, 12)}"
                if names else "sees no environment variables")  # fmt: skip
    return Section("program", "Program", tuple(says), facts)


def user(case: Case) -> Section:
    """Say who it is inside, and outside."""
    uid, gid = case.process.user.uid, case.process.user.gid
    groups = case.process.user.additional_gids
    scope, host_uid, host_gid = _outside_ids(case)
    says = [f"is uid {uid}, gid {gid} inside" + (f", groups {_numbers(groups)}" if groups else "")]
    if scope == "unknown":
        says.append("which user that is outside depends on the user namespace that is joined")
    elif scope == "same":
        says.append(
            "is the same user on the host: there is no user namespace"
            + (", so root inside is root of this machine" if uid == 0 else "")
        )
    else:
        says.append(f"is uid {_shown(host_uid)}, gid {_shown(host_gid)} {_where(case)}")
    if case.spec.annotations.get(KEEP_GROUPS) == "1":
        says.append("keeps the supplementary groups of the caller")
    facts: dict[str, object] = {
        "uid": uid,
        "gid": gid,
        "groups": list(groups),
        "outside": scope,
        "outside_uid": host_uid,
        "outside_gid": host_gid,
        "keeps_groups": case.spec.annotations.get(KEEP_GROUPS) == "1",
    }
    return Section("user", "User", tuple(says), facts)


def _outside_ids(case: Case) -> tuple[str, int | None, int | None]:
    uid, gid = case.process.user.uid, case.process.user.gid
    linux = case.spec.linux
    if namespaces.is_new(case.spec, "user"):
        return "mapped", outside(uid, linux.uid_mappings), outside(gid, linux.gid_mappings)
    if case.has("user"):
        return "unknown", None, None
    return ("mapped" if case.host.user_namespace else "same"), uid, gid


def _where(case: Case) -> str:
    if case.host.user_namespace:
        return "in the user namespace of the runtime's caller, which has no rights outside of it"
    return "on the host"


def _shown(number: int | None) -> str:
    return "none (nobody)" if number is None else str(number)


def _numbers(numbers: tuple[int, ...]) -> str:
    return ", ".join([str(number) for number in numbers])


def confinement(case: Case) -> Section:
    """Say what holds it besides namespaces: no_new_privs and the LSM."""
    process = case.process
    says: list[str] = []
    if process.no_new_privileges:
        says.append("no_new_privs is set: setuid programs and file capabilities give it nothing")
    else:
        gained = page.listed(case.obtainable, 4)
        says.append(
            "no_new_privs is off: setuid programs in the image work"
            + (f", and can give it {gained}" if gained else "")
        )
    profile = process.apparmor_profile
    says.append(f"AppArmor profile: {profile}" if profile else "no AppArmor profile is asked for")
    label = process.selinux_label
    says.append(f"SELinux label: {label}" if label else "no SELinux label is asked for")
    facts: dict[str, object] = {
        "no_new_privileges": process.no_new_privileges,
        "apparmor_profile": profile or None,
        "selinux_label": label or None,
    }
    return Section("confinement", "Confinement", tuple(says), facts)


def dangers(case: Case) -> list[Danger]:
    """Return what is dangerous about who it is."""
    process = case.process
    found: list[Danger] = []
    if case.powerful and process.user.uid == 0:
        found.append(
            Danger(
                "root-is-host-root", 45, "root inside is root of this machine",
                "files it can reach it can change, and a kernel flaw gives it everything",
                "map its users away with a user namespace (podman --userns=auto)",
                "process.user",
            )
        )  # fmt: skip
    if not process.no_new_privileges:
        found.append(
            Danger(
                "no-new-privs-off", 30 if case.obtainable or process.user.uid else 20,
                "no_new_privs is off",
                "a setuid program in the image can give the program more than it starts with",
                "set process.noNewPrivileges (podman --security-opt=no-new-privileges)",
                "process.noNewPrivileges",
            )
        )  # fmt: skip
    if process.apparmor_profile in {"", "unconfined"} and not process.selinux_label:
        found.append(
            Danger(
                "no-lsm", 35 if process.apparmor_profile else 20,
                "neither AppArmor nor SELinux confines it",
                "where another defence fails, there is none behind it",
                "give it a profile or a label, where the host has one of them",
                "process.apparmorProfile",
            )
        )  # fmt: skip
    if case.spec.annotations.get(KEEP_GROUPS) == "1":
        found.append(
            Danger(
                "keeps-groups", 40, "it keeps the supplementary groups of the caller",
                "files of the host that those groups may open, it may open where it sees them",
                f"drop the annotation {KEEP_GROUPS}", f"annotations.{KEEP_GROUPS}",
            )
        )  # fmt: skip
    return found
