/* The program of every compared container: prints what it finds as lines "KEY<tab>VALUE", then
   "end", waits for a line or the end of its input, and exits with 7.
   What /proc/PID shows is read on the host; here is what only the inside can see.
   /ask in the root directory names paths, one a line: "try PATH", "read PATH" or "walk PATH". */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <termios.h>
#include <unistd.h>

static const char *error_name(void)
{
	const char *name = strerrorname_np(errno);
	return name ? name : "EUNKNOWN";
}

static void put_escaped(const char *text)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", stdout);
		else if (*text == '\t')
			fputs("\\t", stdout);
		else
			putchar(*text);
	}
}

static void say(const char *key, const char *format, ...)
{
	char text[8192];
	va_list words;

	va_start(words, format);
	vsnprintf(text, sizeof(text), format, words);
	va_end(words);
	put_escaped(key);
	putchar('\t');
	put_escaped(text);
	putchar('\n');
}

static void say_result(const char *key, long result)
{
	if (result < 0)
		say(key, "%s", error_name());
	else
		say(key, "%ld", result);
}

static void say_file_status(const char *key, const char *path)
{
	char target[4096];
	struct stat st;

	if (lstat(path, &st)) {
		say(key, "%s", error_name());
		return;
	}
	if (S_ISLNK(st.st_mode)) {
		long length = readlink(path, target, sizeof(target) - 1);
		target[length < 0 ? 0 : length] = 0;
		say(key, "link %s", target);
	} else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
		say(key, "%c %u:%u %04o %u:%u", S_ISCHR(st.st_mode) ? 'c' : 'b', major(st.st_rdev),
		    minor(st.st_rdev), st.st_mode & 07777, st.st_uid, st.st_gid);
	} else {
		say(key, "%s %04o %u:%u",
		    S_ISDIR(st.st_mode) ? "directory"
		    : S_ISREG(st.st_mode) ? "file"
		    : S_ISFIFO(st.st_mode) ? "fifo" : "socket",
		    st.st_mode & 07777, st.st_uid, st.st_gid);
	}
}

static void walk(const char *path, int depth)
{
	char key[4096 + 8], child[4096];
	struct dirent *entry;
	struct stat st;
	DIR *directory;

	snprintf(key, sizeof(key), "file:%s", path);
	say_file_status(key, path);
	if (depth == 0 || lstat(path, &st) || !S_ISDIR(st.st_mode))
		return;
	directory = opendir(path);
	if (!directory) {
		snprintf(key, sizeof(key), "list:%s", path);
		say(key, "%s", error_name());
		return;
	}
	while ((entry = readdir(directory))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(child, sizeof(child), "%s%s%s", path, path[1] ? "/" : "", entry->d_name);
		walk(child, depth - 1);
	}
	closedir(directory);
}

static void say_open(const char *what, const char *path, int flags)
{
	char key[4096 + 16];
	int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	snprintf(key, sizeof(key), "%s:%s", what, path);
	say(key, "%s", fd < 0 ? error_name() : "ok");
	if (fd >= 0)
		close(fd);
}

static void read_it(const char *path)
{
	char key[4096 + 16], text[4096];
	long length;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	snprintf(key, sizeof(key), "text:%s", path);
	if (fd < 0) {
		say(key, "%s", error_name());
		return;
	}
	length = read(fd, text, sizeof(text) - 1);
	if (length < 0) {
		say(key, "%s", error_name());
	} else {
		text[length] = 0;
		say(key, "= %s", text);
	}
	close(fd);
}

/* What a path lets one do: be listed, be read, be written, hold a new file. */
static void try_it(const char *path)
{
	char key[4096 + 16], text[64], child[4096 + 16];
	struct stat st;
	int fd;

	snprintf(key, sizeof(key), "file:%s", path);
	say_file_status(key, path);
	if (stat(path, &st))
		return;
	if (!S_ISDIR(st.st_mode)) {
		say_open("write", path, O_WRONLY);
		fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		snprintf(key, sizeof(key), "bytes:%s", path);
		if (fd < 0) {
			say(key, "%s", error_name());
			return;
		}
		say(key, "%s", read(fd, text, 1) > 0 ? "some" : "none");
		close(fd);
		return;
	}
	int entries = 0;
	DIR *directory = opendir(path);
	while (directory && readdir(directory))
		entries++;
	if (directory)
		closedir(directory);
	snprintf(key, sizeof(key), "entries:%s", path);
	say(key, "%s", !directory ? error_name() : entries > 2 ? "some" : "none");
	snprintf(child, sizeof(child), "%s/new", path);
	fd = open(child, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	snprintf(key, sizeof(key), "new:%s", path);
	say(key, "%s", fd < 0 ? error_name() : "ok");
	if (fd >= 0) {
		close(fd);
		unlink(child);
	}
}

static void answer(void)
{
	char line[4096];
	FILE *asked = fopen("/ask", "re");

	if (!asked) {
		say("ask", "%s", error_name());
		return;
	}
	while (fgets(line, sizeof(line), asked)) {
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "try ", 4))
			try_it(line + 4);
		else if (!strncmp(line, "read ", 5))
			read_it(line + 5);
		else if (!strncmp(line, "walk ", 5))
			walk(line + 5, 3);
	}
	fclose(asked);
}

