/*
 * The stub: what container init becomes while it waits for `start` (architecture.md 5).
 *
 * It waits, closes what the program must not get, installs the seccomp filter, executes the
 * program, and reports why if that fails.  Everything else was done before, by init.
 *
 * Freestanding and static, because the rootfs is hostile (nothing of it may be loaded) and the
 * memory is charged to the container (one page of code, two of stack).  It is started from a
 * sealed memfd, so that /proc/self/exe is no program of the host (CVE-2019-5736).
 *
 *   argv[0]   "aisbx-stub"
 *   argv[1]   KIND,FD,FILTER_FD,FILTER_FLAGS,KEEP,CARRIED,CHANNEL
 *             KIND 0: FD is a listening unix stream socket, the first connection is taken
 *             KIND 1: FD is a connected socket
 *             KIND 3: as 1, and at the first 'g' it forks into the pid namespace that is set for its
 *             children: the new process, a child of our parent, waits for a second 'g'. We say
 *             "pid PID" and end, so that nobody in there ever sees a process that was python.
 *             KIND 7: as 3, and standard input becomes the terminal of the new process's session
 *             KIND + 8: with the last 'g' comes a descriptor of the directory of our LSM attributes
 *             on either connection the byte 'g' is the start, EOF ends the stub: a `start` that
 *             is killed before it has said so has not started anything
 *             FILTER_FD: a file that holds the array of struct sock_filter, or -1
 *             FILTER_FLAGS: those of seccomp(2); KEEP: how many descriptors after 2 are kept
 *             CARRIED: a mask of the capabilities 0 to 31 that we were given to execute the program
 *             with, as ambient and inheritable ones; the program does not have them from us
 *             CHANNEL: the socket of create, which is told that we have come to run, or -1: a limit of
 *             the process may have made our execve fatal, and the mere end of the socket says nothing
 *   argv[2]   the absolute path of the program
 *   argv[3]   what is written to `exec` in that directory: the label of the program
 *   argv[4..] the program's argv; the environment is the program's
 *
 * On the connection: "SYSCALL ERRNO" (such as "execve 8", or "label 2") and exit status 1 if the
 * program could not be started, nothing but the end of the stream if it runs.
 */
#include <asm/errno.h>
#include <asm/ioctls.h>
#include <asm/signal.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>

enum { NOT_FOR_YOU = 125, LAST_SIGNAL = 64 };
enum { CONNECTED = 1, FORKS = 2, HAS_TERMINAL = 4, LABELLED = 8 };
enum { SOL_SOCKET = 1, SCM_RIGHTS = 1, MSG_CMSG_CLOEXEC = 0x40000000,
       MSG_NOSIGNAL = 0x4000 };

/* recvmsg(2), cmsg(3): the kernel's headers leave them to the C library. */
struct piece {
	void *start;
	unsigned long size;
};
struct descriptor {
	unsigned long size;
	int level, type, fd;
};
struct message {
	void *name;
	int name_size;
	struct piece *pieces;
	unsigned long count;
	void *control;
	unsigned long control_size;
	unsigned flags;
};

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall stub\n");

/* A fifth and a sixth argument are 0: sendto(2) takes that for no address. */
static long kernel(long number, long a, long b, long c, long d)
{
	register long fourth __asm__("r10") = d;
	register long fifth __asm__("r8") = 0;
	register long sixth __asm__("r9") = 0;
	long result;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
			 : "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tbl stub\n");

