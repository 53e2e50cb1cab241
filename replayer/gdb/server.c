/*
 * server.c - see server.h. One thread; while the target runs, gdb_server_interrupted() looks at the socket.
 *
 * Bytes wait in a small queue between socket and stub: whoever sends faster than it is answered fills the queue and then waits.
 */
#include "replayer/gdb/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define QUEUE 4096
#define INTERRUPT 0x03
#define SEND_WAIT_MS 30000 /* a client that takes nothing for so long is gone */

struct gdb_server {
	struct gdb_server_options options;
	int listen_fd, client_fd;
	bool bound; /* the socket's path is ours to remove */
	struct sockaddr_un path;
	char address[128];
	struct gdb_stub *stub; /* of the present client */
	uint8_t queue[QUEUE];
	size_t head, tail; /* waiting: [head, tail) */
	bool gone;         /* the client */
	bool detached;     /* the last one did */
};

/* ---- listening --------------------------------------------------------------------------------------------- */

static int fail(struct gdb_server *s, struct vm_error *err)
{
	return vm_fail(err, -errno, "%s: %s", s->address, strerror(errno));
}

/* A socket that nobody listens on is a leftover. Connecting to a plain file is refused too. */
static bool stale(const struct sockaddr_un *path)
{
	struct stat st;
	bool refused;
	int fd;

	if (lstat(path->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	refused = connect(fd, (const struct sockaddr *)path, sizeof(*path)) && errno == ECONNREFUSED;
	close(fd);
	return refused;
}

static int listen_unix(struct gdb_server *s, struct vm_error *err)
{
	size_t len = strlen(s->options.socket_path);
	mode_t mask;
	int rc;

	s->path.sun_family = AF_UNIX;
	snprintf(s->address, sizeof(s->address), "%s", s->options.socket_path);
	if (!len || len >= sizeof(s->path.sun_path))
		return vm_fail(err, -EINVAL, "%s: a socket's path has 1 to %zu bytes", s->options.socket_path,
		               sizeof(s->path.sun_path) - 1);
	memcpy(s->path.sun_path, s->options.socket_path, len);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd < 0)
		return fail(s, err);
	mask = umask(077); /* nobody else's debugger */
	rc = bind(s->listen_fd, (struct sockaddr *)&s->path, sizeof(s->path));
	if (rc && errno == EADDRINUSE && stale(&s->path) && !unlink(s->path.sun_path))
		rc = bind(s->listen_fd, (struct sockaddr *)&s->path, sizeof(s->path));
	umask(mask);
	if (rc)
		return fail(s, err);
	s->bound = true;
	return listen(s->listen_fd, 4) ? fail(s, err) : 0;
}

static int listen_tcp(struct gdb_server *s, struct vm_error *err)
{
	const char *address = s->options.address ? s->options.address : "127.0.0.1";
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(s->options.port) };
	socklen_t size = sizeof(at);
	int on = 1;

	snprintf(s->address, sizeof(s->address), "%s:%u", address, s->options.port);
	if (inet_pton(AF_INET, address, &at.sin_addr) != 1)
		return vm_fail(err, -EINVAL, "%s: not a numeric IPv4 address", address);
	s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd < 0)
		return fail(s, err);
	setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(s->listen_fd, (struct sockaddr *)&at, size) || listen(s->listen_fd, 4) ||
	    getsockname(s->listen_fd, (struct sockaddr *)&at, &size))
		return fail(s, err);
	snprintf(s->address, sizeof(s->address), "%s:%u", address, ntohs(at.sin_port));
	return 0;
}

