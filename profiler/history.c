/*
 * history.c - see history.h. In the store: table meta, key "format" -> STORE_FORMAT, keys "run/NNNNNNNN" -> the run as JSON. A store is a file like any
 * other, so what is read from it is checked.
 */
#include "profiler/history.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "profiler/report.h"
#include "recorder/db.h"

static const char format_key[] = "format", store_format[] = "ringside-history 1", run_prefix[] = "run/";

/* ---- a run ------------------------------------------------------------------------------------------------------- */

void history_run_free(struct history_run *run)
{
	free(run->rows);
	run->rows = NULL;
	run->row_count = 0;
}

static int compare_rows(const void *a, const void *b)
{
	return strcmp(((const struct history_row *)a)->name, ((const struct history_row *)b)->name);
}

const struct history_row *history_row_find(const struct history_run *run, const char *name)
{
	struct history_row key = { .count = 0 };

	if (strlen(name) >= sizeof(key.name) || !run->row_count)
		return NULL;
	strcpy(key.name, name);
	return bsearch(&key, run->rows, run->row_count, sizeof(*run->rows), compare_rows);
}

bool history_same_series(const struct history_run *a, const struct history_run *b)
{
	return !strcmp(a->workload, b->workload) && !strcmp(a->host, b->host);
}

static void make_workload(char out[HISTORY_TEXT], const struct trace_meta *m)
{
	char text[64] = "";

	if (m->file_count)
		report_clean(text, sizeof(text), m->files[0].name);
	snprintf(out, HISTORY_TEXT, "%s %s %s %" PRIu64 "M", text, report_model_name(m), report_policy_name(m),
	         m->config.memory >> 20);
}

static int add_rows(struct history_run *run, struct profile *p, enum profile_by by, struct vm_error *err)
{
	struct profile_table t;
	struct history_row *rows;
	int rc = profile_table(p, by, profile_sort_find("id"), 0, NULL, &t, err);

	if (rc)
		return rc;
	rows = realloc(run->rows, (run->row_count + t.row_count + 1) * sizeof(*rows));
	if (!rows) {
		profile_table_free(&t);
		return vm_fail(err, -ENOMEM, "history: out of memory");
	}
	run->rows = rows;
	for (size_t i = 0; i < t.row_count; i++) {
		struct history_row *row = &run->rows[run->row_count++];
		struct profile_id id;
		size_t used = (size_t)snprintf(row->name, sizeof(row->name), "%s", t.name);

		profile_row_id(&t, &t.rows[i], &id);
		for (int c = 0; c < PROFILE_COLUMNS && used < sizeof(row->name); c++)
			if (id.text[c][0])
				used += (size_t)snprintf(row->name + used, sizeof(row->name) - used, " %s", id.text[c]);
		row->count = t.rows[i].count;
		row->p25 = t.rows[i].p25;
		row->p50 = t.rows[i].p50;
	}
	profile_table_free(&t);
	return 0;
}

int history_run_make(struct history_run *out, const struct trace_meta *meta, struct profile *p, const char *label,
                     const char *workload, struct vm_error *err)
{
	static const enum profile_by by[] = { BY_INSN, BY_PORT, BY_VECTOR };
	struct profile_totals totals;
	int rc = 0;

	memset(out, 0, sizeof(*out));
	profile_totals(p, &totals);
	report_clean(out->label, sizeof(out->label), label);
	report_clean(out->host, sizeof(out->host), meta->host);
	if (workload)
		report_clean(out->workload, sizeof(out->workload), workload);
	else
		make_workload(out->workload, meta);
	out->date = meta->created;
	out->events = totals.events;
	out->icount = meta->icount;
	out->cost = totals.cost;
	out->costs_ok = totals.costs_ok;
	for (size_t i = 0; !rc && i < sizeof(by) / sizeof(*by); i++)
		rc = add_rows(out, p, by[i], err);
	if (rc)
		history_run_free(out);
	else
		qsort(out->rows, out->row_count, sizeof(*out->rows), compare_rows);
	return rc;
}

/* ---- as JSON --------------------------------------------------------------------------------------------------- */

