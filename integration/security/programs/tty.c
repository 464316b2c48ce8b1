/* tty: what can be done to the terminal on fd 0: "sti ERRNO" for TIOCSTI (a byte typed for the
   person at the terminal), "tty ERRNO" for opening /dev/tty. 0 = it worked. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>

int main(void)
{
	char byte = '#';
	int typed = ioctl(0, TIOCSTI, &byte) ? errno : 0;
	int opened = open("/dev/tty", O_RDWR) < 0 ? errno : 0;
	printf("sti %d tty %d END\n", typed, opened);
	return 0;
}
