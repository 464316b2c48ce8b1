/* watch [ptrace]: run in a container, look at every other process through /proc, for ever.

   Whatever leads to a file or directory of another file system than the own root is reported, one
   line each, in /findings: root, cwd, exe and descriptors (CVE-2016-9962), and an exe that can be
   opened for writing later on (CVE-2019-5736); nothing is ever written to one. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HELD = 256, LINES = 64 };

static dev_t own;
static int held[HELD], holding, findings;
static char seen[LINES][256];
static int lines;

static void report(const char *what, const char *link)
{
	char line[256];
	snprintf(line, sizeof(line), "%s %s\n", what, link);
	for (int i = 0; i < lines; i++)
		if (!strcmp(seen[i], line))
			return;
	if (lines == LINES)
		return;
	strcpy(seen[lines++], line);
	if (write(findings, line, strlen(line)) < 0)
		exit(1);
}

/* Does the link lead to a file or directory outside? */
static int leads_out(const char *path, char *link, size_t size)
{
	struct stat found;
	ssize_t length = readlink(path, link, size - 1);
	if (length < 0)
		return 0;
	link[length] = 0;
	if (!strncmp(link, "/memfd:", 7) || !strcmp(link, "/dev/null"))
		return 0;
	return stat(path, &found) == 0 && found.st_dev != own &&
	       (S_ISREG(found.st_mode) || S_ISDIR(found.st_mode));
}

static void look(const char *pid, int fresh)
{
	static const char *const names[] = { "root", "cwd", "exe" };
	char path[600], link[200];

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "/proc/%s/%s", pid, names[i]);
		if (leads_out(path, link, sizeof(link)))
			report(names[i], link);
	}
	snprintf(path, sizeof(path), "/proc/%s/exe", pid);
	if (fresh && leads_out(path, link, sizeof(link))) {
		int fd = open(path, O_PATH);
		if (fd >= 0) {
			int *slot = &held[holding++ % HELD];
			if (*slot)
				close(*slot);
			*slot = fd;
		}
	}
	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	DIR *fds = opendir(path);
	if (!fds)
		return;
	for (struct dirent *one; (one = readdir(fds));) {
		if (!isdigit(one->d_name[0]) || atoi(one->d_name) < 3)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, one->d_name);
		if (leads_out(path, link, sizeof(link)))
			report("fd", link);
	}
	closedir(fds);
}

static void seize(const char *pid)
{
	char path[600], link[200];
	int status;

	if (ptrace(PTRACE_SEIZE, atoi(pid), 0, 0))
		return;
	snprintf(path, sizeof(path), "/proc/%s/exe", pid);
	if (leads_out(path, link, sizeof(link)))
		report("ptrace", link);
	ptrace(PTRACE_INTERRUPT, atoi(pid), 0, 0);
	waitpid(atoi(pid), &status, __WALL);
	ptrace(PTRACE_DETACH, atoi(pid), 0, 0);
}

static void try_to_write(void)
{
	char path[600], link[200];

	for (int i = 0; i < HELD; i++) {
		if (!held[i])
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", held[i]);
		int fd = open(path, O_WRONLY);
		if (fd < 0)
			continue;
		ssize_t length = readlink(path, link, sizeof(link) - 1);
		link[length < 0 ? 0 : length] = 0;
		report("writable", link);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	struct stat root;
	int last = 0, traces = argc > 1 && !strcmp(argv[1], "ptrace");
	char self[16];

	snprintf(self, sizeof(self), "%d", getpid());
	findings = open("/findings", O_WRONLY | O_CREAT | O_APPEND, 0666);
	if (findings < 0 || stat("/", &root))
		return 1;
	own = root.st_dev;
	puts("ready");
	fclose(stdout);
	for (int turn = 0;; turn++) {
		DIR *proc = opendir("/proc");
		int most = last;
		for (struct dirent *one; (one = readdir(proc));) {
			if (!isdigit(one->d_name[0]) || !strcmp(one->d_name, self))
				continue;
			int pid = atoi(one->d_name);
			look(one->d_name, pid > last);
			if (traces && pid > last)
				seize(one->d_name);
			if (pid > most)
				most = pid;
		}
		closedir(proc);
		last = most;
		if (turn % 64 == 0)
			try_to_write();
		while (waitpid(-1, 0, WNOHANG) > 0)
			;
	}
}
