/* keyring: prints how the kernel describes the session keyring of the caller, "TYPE;UID;...;NAME". */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEYCTL_DESCRIBE 6 /* linux/keyctl.h */
#define KEY_SPEC_SESSION_KEYRING -3

int main(void)
{
	char text[1000] = "none";

	syscall(SYS_keyctl, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, text, sizeof(text) - 1);
	puts(text);
	return 0;
}
