/*
 * test_history.c - a store keeps what is added, in order, also when several add at once; what is no store, or a damaged one, is refused.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "profiler/history.h"
#include "recorder/db.h"
#include "vmm/decode/insn.h"

static char dir[64], path[96];

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_history_XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/runs", dir);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static struct history_run make_run(const char *label, uint32_t cost)
{
	static const struct event hlt = { .kind = EV_FAULT, .op = OP_HLT, .rip = 0x1000 };
	static const struct event in = { .kind = EV_PIO, .op = OP_IN, .rip = 0x1010, .addr = 0x3fd };
	struct event_cost c = { .cycles = { [PH_EMULATE] = cost } };
	static struct trace_meta meta;
	struct history_run run;
	struct profile *p;

	strcpy(meta.host, "a \"host\"");
	strcpy(meta.files[0].name, "kernel.elf");
	meta.file_count = 1;
	meta.created = 1700000000;
	meta.config.memory = 64 << 20;
	meta.icount = 12345;
	assert_int_equal(profile_create(&p, NULL), 0);
	for (int i = 0; i < 30; i++)
		assert_int_equal(profile_add(p, i % 3 ? &in : &hlt, &c), 0);
	assert_int_equal(history_run_make(&run, &meta, p, label, NULL, NULL), 0);
	profile_destroy(p);
	return run;
}

static void what_is_added_comes_back(void **state)
{
	struct history_run run;
	struct history h;

	(void)state;
	assert_int_equal(history_open(&h, path, NULL), -ENOENT);
	for (unsigned i = 0; i < 20; i++) {
		char label[16];

		snprintf(label, sizeof(label), "v%u", i);
		run = make_run(label, 100 + i);
		assert_int_equal(history_add(path, &run, 1, NULL), 0);
		history_run_free(&run);
	}
	assert_int_equal(history_open(&h, path, NULL), 0);
	assert_int_equal(h.count, 20);
	for (unsigned i = 0; i < 20; i++) {
		const struct history_run *r = &h.runs[i];

		assert_int_equal(strtoul(r->label + 1, NULL, 10), i);
		assert_string_equal(r->workload, "kernel.elf 0/1/3 catch 64M");
		assert_string_equal(r->host, "a \"host\"");
		assert_int_equal(r->events, 30);
		assert_int_equal(r->icount, 12345);
		assert_int_equal(r->cost, 30 * (100 + i));
		assert_true(r->costs_ok);
		assert_int_equal(history_row_find(r, "insn hlt fault")->count, 10);
		assert_int_equal(history_row_find(r, "insn in pio")->count, 20);
		assert_int_equal(history_row_find(r, "insn in pio")->p50, 100 + i);
		assert_int_equal(history_row_find(r, "insn in pio")->p25, 100 + i);
		assert_int_equal(history_row_find(r, "port 3fd read uart line status pio")->count, 20);
		assert_null(history_row_find(r, "insn out pio"));
		assert_true(history_same_series(r, &h.runs[0]));
	}
	history_close(&h);
}

/* Nothing is lost. */
static void several_add_at_once(void **state)
{
	enum { WRITERS = 4, EACH = 5 };
	struct history h;
	int status, failed = 0;

	(void)state;
	for (int w = 0; w < WRITERS; w++)
		if (!fork()) {
			struct history_run run = make_run("label", 100);
			int rc = 0;

			for (int i = 0; !rc && i < EACH; i++)
				rc = history_add(path, &run, 1, NULL);
			_exit(rc != 0);
		}
	for (int w = 0; w < WRITERS; w++) {
		assert_true(wait(&status) > 0);
		failed += status != 0;
	}
	assert_int_equal(failed, 0);
	assert_int_equal(history_open(&h, path, NULL), 0);
	assert_int_equal(h.count, WRITERS * EACH);
	history_close(&h);
}

static void write_store(const char *key, const char *value)
{
	const struct db_put puts[] = {
		{ DB_META, false, "format", 6, "ringside-history 1", 18 },
		{ DB_META, false, key, strlen(key), value, strlen(value) },
	};
	struct db *db;

	assert_int_equal(db_create(&db, path, true, 0, NULL), 0);
	assert_int_equal(db_commit(db, puts, 2, NULL), 0);
	db_close(db);
}

static void what_is_no_store_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"{}",
		"null",
		"{\"label\":1}",
		"{\"label\":\"x\",\"workload\":\"w\",\"host\":\"h\",\"date\":0,\"events\":-1,\"icount\":0,\"cost\":0,"
		"\"rows\":{}}",
		"{\"label\":\"x\",\"workload\":\"w\",\"host\":\"h\",\"date\":0,\"events\":1e99,\"icount\":0,\"cost\":0,"
		"\"rows\":{}}",
		"{\"label\":\"x\",\"workload\":\"w\",\"host\":\"h\",\"date\":0,\"events\":1,\"icount\":0,\"cost\":0,"
		"\"rows\":[1]}",
		"{\"label\":\"x\",\"workload\":\"w\",\"host\":\"h\",\"date\":0,\"events\":1,\"icount\":0,\"cost\":0,"
		"\"rows\":{\"r\":[1]}}",
		"{\"label\":\"x\",\"workload\":\"w\",\"host\":\"h\",\"date\":0,\"events\":1,\"icount\":0,\"cost\":0,"
		"\"rows\":{\"r\":7}}",
	};
	struct history_run run = make_run("x", 1);
	struct vm_error err;
	struct history h;
	FILE *f;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		write_store("run/00000000", bad[i]);
		assert_int_equal(history_open(&h, path, &err), -EBADMSG);
		assert_int_equal(h.count, 0);
	}
	write_store("other", "thing");
	assert_int_equal(history_open(&h, path, &err), 0);
	history_close(&h);
	f = fopen(path, "w");
	fputs("not a database\n", f);
	fclose(f);
	assert_int_equal(history_open(&h, path, &err), -EBADMSG);
	assert_int_equal(history_add(path, &run, 1, &err), -EBADMSG); /* and it is left alone */
	assert_int_equal(access(path, F_OK), 0);
	history_run_free(&run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_added_comes_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(several_add_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_store_is_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
