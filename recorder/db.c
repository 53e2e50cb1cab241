/*
 * db.c - a trace's database is one LMDB file; this is the only place that knows.
 *
 * Why MDB_NOSYNC: a commit then is a few pwrite()s into the page cache, first of new pages, last of the 150 bytes of
 * the meta page that make them current. LMDB never overwrites a page that the last committed state uses, and a
 * process killed by any signal leaves behind what it has written, in that order. So SIGKILL at any moment leaves the
 * last commit intact. What it does not survive is the host losing power before the kernel wrote the file back;
 * db_sync() at the end of a recording closes that window, and a file damaged that way is refused by dbcheck, not
 * misread. Why not MDB_WRITEMAP: a full disk would be SIGBUS instead of an error.
 *
 * Who may have it open: a flock() on the file itself tells our writers from our readers (exclusive, shared). LMDB's
 * own lock file exists while recording, so that stock mdb_stat and mdb_copy work on a live trace, and is removed at
 * the end. Readers use neither lock file nor write access, so a trace may lie in a read-only directory.
 */
#include "recorder/db.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "recorder/dbcheck.h"
#include "vmm/bug.h"

#define MAP_DEFAULT (1ull << 30) /* address space, not memory */
#define MAP_MIN (64ull << 10)
#define MAP_MAX (1ull << 46)

static const char *const table_names[DB_TABLES] = {
	[DB_META] = "meta",       [DB_EVENTS] = "events",   [DB_COSTS] = "costs",   [DB_CHECKPOINTS] = "checkpoints",
	[DB_PAGES] = "pages",     [DB_CONSOLE] = "console", [DB_RESUME] = "resume", [DB_PACKS] = "packs",
	[DB_SAMPLES] = "samples",
};

struct db {
	MDB_env *env;
	MDB_txn *txn; /* reader: one for its life, so that pointers stay valid */
	MDB_dbi dbi[DB_TABLES];
	bool present[DB_TABLES];
	bool writer;
	uint64_t map_size;
	int fd; /* holds the flock */
	char *path;
};

const char *db_table_name(enum db_table table)
{
	BUG_ON((unsigned)table >= DB_TABLES);
	return table_names[table];
}

static int fail(const struct db *db, struct vm_error *err, const char *doing, int rc)
{
	if (rc == EFBIG)
		return vm_fail(err, -rc, "%s: %s: the file would exceed the file size limit", db->path, doing);
	if (rc == EDQUOT)
		return vm_fail(err, -rc, "%s: %s: disk quota exceeded", db->path, doing);
	if (rc > 0)
		return vm_fail(err, -rc, "%s: %s: %s", db->path, doing, strerror(rc));
	return vm_fail(err, rc == MDB_CORRUPTED || rc == MDB_INVALID || rc == MDB_PAGE_NOTFOUND ? -EBADMSG : -EIO,
	               "%s: %s: %s", db->path, doing, mdb_strerror(rc));
}

#define LOCK_PATIENCE_MS 500

/* A recorder that was just killed may take a moment to be gone. False when somebody else keeps the file. */
static bool lock(int fd, int how)
{
	const struct timespec nap = { 0, 10 * 1000000 };
	unsigned ms;

	for (ms = 0; flock(fd, how | LOCK_NB); ms += 10) {
		if (errno != EWOULDBLOCK)
			return true; /* where locks are not supported there is nothing to ask */
		if (ms >= LOCK_PATIENCE_MS)
			return false;
		nanosleep(&nap, NULL);
	}
	return true;
}

static struct db *db_new(const char *path)
{
	struct db *db = calloc(1, sizeof(*db));

	if (!db)
		return NULL;
	db->fd = -1;
	db->path = strdup(path);
	if (db->path)
		return db;
	free(db);
	return NULL;
}

static void lock_file_path(const struct db *db, char *out, size_t size)
{
	snprintf(out, size, "%s-lock", db->path);
}

static void remove_lock_file(const struct db *db)
{
	char lock[4200];

	lock_file_path(db, lock, sizeof(lock));
	unlink(lock);
}