static char *run_pack(const struct history_run *run)
{
	cJSON *root = cJSON_CreateObject(), *rows;
	char *text;

	cJSON_AddStringToObject(root, "label", run->label);
	cJSON_AddStringToObject(root, "workload", run->workload);
	cJSON_AddStringToObject(root, "host", run->host);
	cJSON_AddNumberToObject(root, "date", (double)run->date);
	cJSON_AddNumberToObject(root, "events", (double)run->events);
	cJSON_AddNumberToObject(root, "icount", (double)run->icount);
	cJSON_AddNumberToObject(root, "cost", (double)run->cost);
	cJSON_AddBoolToObject(root, "costs_ok", run->costs_ok);
	rows = cJSON_AddObjectToObject(root, "rows");
	for (size_t i = 0; i < run->row_count; i++) {
		const struct history_row *row = &run->rows[i];
		const double figures[3] = { (double)row->count, row->p50, row->p25 };

		cJSON_AddItemToObject(rows, row->name, cJSON_CreateDoubleArray(figures, 3));
	}
	text = cJSON_PrintUnformatted(root);
	cJSON_Delete(root);
	return text;
}

static bool get_text(const cJSON *root, const char *name, char out[HISTORY_TEXT])
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, name);

	if (!cJSON_IsString(item))
		return false;
	report_clean(out, HISTORY_TEXT, item->valuestring);
	return true;
}

/* A number that is no number, negative or beyond what a double counts exactly is refused. */
static bool number_ok(const cJSON *item)
{
	return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble <= 9007199254740992.0;
}

static bool get_number(const cJSON *root, const char *name, uint64_t *out)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, name);

	if (!number_ok(item))
		return false;
	*out = (uint64_t)item->valuedouble;
	return true;
}

static bool unpack_row(const cJSON *item, struct history_row *row)
{
	const cJSON *count = cJSON_GetArrayItem(item, 0), *p50 = cJSON_GetArrayItem(item, 1);
	const cJSON *p25 = cJSON_GetArrayItem(item, 2);

	if (!cJSON_IsArray(item) || !item->string || !number_ok(count) || !number_ok(p50) || (p25 && !number_ok(p25)))
		return false;
	report_clean(row->name, sizeof(row->name), item->string);
	row->count = (uint64_t)count->valuedouble;
	row->p50 = p50->valuedouble;
	row->p25 = p25 ? p25->valuedouble : 0;
	return true;
}

static bool run_unpack(struct history_run *run, const cJSON *root)
{
	const cJSON *rows = cJSON_GetObjectItemCaseSensitive(root, "rows"), *item;
	uint64_t date;

	if (!get_text(root, "label", run->label) || !get_text(root, "workload", run->workload) ||
	    !get_text(root, "host", run->host) || !get_number(root, "date", &date) ||
	    !get_number(root, "events", &run->events) || !get_number(root, "icount", &run->icount) ||
	    !get_number(root, "cost", &run->cost) || !cJSON_IsObject(rows))
		return false;
	run->date = (int64_t)date;
	run->costs_ok = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(root, "costs_ok"));
	run->rows = calloc((size_t)cJSON_GetArraySize(rows) + 1, sizeof(*run->rows));
	if (!run->rows)
		return false;
	cJSON_ArrayForEach(item, rows) if (!unpack_row(item, &run->rows[run->row_count++])) return false;
	qsort(run->rows, run->row_count, sizeof(*run->rows), compare_rows);
	return true;
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

static bool is_run_key(const uint8_t *key, size_t len)
{
	return len > strlen(run_prefix) && !memcmp(key, run_prefix, strlen(run_prefix));
}

