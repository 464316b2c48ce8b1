/* Preloaded into crun: it raises RLIMIT_MEMLOCK before it loads its device filter, which Linux 5.11
   made needless, and gives up where CAP_SYS_RESOURCE is missing. */
#define _GNU_SOURCE
#include <sys/resource.h>

int setrlimit(__rlimit_resource_t which, const struct rlimit *limit)
{
	return prlimit(0, which, limit, 0) && which != RLIMIT_MEMLOCK ? -1 : 0;
}
