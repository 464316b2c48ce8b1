"""systemd as a manager of cgroups: talking to it over D-Bus. Imported only when it is asked for.

`wire` is the format of messages, `bus` a connection, `instance` which systemd is meant, `scope`
what is asked of it, `text` the values of annotations. Which properties a container's scope has is
told by `plan.scope`; why there is no library, by docs/decisions/0007-dbus.md.
"""