static int load_run(void *self, const uint8_t *key, size_t key_len, const void *value, size_t value_len)
{
	struct history *h = self;
	struct history_run *runs;
	cJSON *root;
	bool ok;

	if (!is_run_key(key, key_len))
		return 0;
	if (h->count == HISTORY_RUNS_MAX)
		return -E2BIG;
	runs = realloc(h->runs, (h->count + 1) * sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	h->runs = runs;
	memset(&runs[h->count], 0, sizeof(*runs));
	root = cJSON_ParseWithLength(value, value_len);
	ok = root && run_unpack(&runs[h->count], root);
	cJSON_Delete(root);
	h->count++; /* so that its rows are freed */
	return ok ? 0 : -EBADMSG;
}

/* An open store, of which the format is checked. */
static int open_store(struct db **out, const char *path, struct vm_error *err)
{
	const void *value;
	size_t len;
	int rc = db_open(out, path, err);

	if (rc)
		return rc;
	rc = db_get(*out, DB_META, format_key, strlen(format_key), &value, &len, err);
	if (rc == 1 && len == strlen(store_format) && !memcmp(value, store_format, len))
		return 0;
	db_close(*out);
	*out = NULL;
	return rc < 0 ? rc : vm_fail(err, -EBADMSG, "%s: not a history of runs", path);
}

int history_open(struct history *out, const char *path, struct vm_error *err)
{
	struct db *db;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = open_store(&db, path, err);
	if (rc)
		return rc;
	rc = db_each(db, DB_META, load_run, out, err);
	db_close(db);
	if (!rc)
		return 0;
	if (rc == -EBADMSG)
		vm_fail(err, rc, "%s: run %zu is damaged", path, out->count);
	else if (rc == -ENOMEM || rc == -E2BIG)
		vm_fail(err, rc, "%s: %s", path, strerror(-rc));
	history_close(out);
	return rc;
}

void history_close(struct history *h)
{
	for (size_t i = 0; i < h->count; i++)
		history_run_free(&h->runs[i]);
	free(h->runs);
	memset(h, 0, sizeof(*h));
}

/* What is to be in the new store: values of the old one are borrowed from it. */
struct batch {
	struct db_put *puts;
	size_t count;
	size_t runs;
};

static int batch_put(struct batch *b, const void *key, size_t key_len, const void *value, size_t value_len)
{
	struct db_put *puts = realloc(b->puts, (b->count + 1) * sizeof(*puts));

	if (!puts)
		return -ENOMEM;
	b->puts = puts;
	puts[b->count++] = (struct db_put){ DB_META, false, key, key_len, value, value_len };
	return 0;
}

static int batch_old(void *self, const uint8_t *key, size_t key_len, const void *value, size_t value_len)
{
	struct batch *b = self;

	if (!is_run_key(key, key_len))
		return 0;
	b->runs++;
	return batch_put(b, key, key_len, value, value_len);
}

/* keys and texts are given to the caller to free after the commit. */
static int batch_new(struct batch *b, const struct history_run *runs, size_t count, char (*keys)[16], char **texts)
{
	for (size_t i = 0; i < count; i++) {
		int len = snprintf(keys[i], sizeof(keys[i]), "%s%08zu", run_prefix, b->runs);
		int rc;

		texts[i] = run_pack(&runs[i]);
		if (!texts[i])
			return -ENOMEM;
		rc = batch_put(b, keys[i], (size_t)len, texts[i], strlen(texts[i]));
		if (rc)
			return rc;
		b->runs++;
	}
	return 0;
}

static int write_store(struct db *to, struct db *from, const struct history_run *runs, size_t count, struct vm_error *err)
{
	struct batch b = { NULL, 0, 0 };
	char(*keys)[16] = calloc(count + 1, sizeof(*keys));
	char **texts = calloc(count + 1, sizeof(*texts));
	int rc = keys && texts ? 0 : -ENOMEM;

	rc = rc ? rc : batch_put(&b, format_key, strlen(format_key), store_format, strlen(store_format));
	rc = rc || !from ? rc : db_each(from, DB_META, batch_old, &b, err);
	rc = rc ? rc : batch_new(&b, runs, count, keys, texts);
	if (!rc && b.runs > HISTORY_RUNS_MAX)
		rc = -E2BIG;
	if (rc)
		vm_fail(err, rc, "history: %s", strerror(-rc));
	else
		rc = db_commit(to, b.puts, b.count, err);
	rc = rc ? rc : db_sync(to, err);
	for (size_t i = 0; texts && i < count; i++)
		free(texts[i]);
	free(texts);
	free(keys);
	free(b.puts);
	return rc;
}

static int replace_store(const char *path, const char *beside, const struct history_run *runs, size_t count,
                         struct vm_error *err)
{
	struct db *to, *from = NULL;
	int rc = db_create(&to, beside, true, 0, err);

	if (rc)
		return rc;
	rc = access(path, F_OK) ? 0 : open_store(&from, path, err);
	rc = rc ? rc : write_store(to, from, runs, count, err);
	if (!rc && rename(beside, path))
		rc = vm_fail(err, -errno, "%s: %s", path, strerror(errno));
	db_close(from);
	if (rc)
		db_discard(to);
	else
		db_close(to);
	return rc;
}

/* The folder that the store is in, locked until it is closed: the store itself is another file after each addition. */
static int lock_folder(const char *path, struct vm_error *err)
{
	char folder[4096];
	const char *slash = strrchr(path, '/');
	int fd;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 2, slash ? path : "./");
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return vm_fail(err, -errno, "%s: %s", folder, strerror(errno));
	while (flock(fd, LOCK_EX))
		if (errno != EINTR)
			break; /* where locks are not supported there is nothing to ask */
	return fd;
}

int history_add(const char *path, const struct history_run *runs, size_t count, struct vm_error *err)
{
	char beside[4096];
	int rc, fd;

	if (snprintf(beside, sizeof(beside), "%s.new", path) >= (int)sizeof(beside))
		return vm_fail(err, -ENAMETOOLONG, "%s: name too long", path);
	fd = lock_folder(path, err);
	if (fd < 0)
		return fd;
	rc = replace_store(path, beside, runs, count, err);
	close(fd);
	return rc;
}