static void attributes(void)
{
	char where[4096];
	struct utsname names;
	unsigned long mask[128] = { 0 };
	int mode = -1;
	unsigned int ids[3];
	gid_t groups[64];

	if (syscall(SYS_getcwd, where, sizeof(where)) < 0)
		say("cwd", "%s", error_name());
	else
		say("cwd", "%s", where);
	uname(&names);
	say("hostname", "%s", names.nodename);
	say("domainname", "%s", names.domainname);
	say("machine", "%s", names.machine);
	getresuid(&ids[0], &ids[1], &ids[2]);
	say("uid", "%u %u %u", ids[0], ids[1], ids[2]);
	getresgid(&ids[0], &ids[1], &ids[2]);
	say("gid", "%u %u %u", ids[0], ids[1], ids[2]);
	int count = getgroups(64, groups);
	where[0] = 0;
	for (int i = 0; i < count; i++)
		sprintf(where + strlen(where), "%u ", groups[i]);
	say("groups", "%s", where);
	say("pid", "%d", getpid());
	say("ppid", "%d", getppid());
	say("pgid", "%d", getpgid(0));
	say("sid", "%d", getsid(0));
	say_result("dumpable", prctl(PR_GET_DUMPABLE));
	say_result("securebits", prctl(PR_GET_SECUREBITS));
	say_result("keepcaps", prctl(PR_GET_KEEPCAPS));
	say_result("timerslack", prctl(PR_GET_TIMERSLACK));
	say_result("thp_disable", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	say_result("tid_address", prctl(PR_GET_TID_ADDRESS, where) == 0);
	say_result("mce_kill", prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
	say_result("io_flusher", prctl(57 /* PR_GET_IO_FLUSHER */, 0, 0, 0, 0));
	prctl(PR_GET_PDEATHSIG, &mode);
	say("pdeathsig", "%d", mode);
	prctl(PR_GET_CHILD_SUBREAPER, &mode);
	say("subreaper", "%d", mode);
	say("personality", "%x", (unsigned)syscall(SYS_personality, 0xffffffffUL));
	say_result("nice", 20 - syscall(SYS_getpriority, PRIO_PROCESS, 0));
	say_result("ioprio", syscall(SYS_ioprio_get, 1, 0));
	say_result("policy", sched_getscheduler(0));
	mode = -1;
	if (syscall(SYS_get_mempolicy, &mode, mask, sizeof(mask) * 8, 0, 0))
		say("mempolicy", "%s", error_name());
	else
		say("mempolicy", "%d %lx", mode, mask[0]);
	say("secure", "%lu", getauxval(AT_SECURE));
	const char *program = (const char *)getauxval(AT_EXECFN);
	say("execfn", "%s", program ? program : "none");
	/* KEYCTL_DESCRIBE of KEY_SPEC_SESSION_KEYRING, KEY_SPEC_USER_SESSION_KEYRING */
	long length = syscall(SYS_keyctl, 6, -3, where, sizeof(where));
	say("keyring", "%s", length < 0 ? error_name() : where);
	long session = syscall(SYS_keyctl, 0, -3, 0), user = syscall(SYS_keyctl, 0, -5, 0);
	say("keyring.is_of_user", "%s", session < 0 ? "none" : session == user ? "yes" : "no");
}

static void descriptors(void)
{
	char key[32], link[64], target[4096];
	struct stat st;

	for (int fd = 0; fd < 1024; fd++) {
		int flags = fcntl(fd, F_GETFD);
		if (flags < 0)
			continue;
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		long length = readlink(link, target, sizeof(target) - 1);
		target[length < 0 ? 0 : length] = 0;
		fstat(fd, &st);
		snprintf(key, sizeof(key), "fd:%d", fd);
		say(key, "%s %s %o %u:%u", target, flags ? "cloexec" : "open",
		    fcntl(fd, F_GETFL), st.st_uid, st.st_gid);
	}
}

static void terminal(void)
{
	struct termios modes;
	struct winsize size = { 0 };
	char name[256] = "";

	say("tty", "%d", isatty(0));
	if (tcgetattr(0, &modes))
		return;
	say("tty.modes", "%x %x %x %x", modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag);
	ioctl(0, TIOCGWINSZ, &size);
	say("tty.size", "%u %u", size.ws_row, size.ws_col);
	say("tty.name", "%s", ttyname_r(0, name, sizeof(name)) ? error_name() : name);
	say("tty.foreground", "%d", tcgetpgrp(0) == getpgid(0));
	say_open("open", "/dev/tty", O_RDWR);
	say_file_status("tty.file", "/dev/pts/0");
	say_file_status("tty.console", "/dev/console");
}

static void network(void)
{
	struct if_nameindex *all = if_nameindex();
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char key[64];

	for (int i = 0; all && all[i].if_index; i++) {
		struct ifreq asked = { 0 };
		snprintf(key, sizeof(key), "net:%s", all[i].if_name);
		strncpy(asked.ifr_name, all[i].if_name, IFNAMSIZ - 1);
		ioctl(fd, SIOCGIFFLAGS, &asked);
		int flags = asked.ifr_flags;
		const char *address = "none";
		if (!ioctl(fd, SIOCGIFADDR, &asked))
			address = inet_ntoa(((struct sockaddr_in *)&asked.ifr_addr)->sin_addr);
		say(key, "%s %s", flags & IFF_UP ? "up" : "down", address);
	}
	close(fd);
}

static void calls(void)
{
	char code[] = { 0 };

	say_result("call:unshare", syscall(SYS_unshare, 0));
	say_result("call:clone3", syscall(SYS_clone3, 0, 0));
	say_result("call:keyctl", syscall(SYS_keyctl, 999, 0, 0, 0, 0));
	say_result("call:bpf", syscall(SYS_bpf, 999, 0, 0));
	say_result("call:io_uring", syscall(SYS_io_uring_setup, 0, 0));
	say_result("call:alg", syscall(SYS_socket, 38, 5, 0));
	say_result("call:acct", syscall(SYS_acct, "/nowhere"));
	say_result("call:chroot", syscall(SYS_chroot, "/nowhere"));
	say_result("call:ptrace", syscall(SYS_ptrace, 9999, 0, 0, 0));
	say_result("call:getpriority", syscall(SYS_getpriority, 99, 0));
	say_result("call:swapoff", syscall(SYS_swapoff, "/nowhere"));
	say_result("call:unknown", syscall(2000, 0));
	say_result("call:mount", syscall(SYS_mount, code, "/nowhere", code, 0, 0));
	say_result("call:setns", syscall(SYS_setns, -1, 0));
}

/* What the device rules let be made and opened, beside what lies in /dev. */
static void devices(void)
{
	static const struct { const char *name; int type, major, minor; } nodes[] = {
		{ "null", S_IFCHR, 1, 3 }, { "fuse", S_IFCHR, 10, 229 }, { "mem", S_IFCHR, 1, 1 },
		{ "kmsg", S_IFCHR, 1, 11 }, { "tun", S_IFCHR, 10, 200 }, { "loop", S_IFBLK, 7, 0 },
		{ "pts", S_IFCHR, 136, 99 }, { "console", S_IFCHR, 5, 1 }, { "ptmx", S_IFCHR, 5, 2 },
	};
	char key[64], path[64];

	for (unsigned i = 0; i < sizeof(nodes) / sizeof(*nodes); i++) {
		snprintf(path, sizeof(path), "/node-%s", nodes[i].name);
		snprintf(key, sizeof(key), "mknod:%s", nodes[i].name);
		int made = mknod(path, nodes[i].type | 0600, makedev(nodes[i].major, nodes[i].minor));
		say(key, "%s", made ? error_name() : "ok");
		if (!made) {
			say_open("open-read", path, O_RDONLY);
			say_open("open-write", path, O_WRONLY);
			unlink(path);
		}
	}
}

int main(int argc, char **argv)
{
	char input[1];

	setvbuf(stdout, 0, _IOFBF, 1 << 16);
	for (int i = 0; i < argc; i++)
		say("argument", "%s", argv[i]);
	descriptors();
	attributes();
	terminal();
	network();
	walk("/dev", 3);
	devices();
	calls();
	answer();
	say("end", "");
	fflush(stdout);
	while (read(0, input, 1) > 0 && *input != '\n')
		;
	return 7;
}
