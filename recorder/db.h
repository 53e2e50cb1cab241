/*
 * db.h - the few things a trace needs of its database: create, commit a batch, read back.
 *
 * Behind it is one LMDB file without a directory; nothing else in the project knows that. Called by the trace writer
 * (one thread at a time) and the trace reader. Keys and values are bytes; tables are ordered by memcmp of the key.
 */
#ifndef RINGSIDE_RECORDER_DB_H
#define RINGSIDE_RECORDER_DB_H

#include "vmm/vm.h"

enum db_table {
	DB_META,
	DB_EVENTS,
	DB_COSTS,
	DB_CHECKPOINTS,
	DB_PAGES,
	DB_CONSOLE,
	DB_RESUME,
	DB_PACKS,
	DB_SAMPLES,
	DB_TABLES
};
#define DB_KEY_MAX 64

const char *db_table_name(enum db_table table);

struct db;

/* One record of a batch; key and value are borrowed until db_commit returns. */
struct db_put {
	enum db_table table;
	bool append; /* the key is greater than every key in the table: faster and denser */
	const void *key;
	size_t key_len; /* 1..DB_KEY_MAX */
	const void *value;
	size_t value_len;
};

/*
 * Create a new database file. Without `overwrite` an existing file is -EEXIST; with it, an existing file is replaced
 * if it is empty or looks like a database, and refused with -EEXIST otherwise: nobody's kernel image is lost to a
 * misplaced -o.
 * -EBUSY when another process is writing it. map_size 0 = default.
 */
int db_create(struct db **out, const char *path, bool overwrite, uint64_t map_size, struct vm_error *err);
/* Read only, without creating or changing any file; the whole structure is checked first (dbcheck.h). -EBUSY while it
 * is being written. */
int db_open(struct db **out, const char *path, struct vm_error *err);

/* Open what db_open would for writing as well: what is there stays, what is not is made. -EACCES or -EROFS where the file may not be written, -EBUSY
 * while anybody has it open. */
int db_extend(struct db **out, const char *path, struct vm_error *err);
/* Of a database that is being written. */
int db_empty(struct db *db, enum db_table table, struct vm_error *err);

/* All of the batch or, on a negative errno, nothing of it. Grows the map as needed. A full disk is -ENOSPC, -EFBIG or
 * -EDQUOT. */
int db_commit(struct db *db, const struct db_put *puts, size_t count, struct vm_error *err);
/* Force everything committed to stable storage. */
int db_sync(struct db *db, struct vm_error *err);
/* Has the kernel begin with that, so that less is left to wait for: a hint. */
void db_begin_sync(struct db *db);
/* Removes the lock file of a database that was created. NULL is fine. */
void db_close(struct db *db);
/* Close, and remove the file as well: for a creation that went wrong. */
void db_discard(struct db *db);

/* Of a database from db_open: 1 found, 0 not there, or a negative errno. The value stays valid until db_close. */
int db_get(struct db *db, enum db_table table, const void *key, size_t key_len, const void **value, size_t *value_len,
           struct vm_error *err);
/* In key order; stops at the first nonzero return of fn and passes it back. Pointers stay valid until db_close. */
int db_each(struct db *db, enum db_table table,
            int (*fn)(void *self, const uint8_t *key, size_t key_len, const void *value, size_t value_len), void *self,
            struct vm_error *err);

#endif