int gdb_server_open(struct gdb_server **out, const struct gdb_server_options *options, struct vm_error *err)
{
	struct gdb_server *s = calloc(1, sizeof(*s));
	int rc;

	*out = NULL;
	if (!s)
		return vm_fail(err, -ENOMEM, "out of memory");
	s->options = *options;
	s->listen_fd = s->client_fd = -1;
	rc = options->socket_path ? listen_unix(s, err) : listen_tcp(s, err);
	if (rc) {
		gdb_server_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

static void drop_client(struct gdb_server *s)
{
	if (s->stub)
		s->detached = gdb_stub_closing(s->stub) == GDB_DETACHED;
	gdb_stub_destroy(s->stub);
	s->stub = NULL;
	if (s->client_fd >= 0)
		close(s->client_fd);
	s->client_fd = -1;
	s->head = s->tail = 0;
	s->gone = false;
}

void gdb_server_close(struct gdb_server *s)
{
	if (!s)
		return;
	drop_client(s);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	if (s->bound)
		unlink(s->path.sun_path);
	free(s);
}

const char *gdb_server_address(const struct gdb_server *s)
{
	return s->address;
}

/* ---- the client's bytes ------------------------------------------------------------------------------------ */

static bool wait_for(int fd, short events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, ms) > 0;
}

static bool time_to_end(const struct gdb_server *s)
{
	return s->options.wake_fd >= 0 && wait_for(s->options.wake_fd, POLLIN, 0);
}

/* Sends all that is queued. */
static void flush(void *self)
{
	struct gdb_server *s = self;
	struct gdb_text *out = gdb_stub_output(s->stub);

	if (out->full)
		s->gone = true;
	while (out->len && !s->gone) {
		ssize_t n = send(s->client_fd, out->data, out->len, MSG_NOSIGNAL);

		if (n > 0)
			gdb_text_drop(out, (size_t)n);
		else if (errno != EINTR &&
		         (errno != EAGAIN || time_to_end(s) || !wait_for(s->client_fd, POLLOUT, SEND_WAIT_MS)))
			s->gone = true;
	}
}

static void receive(struct gdb_server *s)
{
	ssize_t n;

	if (s->head) {
		memmove(s->queue, s->queue + s->head, s->tail - s->head);
		s->tail -= s->head;
		s->head = 0;
	}
	if (s->tail == QUEUE)
		return;
	n = recv(s->client_fd, s->queue + s->tail, QUEUE - s->tail, 0);
	if (n > 0)
		s->tail += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		s->gone = true;
}

bool gdb_server_interrupted(struct gdb_server *s)
{
	if (s->client_fd < 0)
		return time_to_end(s);
	receive(s);
	return s->gone || memchr(s->queue + s->head, INTERRUPT, s->tail - s->head) || time_to_end(s);
}

bool gdb_server_detached(const struct gdb_server *s)
{
	return s->detached;
}

bool gdb_server_say(struct gdb_server *s, const char *text, size_t len)
{
	if (s->client_fd < 0 || s->gone)
		return false;
	gdb_stub_say(s->stub, text, len);
	flush(s);
	return true;
}

static void feed(struct gdb_server *s)
{
	while (s->head < s->tail && !s->gone && gdb_stub_closing(s->stub) == GDB_OPEN) {
		gdb_stub_byte(s->stub, s->queue[s->head++]);
		if (gdb_stub_output(s->stub)->len)
			flush(s);
	}
}

/* ---- clients come and go ----------------------------------------------------------------------------------- */

static void notice(struct gdb_server *s, const char *text)
{
	if (s->options.notice)
		s->options.notice(s->options.self, text);
}

static void stub_notice(void *self, const char *text)
{
	notice(self, text);
}

/* An acknowledgement and an error packet: what it shows of them depends on the client. */
static void refuse(int fd)
{
	static const char text[] = "+$E.another debugger is connected#98";

	(void)!send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void welcome(struct gdb_server *s, const struct gdb_target *target)
{
	const struct gdb_stub_options options = { .target = target, .flush = flush, .notice = stub_notice, .self = s };
	int on = 1, fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (s->client_fd >= 0) {
		refuse(fd);
		notice(s, "a second debugger was turned away");
		return;
	}
	if (!s->options.socket_path)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	s->stub = gdb_stub_create(&options);
	if (s->stub)
		s->client_fd = fd;
	else
		close(fd);
}

/* True when it is over. `leaving`: the client has said all it will; then all of that is heard at once, so that the next may come. */
static bool serve_client(struct gdb_server *s, bool leaving)
{
	do {
		receive(s);
		feed(s);
	} while (leaving && !s->gone && gdb_stub_closing(s->stub) == GDB_OPEN);
	if (gdb_stub_closing(s->stub) == GDB_KILLED) {
		flush(s);
		return true;
	}
	if (s->gone || gdb_stub_closing(s->stub) == GDB_DETACHED) {
		if (!s->gone)
			flush(s);
		drop_client(s);
		return s->options.end_on_detach && s->detached;
	}
	return false;
}

int gdb_server_run(struct gdb_server *s, const struct gdb_target *target, struct vm_error *err)
{
	bool over = false;

	while (!over) {
		struct pollfd p[3] = { { .fd = s->listen_fd, .events = POLLIN },
			               { .fd = s->options.wake_fd, .events = POLLIN },
			               { .fd = s->client_fd, .events = POLLIN | POLLRDHUP } };

		if (poll(p, 3, -1) < 0) {
			if (errno == EINTR)
				continue;
			return fail(s, err);
		}
		if (p[1].revents)
			break;
		if (p[2].revents)
			over = serve_client(s, p[2].revents & (POLLHUP | POLLRDHUP | POLLERR));
		if (p[0].revents && !over)
			welcome(s, target);
	}
	drop_client(s);
	return 0;
}
