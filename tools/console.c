/*
 * console.c - see console.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "tools/console.h"

#define KEY_ESCAPE 0x01 /* Ctrl-A */

struct console {
	int out;           /* -1 none */
	uint8_t held[512]; /* guest bytes not written yet; the vCPU's thread alone */
	size_t held_len;
	int pipe[2];       /* stdin's bytes on their way to the guest; -1 without input */
	int signals, quit; /* signalfd; eventfd that ends the thread */
	int end;           /* eventfd: interrupted */
	bool raw, escaped; /* the terminal is raw; the last key was Ctrl-A */
	struct termios saved;
	_Atomic bool interrupted;
	pthread_t thread;
	bool running;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		bytes += n;
		len -= (size_t)n;
	}
}

/* The guest's input ends, which wakes it where it waits for a key. */
static void interrupt(struct console *c)
{
	atomic_store(&c->interrupted, true);
	eventfd_write(c->end, 1);
	close_fd(&c->pipe[1]);
}

/* Keys from a terminal: Ctrl-A is ours. Returns how many bytes are the guest's. */
static size_t filter_keys(struct console *c, uint8_t *bytes, size_t len)
{
	size_t kept = 0;

	for (size_t i = 0; i < len; i++) {
		if (c->escaped && (bytes[i] == 'x' || bytes[i] == 'X'))
			interrupt(c);
		if (!c->escaped && bytes[i] == KEY_ESCAPE) {
			c->escaped = true;
			continue;
		}
		c->escaped = false;
		bytes[kept++] = bytes[i];
	}
	return kept;
}

/* False at the end of stdin. */
static bool forward_keys(struct console *c)
{
	uint8_t bytes[512];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0) {
		close_fd(&c->pipe[1]);
		return false;
	}
	if (c->raw)
		n = (ssize_t)filter_keys(c, bytes, (size_t)n);
	if (c->pipe[1] >= 0)
		write_all(c->pipe[1], bytes, (size_t)n);
	return c->pipe[1] >= 0;
}

static void *watch(void *self)
{
	struct console *c = self;
	struct pollfd fds[3] = {
		{ .fd = c->quit, .events = POLLIN },
		{ .fd = c->signals, .events = POLLIN },
		{ .fd = c->pipe[1] >= 0 ? STDIN_FILENO : -1, .events = POLLIN },
	};

	for (;;) {
		struct signalfd_siginfo info;

		if (poll(fds, 3, -1) < 0)
			continue;
		if (fds[0].revents)
			return NULL;
		if (fds[1].revents && read(c->signals, &info, sizeof(info)) > 0) {
			interrupt(c);
			fds[2].fd = -1;
		}
		if (fds[2].fd >= 0 && fds[2].revents && !forward_keys(c))
			fds[2].fd = -1;
	}
}

static void terminal_raw(struct console *c)
{
	struct termios t;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &c->saved))
		return;
	t = c->saved;
	t.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	c->raw = !tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

static int open_output(struct console *c, const char *where, struct vm_error *err)
{
	if (!strcmp(where, "none"))
		return 0;
	if (!strcmp(where, "stdio")) {
		c->out = STDOUT_FILENO;
		return 0;
	}
	where += strlen("file:");
	c->out = open(where, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	return c->out < 0 ? vm_fail(err, -errno, "%s: %s", where, strerror(errno)) : 0;
}

static int open_input(struct console *c, struct vm_error *err)
{
	if (pipe2(c->pipe, O_CLOEXEC))
		return vm_fail(err, -errno, "console: %s", strerror(errno));
	fcntl(c->pipe[0], F_SETFL, O_NONBLOCK);
	terminal_raw(c);
	return 0;
}

static int start_watch(struct console *c, struct vm_error *err)
{
	sigset_t set;
	int rc;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	c->signals = signalfd(-1, &set, SFD_CLOEXEC);
	c->quit = eventfd(0, EFD_CLOEXEC);
	c->end = eventfd(0, EFD_CLOEXEC);
	if (c->signals < 0 || c->quit < 0 || c->end < 0)
		return vm_fail(err, -errno, "console: %s", strerror(errno));
	rc = pthread_create(&c->thread, NULL, watch, c);
	c->running = !rc;
	return rc ? vm_fail(err, -rc, "console: %s", strerror(rc)) : 0;
}

int console_open(struct console **out, const char *where, bool live, struct vm_error *err)
{
	struct console *c = calloc(1, sizeof(*c));
	int rc;

	*out = NULL;
	if (!c)
		return vm_fail(err, -ENOMEM, "console: out of memory");
	c->out = c->pipe[0] = c->pipe[1] = c->signals = c->quit = c->end = -1;
	rc = open_output(c, where, err);
	if (!rc && live && !strcmp(where, "stdio"))
		rc = open_input(c, err);
	if (!rc && live)
		rc = start_watch(c, err);
	if (rc) {
		console_close(c);
		return rc;
	}
	*out = c;
	return 0;
}

void console_close(struct console *c)
{
	if (!c)
		return;
	console_flush(c);
	if (c->running && eventfd_write(c->quit, 1) == 0)
		pthread_join(c->thread, NULL);
	if (c->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &c->saved);
	if (c->out != STDOUT_FILENO)
		close_fd(&c->out);
	close_fd(&c->pipe[0]);
	close_fd(&c->pipe[1]);
	close_fd(&c->signals);
	close_fd(&c->quit);
	close_fd(&c->end);
	free(c);
}

void console_write(struct console *c, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; c->out >= 0 && i < len; i++) {
		c->held[c->held_len++] = bytes[i];
		if (bytes[i] == '\n' || c->held_len == sizeof(c->held))
			console_flush(c);
	}
}

void console_flush(struct console *c)
{
	if (c->held_len)
		write_all(c->out, c->held, c->held_len);
	c->held_len = 0;
}

int console_input_fd(const struct console *c)
{
	return c->pipe[0];
}

bool console_interrupted(const struct console *c)
{
	return atomic_load(&c->interrupted);
}

int console_end_fd(const struct console *c)
{
	return c->end;
}

bool console_on_stdout(const struct console *c)
{
	return c->out == STDOUT_FILENO;
}
