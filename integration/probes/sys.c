/* sys NAME...: tries system calls and prints for each "NAME ERRNO" (0 = success), in order.
   A "kill" action of a filter ends it, so that what follows is not printed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static long try_one(const char *name)
{
	if (!strcmp(name, "getpriority"))
		return syscall(SYS_getpriority, 0, 0);
	if (!strcmp(name, "getpriority1"))
		return syscall(SYS_getpriority, 1, 0);
	if (!strcmp(name, "getpriority2"))
		return syscall(SYS_getpriority, 2, 0);
	if (!strcmp(name, "umask"))
		return syscall(SYS_umask, 022);
	if (!strcmp(name, "mkdirat"))
		return syscall(SYS_mkdirat, AT_FDCWD, "/tmp/made", 0755);
	if (!strcmp(name, "personality"))
		return syscall(SYS_personality, 0xffffffffUL);
	if (!strcmp(name, "personality8"))
		return syscall(SYS_personality, 8UL) < 0 ? -1 : syscall(SYS_personality, 0UL);
	if (!strcmp(name, "unshare"))
		return syscall(SYS_unshare, 0);
	if (!strcmp(name, "getcpu"))
		return syscall(SYS_getcpu, 0, 0, 0);
	if (!strcmp(name, "alg")) /* AF_ALG: CVE-2026-31431 */
		return syscall(SYS_socket, 38, 5, 0);
	if (!strcmp(name, "sched_yield"))
		return syscall(SYS_sched_yield);
	errno = 9999;
	return -1;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, 0, _IONBF, 0);
	for (int i = 1; i < argc; i++) {
		errno = 0;
		long result = try_one(argv[i]);
		printf("%s %d\n", argv[i], result < 0 ? errno : 0);
	}
	return 0;
}
