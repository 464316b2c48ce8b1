/* calls NAME...: make system calls by 64-bit and by 32-bit entry (int $0x80), with harmless
   arguments; prints "NAME 64 ERRNO" and "NAME 32 ERRNO" (0 = success). x86-64 only; build it
   without PIE, so that pointers fit into 32 bits. "NAME 32 killed" when the filter kills. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned narrow[2][3] = { { 38, 5, 0 }, { 40, 1, 0 } };

static const struct {
	const char *name;
	int wide, narrow;
	long a, b, c;
} table[] = {
	{ "unix", 41, 359, 1, 1, 0 },
	{ "alg", 41, 359, 38, 5, 0 },
	{ "vsock", 41, 359, 40, 1, 0 },
	{ "socketcall-alg", -1, 102, 1, 0, 0 },
	{ "socketcall-vsock", -1, 102, 1, 1, 0 },
	{ "unshare", 272, 310, 0x10000000, 0, 0 }, /* CLONE_NEWUSER */
	{ "mount", 165, 21, 0, 0, 0 },
	{ "fsopen", 430, 430, 0, 0, 0 },
	{ "io_uring_setup", 425, 425, 1, 0, 0 },
	{ "keyctl", 250, 288, 0, -3, 0 },
	{ "bpf", 321, 357, 0, 0, 0 },
	{ "userfaultfd", 323, 374, 0, 0, 0 },
	{ "getpid", 39, 20, 0, 0, 0 },
};

static long by_32(long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(a), "c"(b), "d"(c)
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}

static long try_one(int i, int wide)
{
	long b = table[i].b;
	if (wide) {
		long result = syscall(table[i].wide, table[i].a, b, table[i].c);
		return result < 0 ? errno : 0;
	}
	if (table[i].narrow == 102)
		b = (long)narrow[b];
	long result = by_32(table[i].narrow, table[i].a, b, table[i].c);
	return result < 0 ? -result : 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, 0, _IONBF, 0);
	for (int at = 1; at < argc; at++)
		for (int i = 0; i < (int)(sizeof(table) / sizeof(*table)); i++)
			for (int wide = 1; wide >= 0; wide--) {
				int status;
				if (strcmp(argv[at], table[i].name) || (wide && table[i].wide < 0))
					continue;
				pid_t child = fork();
				if (!child)
					_exit(try_one(i, wide));
				waitpid(child, &status, 0);
				printf("%s %d ", table[i].name, wide ? 64 : 32);
				if (WIFSIGNALED(status))
					puts("killed");
				else
					printf("%d\n", WEXITSTATUS(status));
			}
	return 0;
}
