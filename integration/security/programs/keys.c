/* keys hold PROGRAM...: join a new session keyring, put a key "secret" into it, become PROGRAM.
   keys find: print the errno with which the key "secret" is not found, 0 if it is. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "hold")) {
		syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
		syscall(SYS_add_key, "user", "secret", "text", 4, KEY_SPEC_SESSION_KEYRING);
		execv(argv[2], argv + 2);
		return 127;
	}
	long found = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", "secret", 0);
	printf("%d\n", found < 0 ? errno : 0);
	return 0;
}