static long kernel(long number, long a, long b, long c, long d)
{
	register long nr __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = 0;
	register long x5 __asm__("x5") = 0;
	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(nr), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#else
#error "the stub knows x86-64 and aarch64 only"
#endif

static _Noreturn void leave(int status)
{
	kernel(__NR_exit_group, status, 0, 0, 0);
	for (;;) /* the filter may refuse exit_group; SIGILL or SIGTRAP ends us nevertheless */
		__builtin_trap();
}

static void on_signal(int signal)
{
	leave(128 + signal);
}

/* A stop or a continue can interrupt these calls: signal(7), "Interruption of system calls". */
static long patiently(long number, long a, long b, long c, long d)
{
	long result;
	do
		result = kernel(number, a, b, c, d);
	while (result == -EINTR);
	return result;
}

static void tell(int connection, const char *word, long number)
{
	char report[32], digits[12];
	unsigned length = 0, count = 0;

	while (*word)
		report[length++] = *word++;
	report[length++] = ' ';
	do
		digits[count++] = '0' + number % 10;
	while (number /= 10);
	while (count)
		report[length++] = digits[--count];
	patiently(__NR_write, connection, (long)report, length, 0);
}

static _Noreturn void fail(int connection, const char *call, long error)
{
	tell(connection, call, error);
	leave(1);
}

/* Read a decimal number that ends in `end` and step over both; anything else is no call of ours. */
static int number_of(const char **text, char end)
{
	const char *at = *text;
	int sign = 1, value = 0, digits = 0;

	if (*at == '-')
		sign = -1, at++;
	for (; *at >= '0' && *at <= '9' && digits < 9; at++, digits++)
		value = value * 10 + (*at - '0');
	if (!digits || *at != end)
		leave(NOT_FOR_YOU);
	*text = at + 1;
	return sign * value;
}

static int same(const char *left, const char *right)
{
	while (*left && *left == *right)
		left++, right++;
	return *left == *right;
}

/*
 * pid_namespaces(7): a signal without a handler never reaches the first process of a pid
 * namespace, so `kill` of a created container needs handlers.  execve turns each of them into
 * the default action, which also undoes what init inherited as ignored (SIGPIPE from python).
 */
static void take_signals(void)
{
	struct sigaction leaves = { .sa_handler = on_signal, .sa_flags = SA_RESTORER };
	struct sigaction standard = { .sa_handler = SIG_DFL };
	unsigned long none = 0;

	/* x86-64 insists on a restorer; on_signal does not return, so none is ever run. */
	for (int n = 1; n <= LAST_SIGNAL; n++) {
		int harmless = n == SIGCHLD || n == SIGCONT || n == SIGURG || n == SIGWINCH ||
			       n == SIGTSTP || n == SIGTTIN || n == SIGTTOU;
		kernel(__NR_rt_sigaction, n, (long)(harmless ? &standard : &leaves), 0,
		       sizeof(sigset_t));
	}
	/* Only now: what was sent while init had it blocked is answered here, not lost. */
	kernel(__NR_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, sizeof(none));
}

/* Tell create that we run, in a message of its channel. It waits for nothing else. */
static void tell_create(int channel, int needs_descriptor, int fd)
{
	static const char message[] = "{\"type\": \"stub\"}";

	/* accept4 would fail, and nobody would hear of it: RLIMIT_NOFILE. */
	if (needs_descriptor) {
		long spare = kernel(__NR_dup, fd, 0, 0, 0);
		if (spare == -EMFILE)
			leave(1);
		if (spare >= 0)
			kernel(__NR_close, spare, 0, 0, 0);
	}
	patiently(__NR_sendto, channel, (long)message, sizeof(message) - 1, MSG_NOSIGNAL);
	kernel(__NR_close, channel, 0, 0, 0);
}

/* Wait for the start; return the descriptor that came with it, or -1. */
static int wait_for_start(int connection, int labelled)
{
	char go = 0;
	struct piece piece = { &go, 1 };
	struct descriptor came = { .fd = -1 };
	struct message message = { .pieces = &piece,
				   .count = 1,
				   .control = &came,
				   .control_size = sizeof(came) };
	long length = labelled ? patiently(__NR_recvmsg, connection, (long)&message,
					   MSG_CMSG_CLOEXEC, 0)
			       : patiently(__NR_read, connection, (long)&go, 1, 0);

	if (length != 1 || go != 'g')
		leave(1); /* the runtime is gone: nobody is left to report to */
	if (came.level != SOL_SOCKET || came.type != SCM_RIGHTS)
		return -1;
	return came.fd;
}

/* Go on as the new process. What was set for us it has from us: clone(2). */
static int fork_inside(int connection, int kind)
{
	/* CLONE_PARENT: the runtime is to wait for it, and the engine after the runtime. */
	long pid = kernel(__NR_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0);
	long result;
	int attributes;

	if (pid < 0)
		fail(connection, "clone", -pid);
	if (pid > 0) {
		tell(connection, "pid", pid);
		leave(0);
	}
	/* First, so that nothing is said between the pid and the second start. */
	attributes = wait_for_start(connection, kind & LABELLED);
	/* The session of our parent has ended with it: its terminal would have been hung up. */
	result = kernel(__NR_setsid, 0, 0, 0, 0);
	if (result < 0)
		fail(connection, "setsid", -result);
	if (kind & HAS_TERMINAL) {
		result = kernel(__NR_ioctl, 0, TIOCSCTTY, 0, 0);
		if (result < 0)
			fail(connection, "ioctl", -result);
	}
	return attributes;
}

/*
 * The label is that of the program, from its execve on, and not ours: a profile need not let us
 * run, nor talk to the runtime.  proc_pid_attr(5): only a process itself may write it.
 */
static void set_label(int connection, int attributes, const char *label)
{
	long size = 0;
	long result = kernel(__NR_openat, attributes, (long)"exec", O_WRONLY | O_CLOEXEC, 0);

	while (label[size])
		size++;
	if (result >= 0)
		result = patiently(__NR_write, result, (long)label, size, 0);
	if (result < 0)
		fail(connection, "label", -result);
}

/*
 * execve(2) takes from a user what is not ambient, and has taken it from us: what the user may
 * execute by CAP_DAC_OVERRIDE comes with us as ambient.  Never inheritable beyond (CVE-2022-29162);
 * what is no longer inheritable is no longer ambient: capabilities(7).
 */
static void give_up(int connection, unsigned carried)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2];
	long result = kernel(__NR_capget, (long)&header, (long)sets, 0, 0);

	if (result >= 0) {
		sets[0].inheritable &= ~carried;
		result = kernel(__NR_capset, (long)&header, (long)sets, 0, 0);
	}
	if (result < 0)
		fail(connection, "capset", -result);
}