void db_close(struct db *db)
{
	if (!db)
		return;
	mdb_txn_abort(db->txn);
	mdb_env_close(db->env);
	if (db->writer)
		remove_lock_file(db);
	if (db->fd >= 0)
		close(db->fd);
	free(db->path);
	free(db);
}

void db_discard(struct db *db)
{
	BUG_ON(!db->writer);
	unlink(db->path);
	db_close(db);
}

static int open_env(struct db *db, unsigned flags, struct vm_error *err)
{
	int rc = mdb_env_create(&db->env);

	if (rc)
		return fail(db, err, "cannot open", rc);
	mdb_env_set_maxdbs(db->env, DB_TABLES);
	rc = mdb_env_set_mapsize(db->env, db->map_size);
	rc = rc ? rc : mdb_env_open(db->env, db->path, MDB_NOSUBDIR | MDB_NOTLS | flags, 0644);
	return rc ? fail(db, err, "cannot open", rc) : 0;
}

/* ---- Creating and writing ---------------------------------------------------------------------------------- */

/* Replace what is there only when nothing but an old trace (or nothing at all) can be lost. */
static int clear_way(const struct db *db, bool overwrite, struct vm_error *err)
{
	uint8_t head[DBCHECK_HEAD];
	struct stat st;
	ssize_t got;
	int fd, rc = 0;

	if (lstat(db->path, &st))
		return errno == ENOENT ? 0 : vm_fail(err, -errno, "%s: %s", db->path, strerror(errno));
	if (!overwrite)
		return vm_fail(err, -EEXIST, "%s: exists already", db->path);
	if (!S_ISREG(st.st_mode))
		return vm_fail(err, -EEXIST, "%s: exists and is not a regular file", db->path);
	fd = open(db->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return vm_fail(err, -errno, "%s: %s", db->path, strerror(errno));
	got = read(fd, head, sizeof(head));
	if (!lock(fd, LOCK_EX))
		rc = vm_fail(err, -EBUSY, "%s: is in use by another recording or replay", db->path);
	else if (got && (got < 0 || !dbcheck_looks_like(head, (size_t)got)))
		rc = vm_fail(err, -EEXIST, "%s: exists and is not a trace; not overwritten", db->path);
	else if (unlink(db->path))
		rc = vm_fail(err, -errno, "%s: cannot replace: %s", db->path, strerror(errno));
	close(fd);
	return rc;
}

static int open_tables(struct db *db, struct vm_error *err)
{
	MDB_txn *txn;
	int rc, i;

	rc = mdb_txn_begin(db->env, NULL, 0, &txn);
	if (rc)
		return fail(db, err, "cannot begin", rc);
	for (i = 0; !rc && i < DB_TABLES; i++)
		rc = mdb_dbi_open(txn, table_names[i], MDB_CREATE, &db->dbi[i]);
	if (rc)
		mdb_txn_abort(txn);
	else
		rc = mdb_txn_commit(txn);
	return rc ? fail(db, err, "cannot create", rc) : 0;
}

/* A file size limit sends SIGXFSZ along with EFBIG; the error is what we want. */
struct xfsz {
	sigset_t old;
	bool was_pending;
};

static void xfsz_block(struct xfsz *x)
{
	sigset_t set, pending;

	sigemptyset(&set);
	sigaddset(&set, SIGXFSZ);
	sigpending(&pending);
	x->was_pending = sigismember(&pending, SIGXFSZ) == 1;
	pthread_sigmask(SIG_BLOCK, &set, &x->old);
}

static void xfsz_unblock(const struct xfsz *x)
{
	const struct timespec now = { 0, 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGXFSZ);
	if (!x->was_pending)
		while (sigtimedwait(&set, NULL, &now) == SIGXFSZ)
			;
	pthread_sigmask(SIG_SETMASK, &x->old, NULL);
}

int db_create(struct db **out, const char *path, bool overwrite, uint64_t map_size, struct vm_error *err)
{
	struct db *db;
	struct xfsz x;
	int rc;

	*out = NULL;
	if (strlen(path) > 4096)
		return vm_fail(err, -ENAMETOOLONG, "the trace's path is too long");
	db = db_new(path);
	if (!db)
		return vm_fail(err, -ENOMEM, "out of memory");
	rc = clear_way(db, overwrite, err);
	if (rc)
		goto failed;
	db->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (db->fd < 0) {
		rc = vm_fail(err, -errno, "%s: cannot create: %s", path, strerror(errno));
		goto failed;
	}
	db->writer = true;
	if (!lock(db->fd, LOCK_EX)) {
		rc = vm_fail(err, -EBUSY, "%s: is in use by another recording", path);
		db->writer = false; /* not ours to remove */
		goto failed;
	}
	db->map_size = map_size ? (map_size < MAP_MIN ? MAP_MIN : (map_size + 4095) & ~4095ull) : MAP_DEFAULT;
	remove_lock_file(db); /* of a recorder that was killed */
	xfsz_block(&x);
	rc = open_env(db, MDB_NOSYNC, err);
	rc = rc ? rc : open_tables(db, err);
	xfsz_unblock(&x);
	if (!rc) {
		*out = db;
		return 0;
	}
failed:
	if (db->writer)
		db_discard(db);
	else
		db_close(db);
	return rc;
}

static int put_all(struct db *db, const struct db_put *puts, size_t count)
{
	MDB_txn *txn;
	size_t i;
	int rc;

	rc = mdb_txn_begin(db->env, NULL, 0, &txn);
	if (rc)
		return rc;
	for (i = 0; !rc && i < count; i++) {
		const struct db_put *p = &puts[i];
		MDB_val key = { p->key_len, (void *)(uintptr_t)p->key },
		        value = { p->value_len, (void *)(uintptr_t)p->value };

		BUG_ON(!p->key_len || p->key_len > DB_KEY_MAX);
		rc = mdb_put(txn, db->dbi[p->table], &key, &value, p->append ? MDB_APPEND : 0);
	}
	if (!rc)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

static int grow(struct db *db)
{
	if (db->map_size >= MAP_MAX)
		return MDB_MAP_FULL;
	db->map_size *= 2;
	return mdb_env_set_mapsize(db->env, db->map_size);
}

/*
 * LMDB reports a short write, which is how a disk usually becomes full, as EIO. Ask the file system itself: what
 * comes of writing beyond the end? Nothing there is referred to, and it is cut off again.
 */
static int true_reason(const struct db *db, int rc)
{
	static const uint8_t zero[65536];
	struct stat st;
	off_t at;
	ssize_t n;

	if (rc != EIO || fstat(db->fd, &st))
		return rc;
	for (at = st.st_size; at < st.st_size + (1 << 20); at += n) {
		n = pwrite(db->fd, zero, sizeof(zero), at);
		if (n <= 0) {
			rc = n < 0 ? errno : rc;
			break;
		}
	}
	return ftruncate(db->fd, st.st_size) ? errno : rc;
}

int db_commit(struct db *db, const struct db_put *puts, size_t count, struct vm_error *err)
{
	struct xfsz x;
	int rc;

	BUG_ON(!db->writer);
	xfsz_block(&x);
	rc = put_all(db, puts, count);
	while (rc == MDB_MAP_FULL) {
		rc = grow(db);
		if (!rc)
			rc = put_all(db, puts, count);
		else
			break;
	}
	rc = true_reason(db, rc);
	xfsz_unblock(&x);
	return rc ? fail(db, err, "cannot write", rc) : 0;
}

void db_begin_sync(struct db *db)
{
	sync_file_range(db->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

int db_sync(struct db *db, struct vm_error *err)
{
	int rc = mdb_env_sync(db->env, 1);

	return rc ? fail(db, err, "cannot flush to disk", rc) : 0;
}

/* ---- Reading ----------------------------------------------------------------------------------------------- */

/* flags: of open(); how: of flock(). */
static int check_before_open(struct db *db, int flags, int how, struct vm_error *err)
{
	struct vm_error why;
	struct stat st;
	int rc;

	db->fd = open(db->path, flags | O_CLOEXEC | O_NONBLOCK);
	if (db->fd < 0)
		return vm_fail(err, -errno, "%s: %s", db->path, strerror(errno));
	if (fstat(db->fd, &st))
		return vm_fail(err, -errno, "%s: %s", db->path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return vm_fail(err, S_ISDIR(st.st_mode) ? -EISDIR : -EBADMSG, "%s: not a trace (%s)", db->path,
		               S_ISDIR(st.st_mode) ? "a directory" : "not a regular file");
	if (!lock(db->fd, how))
		return vm_fail(err, -EBUSY, "%s: is being %s at the moment", db->path,
		               how == LOCK_EX ? "used" : "recorded");
	rc = dbcheck_file(db->fd, (uint64_t)st.st_size, &db->map_size, &why);
	if (rc)
		return vm_fail(err, rc, "%s: %s", db->path, why.text);
	if (db->map_size < (uint64_t)st.st_size)
		db->map_size = (uint64_t)st.st_size;
	db->map_size = (db->map_size + 4095) & ~4095ull;
	return 0;
}

static int find_tables(struct db *db, struct vm_error *err)
{
	int rc, i;

	rc = mdb_txn_begin(db->env, NULL, MDB_RDONLY, &db->txn);
	if (rc)
		return fail(db, err, "cannot begin", rc);
	for (i = 0; i < DB_TABLES; i++) {
		rc = mdb_dbi_open(db->txn, table_names[i], 0, &db->dbi[i]);
		if (rc && rc != MDB_NOTFOUND)
			return fail(db, err, table_names[i], rc);
		db->present[i] = !rc;
	}
	return 0;
}

int db_open(struct db **out, const char *path, struct vm_error *err)
{
	struct db *db;
	int rc;

	*out = NULL;
	db = db_new(path);
	if (!db)
		return vm_fail(err, -ENOMEM, "out of memory");
	rc = check_before_open(db, O_RDONLY, LOCK_SH, err);
	rc = rc ? rc : open_env(db, MDB_RDONLY | MDB_NOLOCK, err);
	rc = rc ? rc : find_tables(db, err);
	if (rc) {
		db_close(db);
		return rc;
	}
	*out = db;
	return 0;
}

int db_extend(struct db **out, const char *path, struct vm_error *err)
{
	struct db *db = db_new(path);
	struct xfsz x;
	int rc;

	*out = NULL;
	if (!db)
		return vm_fail(err, -ENOMEM, "out of memory");
	rc = check_before_open(db, O_RDWR, LOCK_EX, err);
	db->writer = !rc;
	xfsz_block(&x);
	rc = rc ? rc : open_env(db, MDB_NOSYNC, err);
	rc = rc ? rc : open_tables(db, err);
	xfsz_unblock(&x);
	if (rc) {
		db_close(db);
		return rc;
	}
	*out = db;
	return 0;
}

int db_empty(struct db *db, enum db_table table, struct vm_error *err)
{
	MDB_txn *txn;
	int rc;

	BUG_ON(!db->writer);
	rc = mdb_txn_begin(db->env, NULL, 0, &txn);
	if (rc)
		return fail(db, err, "cannot begin", rc);
	rc = mdb_drop(txn, db->dbi[table], 0);
	if (!rc)
		rc = mdb_txn_commit(txn);
	else
		mdb_txn_abort(txn);
	return rc ? fail(db, err, "cannot empty", rc) : 0;
}

int db_get(struct db *db, enum db_table table, const void *key, size_t key_len, const void **value, size_t *value_len,
           struct vm_error *err)
{
	MDB_val k = { key_len, (void *)(uintptr_t)key }, v;
	int rc;

	if (!db->present[table])
		return 0;
	rc = mdb_get(db->txn, db->dbi[table], &k, &v);
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc)
		return fail(db, err, table_names[table], rc);
	*value = v.mv_data;
	*value_len = v.mv_size;
	return 1;
}

int db_each(struct db *db, enum db_table table,
            int (*fn)(void *self, const uint8_t *key, size_t key_len, const void *value, size_t value_len), void *self,
            struct vm_error *err)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	int rc, stop = 0;

	if (!db->present[table])
		return 0;
	rc = mdb_cursor_open(db->txn, db->dbi[table], &cursor);
	if (rc)
		return fail(db, err, table_names[table], rc);
	while (!stop && !(rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)))
		stop = fn(self, k.mv_data, k.mv_size, v.mv_data, v.mv_size);
	mdb_cursor_close(cursor);
	if (!stop && rc != MDB_NOTFOUND)
		return fail(db, err, table_names[table], rc);
	return stop;
}
