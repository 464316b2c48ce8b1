/* A program or, with -DLIBRARY -shared, a library that leaves a marker in its root when it runs. */
#include <fcntl.h>
#include <unistd.h>

#ifdef LIBRARY
__attribute__((constructor))
#endif
static void trap(void)
{
	close(open("/marker-" NAME, O_CREAT | O_WRONLY, 0666));
}

#ifndef LIBRARY
int main(void)
{
	trap();
	return 77;
}
#endif
