/*
 * first.c - see first.h. Pages that are not all zero are stored as runs of neighbours, by the hash of their contents: runs that are alike are one record.
 */
#include "recorder/first.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/debug.h"
#include "vmm/digest.h"
#include "vmm/snapshot.h"

struct first {
	struct held *held;
	uint64_t icount;
	uint8_t state[SNAPSHOT_MAX];
	size_t state_len;
	uint64_t *page; /* held, ascending */
	size_t count;
	/* packing thread */
	struct page_run *run;
	size_t runs;
	uint8_t *bytes; /* the last run's, RUN_PAGES_MAX pages */
	struct bytes value;
	uint64_t stored; /* bytes */
	struct db *db;
	struct codec *codec;
};

static int no_memory(struct vm_error *err)
{
	return vm_fail(err, -ENOMEM, "out of memory while packing the trace's first checkpoint");
}

void first_destroy(struct first *f)
{
	if (!f)
		return;
	free(f->page);
	free(f->run);
	free(f->bytes);
	bytes_free(&f->value);
	free(f);
}

int first_take(struct first **out, struct vm *vm, struct held *held)
{
	uint64_t pages = vm_ram_size(vm) / PAGE_BYTES;
	struct first *f = calloc(1, sizeof(*f));

	*out = NULL;
	if (!f)
		return -ENOMEM;
	/* address space: only what is used is touched */
	f->page = malloc(pages * sizeof(*f->page));
	f->run = malloc(pages * sizeof(*f->run));
	f->bytes = malloc((size_t)RUN_PAGES_MAX * PAGE_BYTES);
	if (!f->page || !f->run || !f->bytes) {
		first_destroy(f);
		return -ENOMEM;
	}
	f->held = held;
	f->icount = vm_moment(vm).icount;
	f->state_len = vm_snapshot_save(vm, f->state);
	vm_take_written(vm, f->page); /* first writes are told from here on */
	f->count = vm_used_pages(vm, f->page);
	for (size_t i = 0; i < f->count; i++)
		held_add(held, f->page[i]);
	*out = f;
	return 0;
}

/* The last run, if there is one, will not grow any more. */
static int store_run(struct first *f, struct vm_error *err)
{
	struct page_run *run = f->runs ? &f->run[f->runs - 1] : NULL;
	struct db_put put = { .table = DB_PAGES, .key_len = RUN_HASH_BYTES };

	if (!run)
		return 0;
	run_hash(f->bytes, run->count, run->hash);
	f->value.len = 0;
	if (codec_pack_run(f->codec, run, f->bytes, &f->value))
		return no_memory(err);
	f->stored += f->value.len;
	put.key = run->hash;
	put.value = f->value.data;
	put.value_len = f->value.len;
	return db_commit(f->db, &put, 1, err);
}

static bool goes_on(const struct first *f, uint64_t page)
{
	const struct page_run *run = f->runs ? &f->run[f->runs - 1] : NULL;

	return run && run->count < RUN_PAGES_MAX && run->first + run->count == page;
}

static int add_page(struct first *f, uint64_t page, const uint8_t *bytes, struct vm_error *err)
{
	struct page_run *run;
	int rc = goes_on(f, page) ? 0 : store_run(f, err);

	if (rc)
		return rc;
	if (!goes_on(f, page))
		f->run[f->runs++] = (struct page_run){ .first = page };
	run = &f->run[f->runs - 1];
	memcpy(f->bytes + (size_t)run->count++ * PAGE_BYTES, bytes, PAGE_BYTES);
	return 0;
}

static int store_page(struct first *f, uint64_t page, struct digest *digest, struct checkpoints *k, struct vm_error *err)
{
	uint8_t bytes[PAGE_BYTES];

	if (!held_fetch(f->held, page, bytes))
		return no_memory(err);
	if (all_zero(bytes, PAGE_BYTES))
		return 0;
	digest_page(digest, page, bytes);
	if (k && !checkpoints_know(k, bytes))
		return no_memory(err);
	return add_page(f, page, bytes, err);
}

int first_store(struct first *f, struct db *db, struct codec *codec, struct digest *digest, struct checkpoints *k,
                struct bytes *value, uint64_t *bytes, struct vm_error *err)
{
	struct checkpoint cp = { .icount = f->icount, .state = f->state, .state_len = f->state_len, .run = f->run };
	int rc = 0;

	f->db = db;
	f->codec = codec;
	digest_state(digest, f->state, f->state_len);
	for (size_t i = 0; !rc && i < f->count; i++)
		rc = store_page(f, f->page[i], digest, k, err);
	rc = rc ? rc : store_run(f, err);
	if (rc)
		return rc;
	cp.runs = f->runs;
	*bytes = f->stored;
	return codec_pack_checkpoint(codec, 0, &cp, value) ? no_memory(err) : 0;
}
