/* flip ONE OTHER: exchange the two names for ever, as a hostile container does on a shared volume.
   It ends with the test that started it. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

int main(int argc, char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc != 3)
		return 2;
	while (renameat2(-100, argv[1], -100, argv[2], RENAME_EXCHANGE) == 0)
		;
	perror("renameat2");
	return 1;
}
