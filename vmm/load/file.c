/*
 * file.c - read a guest file whole, with a bound. The only file of vmm/ that opens files by name, for the command's
 * convenience.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/load/load.h"

static int fail_errno(const char *what, const char *path, int code, struct vm_error *err)
{
	return vm_fail(err, -code, "%s: %s: %s", what, path, strerror(code));
}

/* Fills at most size bytes; returns how many there were, or a negative errno. */
static ssize_t read_full(int fd, uint8_t *buf, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(fd, buf + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int read_open(int fd, const char *what, const char *path, uint64_t max, uint8_t **data, size_t *len,
                     struct vm_error *err)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st))
		return fail_errno(what, path, errno, err);
	if (!S_ISREG(st.st_mode))
		return vm_fail(err, -EINVAL, "%s: %s: not a regular file", what, path);
	if (st.st_size == 0)
		return vm_fail(err, -EINVAL, "%s: %s: the file is empty", what, path);
	if ((uint64_t)st.st_size > max)
		return vm_fail(err, -EFBIG, "%s: %s: %lld bytes, but %llu is the most", what, path,
		               (long long)st.st_size, (unsigned long long)max);
	*data = malloc((size_t)st.st_size);
	if (!*data)
		return fail_errno(what, path, ENOMEM, err);
	n = read_full(fd, *data, (size_t)st.st_size);
	if (n == st.st_size) {
		*len = (size_t)n;
		return 0;
	}
	free(*data);
	*data = NULL;
	if (n < 0)
		return fail_errno(what, path, (int)-n, err);
	return vm_fail(err, -EIO, "%s: %s: became shorter while it was read", what, path);
}

int guest_file_read(const char *what, const char *path, uint64_t max, uint8_t **data, size_t *len, struct vm_error *err)
{
	int fd, rc;

	*data = NULL;
	*len = 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO is refused, not waited for */
	if (fd < 0)
		return fail_errno(what, path, errno, err);
	rc = read_open(fd, what, path, max, data, len, err);
	close(fd);
	return rc;
}
