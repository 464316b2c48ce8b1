/* tree ls DIR [SKIPPED...]: prints each file below DIR as the caller sees it, one line each, sorted:
     PATH KIND MODE UID:GID SIZE|MAJOR:MINOR MTIME CONTENT|TARGET FIRST-NAME NAME=VALUE...
   Mount points and the skipped paths (relative to DIR) are left out with what is below them.
   tree xattr PATH NAME HEX: sets an extended attribute. tree mknod PATH MAJOR MINOR; tree socket PATH */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

static char **skipped;
static size_t top_length;
static struct seen {
	dev_t dev;
	ino_t ino;
	char *path;
} *seen;
static size_t count;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void print(const char *text, size_t length)
{
	if (!length)
		putchar('-');
	for (size_t i = 0; i < length; i++) {
		unsigned char c = text[i];

		if (c > 32 && c < 127 && c != '\\')
			putchar(c);
		else
			printf("\\%02x", c);
	}
}

static const char *first_name(const struct stat *st, const char *path)
{
	if (st->st_nlink < 2)
		return path;
	for (size_t i = 0; i < count; i++)
		if (seen[i].dev == st->st_dev && seen[i].ino == st->st_ino)
			return seen[i].path;
	seen = realloc(seen, (count + 1) * sizeof(*seen));
	if (!seen)
		fail("realloc");
	seen[count++] = (struct seen){st->st_dev, st->st_ino, strdup(path)};
	return path;
}

/* FNV-1a, 64 bits. */
static void print_content(const char *path)
{
	static unsigned char buffer[1 << 16];
	uint64_t hash = 0xcbf29ce484222325u;
	int fd = open(path, O_RDONLY | O_NOFOLLOW);
	ssize_t got;

	if (fd < 0)
		fail(path);
	while ((got = read(fd, buffer, sizeof(buffer))) > 0)
		for (ssize_t i = 0; i < got; i++)
			hash = (hash ^ buffer[i]) * 0x100000001b3u;
	if (got < 0)
		fail(path);
	close(fd);
	printf("%016llx", (unsigned long long)hash);
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_xattrs(const char *path)
{
	static char names[65536], value[65536];
	char *list[1024];
	size_t n = 0;
	ssize_t length = llistxattr(path, names, sizeof(names));

	if (length < 0 && errno != EOPNOTSUPP)
		fail(path);
	for (ssize_t at = 0; at < length && n < 1024; at += strlen(names + at) + 1)
		list[n++] = names + at;
	qsort(list, n, sizeof(*list), by_bytes);
	for (size_t i = 0; i < n; i++) {
		ssize_t size = lgetxattr(path, list[i], value, sizeof(value));

		if (size < 0)
			fail(list[i]);
		putchar(' ');
		print(list[i], strlen(list[i]));
		putchar('=');
		print(value, size);
	}
}

static int is_left_out(const char *path)
{
	struct statx stx;

	for (char **one = skipped; *one; one++)
		if (!strcmp(path + top_length, *one))
			return 1;
	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stx))
		fail(path);
	return path[top_length] && (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static void show(const char *path)
{
	struct stat st;
	char target[4097];
	const char *relative = path[top_length] ? path + top_length : ".";
	ssize_t length;

	if (is_left_out(path))
		return;
	if (lstat(path, &st))
		fail(path);
	print(relative, strlen(relative));
	printf(" %c %04o %u:%u ", "?pc?d?b?-?l?s???"[(st.st_mode & S_IFMT) >> 12],
	       st.st_mode & 07777, st.st_uid, st.st_gid);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		printf("%u:%u ", major(st.st_rdev), minor(st.st_rdev));
	else
		printf("%lld ", S_ISREG(st.st_mode) ? (long long)st.st_size : 0LL);
	/* Making the mount points inside changes the time of a directory. */
	if (S_ISDIR(st.st_mode))
		printf("- ");
	else
		printf("%lld.%09ld ", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	if (S_ISREG(st.st_mode))
		print_content(path);
	else if (S_ISLNK(st.st_mode)) {
		length = readlink(path, target, sizeof(target));
		if (length < 0)
			fail(path);
		print(target, length);
	} else
		putchar('-');
	putchar(' ');
	/* Of other files than regular ones an image has no two names. */
	relative = S_ISREG(st.st_mode) ? first_name(&st, relative) : relative;
	print(relative, strlen(relative));
	print_xattrs(path);
	putchar('\n');
	if (S_ISDIR(st.st_mode)) {
		struct dirent **found;
		int n = scandir(path, &found, NULL, NULL);
		char **names;

		if (n < 0)
			fail(path);
		names = malloc((n + 1) * sizeof(*names));
		for (int i = 0; i < n; i++)
			names[i] = found[i]->d_name;
		qsort(names, n, sizeof(*names), by_bytes);
		for (int i = 0; i < n; i++) {
			char *below;

			if (!strcmp(names[i], ".") || !strcmp(names[i], ".."))
				continue;
			if (asprintf(&below, "%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/",
				     names[i]) < 0)
				fail("asprintf");
			show(below);
			free(below);
		}
		for (int i = 0; i < n; i++)
			free(found[i]);
		free(found);
		free(names);
	}
}

static int set_xattr(const char *path, const char *name, const char *hex)
{
	unsigned char value[4096];
	size_t length = strlen(hex) / 2;
	unsigned int byte;

	for (size_t i = 0; i < length && i < sizeof(value); i++) {
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return 2;
		value[i] = byte;
	}
	if (lsetxattr(path, name, value, length, 0))
		fail(name);
	return 0;
}

static int make_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)))
		fail(path);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "ls")) {
		skipped = argv + 3;
		top_length = strlen(argv[2]) + (argv[2][strlen(argv[2]) - 1] != '/');
		if (argv[2][strlen(argv[2]) - 1] != '/' && asprintf(&argv[2], "%s/", argv[2]) < 0)
			fail("asprintf");
		show(argv[2]);
		return 0;
	}
	if (argc == 5 && !strcmp(argv[1], "xattr"))
		return set_xattr(argv[2], argv[3], argv[4]);
	if (argc == 5 && !strcmp(argv[1], "mknod")) {
		if (mknod(argv[2], S_IFCHR | 0600, makedev(atoi(argv[3]), atoi(argv[4]))))
			fail(argv[2]);
		return 0;
	}
	if (argc == 3 && !strcmp(argv[1], "socket"))
		return make_socket(argv[2]);
	fprintf(stderr, "tree: bad arguments\n");
	return 2;
}