static void install_filter(int connection, int filter_fd, int flags)
{
	struct sock_filter filter[BPF_MAXINSNS + 1]; /* one more: too long is seen, not cut off */
	struct sock_fprog program = { .filter = filter };
	long size = patiently(__NR_pread64, filter_fd, (long)filter, sizeof(filter), 0);
	long result;

	if (size < 0)
		fail(connection, "pread64", -size);
	if (size % sizeof(filter[0]))
		fail(connection, "seccomp", EINVAL);
	program.len = size / sizeof(filter[0]);
	result = kernel(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, (long)&program, 0);
	/* seccomp(2): with TSYNC a positive result is a thread that did not follow. */
	if (result)
		fail(connection, "seccomp", result < 0 ? -result : ESRCH);
}

__attribute__((used)) _Noreturn void stub(long *stack)
{
	long count = stack[0];
	char **argv = (char **)(stack + 1);
	char **environment = argv + count + 1;
	const char *numbers;
	int kind, plain, fd, filter_fd, flags, first, carried, channel, connection, attributes;
	long result;

	if (count < 5 || !same(argv[0], "aisbx-stub"))
		leave(NOT_FOR_YOU);
	numbers = argv[1];
	kind = number_of(&numbers, ',');
	fd = number_of(&numbers, ',');
	filter_fd = number_of(&numbers, ',');
	flags = number_of(&numbers, ',');
	first = 3 + number_of(&numbers, ','); /* the first descriptor that is not kept */
	carried = number_of(&numbers, ',');
	channel = number_of(&numbers, '\0');
	/* Our own descriptors must not be among those that the program gets. */
	plain = kind & ~LABELLED;
	if ((plain != 0 && plain != 1 && plain != 3 && plain != 7) ||
	    first < 3 || fd < first || (filter_fd != -1 && filter_fd < first) ||
	    (channel != -1 && channel < first))
		leave(NOT_FOR_YOU);

	/* execve made us dumpable again; until the filter holds, nobody may trace us or open
	 * our descriptors through /proc (CVE-2016-9962). */
	kernel(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0);
	take_signals();
	kernel(__NR_prctl, PR_SET_NAME, (long)"aisbx-init", 0, 0);
	if (channel != -1)
		tell_create(channel, !(kind & CONNECTED), fd);

	connection = fd;
	if (!(kind & CONNECTED)) /* SOCK_CLOEXEC is O_CLOEXEC */
		connection = patiently(__NR_accept4, fd, 0, 0, O_CLOEXEC);
	attributes = wait_for_start(connection, kind & LABELLED && !(kind & FORKS));
	if (kind & FORKS)
		attributes = fork_inside(connection, kind);
	/* Close on execve, not now: the connection and the filter are still needed. */
	result = kernel(__NR_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC, 0);
	/* Without no_new_privs container init has installed the filter, which may be older than
	 * close_range(2). The runtime has marked what leaked in: what remains is ours. */
	if (result < 0 && filter_fd == -1)
		result = kernel(__NR_fcntl, fd, F_SETFD, FD_CLOEXEC, 0);
	if (result < 0)
		fail(connection, "close_range", -result);
	if (carried)
		give_up(connection, carried);
	if (kind & LABELLED)
		set_label(connection, attributes, argv[3]);
	/* Last, because the filter may forbid all of the above. */
	if (filter_fd != -1)
		install_filter(connection, filter_fd, flags);
	result = kernel(__NR_execve, (long)argv[2], (long)(argv + 4), (long)environment, 0);
	fail(connection, "execve", -result);
}
