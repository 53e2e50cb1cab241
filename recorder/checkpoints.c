/*
 * checkpoints.c - see checkpoints.h.
 *
 * Invariants
 *  1. owed[page] is set when the page was written since the last checkpoint taken and that is not (or no longer) known
 *     to the VM's own books.
 *  2. `taken` belongs to the vCPU's thread while `storing` is false, to the packing thread while it is true. Its pages are held (held.h).
 *  3. A checkpoint is stored when its pages are, and all events before it are committed.
 *  4. Contents get their numbers in the order they are stored, without a gap; a pack is committed before or with the
 *     first list that refers to it.
 */
#include "recorder/checkpoints.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/bug.h"
#include "vmm/debug.h"
#include "vmm/digest.h"
#include "vmm/snapshot.h"

#define PAGES_A_TURN 256  /* stored before the ring of events is looked at again */
#define BYTES_A_PAGE 1500 /* a guess, until there are figures */
#define DB_PAGE 4096u
#define DEAR_PART 32   /* of what is allowed in all: a price above that is high */
#define STRETCH_MAX 2  /* spacings to wait in addition */
#define EVENT_WORK 400 /* instructions that replay in the time that an event takes */
#define CONTENT_ROOM_FIRST (1u << 14)

/* A checkpoint on its way. */
struct taken {
	uint64_t seq, icount;
	uint8_t state[SNAPSHOT_MAX], progress[PROGRESS_MAX];
	size_t state_len, progress_len, devices_len;
	uint8_t *devices; /* VM_INPUT_STATE_MAX */
	uint64_t *page;   /* room for all */
	size_t count;
};

/* Contents by hash: open addressing, a power of two of slots, at most half full. */
struct known {
	uint8_t hash[RUN_HASH_BYTES];
	uint32_t content; /* 0: empty slot */
};

struct checkpoints {
	/* vCPU's thread */
	struct vm *vm;
	struct held *held;
	unsigned percent;
	uint64_t floor;
	uint64_t spacing;
	uint64_t last_icount, last_seq;
	uint64_t pages; /* of RAM */
	uint8_t *owed;
	uint64_t owed_count;
	uint64_t *written;

	/* shared */
	struct taken taken;
	_Atomic bool storing;
	_Atomic bool given_up;
	_Atomic uint64_t stat_count, stat_bytes, stat_pages;

	/* packing thread */
	size_t stored; /* of the taken one's pages */
	struct known *known;
	size_t known_room, known_count;
	uint64_t next_content; /* number that the next new contents get */
	uint64_t *page;        /* the list of the checkpoint in progress */
	int64_t *content;
	size_t listed, list_room;
	uint8_t *pack; /* PACK_PAGES_MAX pages, `packed` of them filled: contents next_content - packed on */
	uint32_t packed;
	struct bytes value;
};

/* ---- life --------------------------------------------------------------------------------------------------- */

void checkpoints_destroy(struct checkpoints *k)
{
	if (!k)
		return;
	free(k->taken.page);
	free(k->taken.devices);
	free(k->owed);
	free(k->written);
	free(k->known);
	free(k->page);
	free(k->content);
	free(k->pack);
	bytes_free(&k->value);
	free(k);
}

int checkpoints_create(struct checkpoints **out, struct vm *vm, struct held *held, int budget, uint64_t spacing)
{
	struct checkpoints *k = calloc(1, sizeof(*k));

	*out = NULL;
	if (!k)
		return -ENOMEM;
	k->vm = vm;
	k->held = held;
	k->percent = budget ? (unsigned)budget : TRACE_CHECKPOINT_PERCENT;
	k->spacing = spacing ? spacing : TRACE_CHECKPOINT_SPACING;
	k->floor = budget ? TRACE_CHECKPOINT_LEAST : TRACE_CHECKPOINT_FLOOR;
	k->pages = vm_ram_size(vm) / PAGE_BYTES;
	k->owed = calloc(k->pages, 1);
	k->taken.page = malloc(k->pages * sizeof(*k->taken.page));
	k->taken.devices = malloc(VM_INPUT_STATE_MAX);
	k->written = malloc(k->pages * sizeof(*k->written));
	k->known_room = CONTENT_ROOM_FIRST;
	k->known = calloc(k->known_room, sizeof(*k->known));
	k->pack = malloc((size_t)PACK_PAGES_MAX * PAGE_BYTES);
	k->next_content = 1;
	if (k->owed && k->taken.page && k->taken.devices && k->written && k->known && k->pack) {
		*out = k;
		return 0;
	}
	checkpoints_destroy(k);
	return -ENOMEM;
}

/* ---- contents ----------------------------------------------------------------------------------------------- */

static struct known *known_slot(struct known *table, size_t room, const uint8_t *hash)
{
	size_t i;

	memcpy(&i, hash, sizeof(i));
	for (i &= room - 1; table[i].content && memcmp(table[i].hash, hash, RUN_HASH_BYTES); i = (i + 1) & (room - 1))
		;
	return &table[i];
}

static bool known_grow(struct checkpoints *k)
{
	size_t room = 2 * k->known_room;
	struct known *table = calloc(room, sizeof(*table));

	if (!table)
		return false;
	for (size_t i = 0; i < k->known_room; i++)
		if (k->known[i].content)
			*known_slot(table, room, k->known[i].hash) = k->known[i];
	free(k->known);
	k->known = table;
	k->known_room = room;
	return true;
}

/* Where the page's contents are known, or get next_content for their number, unless numbers are out: then that is 0. *is_new: they do. NULL: no memory. */
static const struct known *know(struct checkpoints *k, const uint8_t *page, bool *is_new)
{
	uint8_t hash[RUN_HASH_BYTES];
	struct known *slot;

	if ((k->known_count + 1) * 2 > k->known_room && !known_grow(k))
		return NULL;
	run_hash(page, 1, hash);
	slot = known_slot(k->known, k->known_room, hash);
	*is_new = !slot->content && k->next_content <= PAGE_CONTENT_MAX;
	if (*is_new) {
		memcpy(slot->hash, hash, sizeof(hash));
		slot->content = (uint32_t)k->next_content;
		k->known_count++;
	}
	return slot;
}

/* The number of these contents; *is_new when it is their first. 0 when memory, or numbers, are out. */
static uint32_t content_of(struct checkpoints *k, const uint8_t *bytes, bool *is_new)
{
	const struct known *known = know(k, bytes, is_new);

	if (!known)
		return 0;
	k->next_content += *is_new;
	return known->content;
}

/* ---- the vCPU's thread -------------------------------------------------------------------------------------- */

static void note_owed(struct checkpoints *k)
{
	size_t n = vm_take_written(k->vm, k->written), i;

	for (i = 0; i < n; i++) {
		k->owed_count += !k->owed[k->written[i]];
		k->owed[k->written[i]] = 1;
	}
}

/* Does the budget allow it, and is it worth it so soon? While a guest rewrites much of its memory, as when it boots, each checkpoint is dear, and much of what it
 * holds is written over before the next: then they lie further apart. */
static bool affordable(const struct checkpoints *k, uint64_t pages, uint64_t work, uint64_t trace_bytes)
{
	uint64_t spent = atomic_load(&k->stat_bytes), stored = atomic_load(&k->stat_pages);
	uint64_t each = stored ? spent / stored + 1 : BYTES_A_PAGE, allowed = trace_bytes / 100 * k->percent;
	uint64_t price = pages * each + DB_PAGE, stretch;

	allowed = allowed > k->floor ? allowed : k->floor;
	stretch = price / (allowed / DEAR_PART + 1);
	if (work / k->spacing < 1 + (stretch < STRETCH_MAX ? stretch : STRETCH_MAX))
		return false;
	return spent + price <= allowed;
}

static void take_state(struct taken *t, struct vm *vm, uint64_t seq, uint64_t icount)
{
	t->seq = seq;
	t->icount = icount;
	t->state_len = vm_snapshot_save(vm, t->state);
	t->progress_len = vm_progress_save(vm, t->progress);
	t->devices_len = vm_devices_save(vm, t->devices, VM_INPUT_STATE_MAX);
}

static void hold_pages(struct checkpoints *k)
{
	k->taken.count = 0;
	for (uint64_t page = 0; k->owed_count; page++) {
		if (!k->owed[page])
			continue;
		k->owed[page] = 0;
		k->owed_count--;
		held_add(k->held, page);
		k->taken.page[k->taken.count++] = page;
	}
}

bool checkpoints_take(struct checkpoints *k, uint64_t seq, uint64_t icount, uint64_t trace_bytes)
{
	uint64_t work = icount - k->last_icount + (seq - k->last_seq) * EVENT_WORK;

	if (work < k->spacing || atomic_load(&k->storing) || atomic_load(&k->given_up))
		return false;
	note_owed(k);
	if (!affordable(k, k->owed_count, work, trace_bytes))
		return false;
	k->last_icount = icount;
	k->last_seq = seq;
	hold_pages(k);
	take_state(&k->taken, k->vm, seq, icount);
	atomic_store(&k->storing, true);
	return true;
}

/* ---- the packing thread ------------------------------------------------------------------------------------- */

bool checkpoints_waiting(const struct checkpoints *k)
{
	return atomic_load(&k->storing) && k->stored < k->taken.count;
}

void checkpoints_give_up(struct checkpoints *k)
{
	atomic_store(&k->given_up, true);
}

void checkpoints_stats(const struct checkpoints *k, uint64_t *count, uint64_t *bytes)
{
	*count = atomic_load_explicit(&k->stat_count, memory_order_relaxed);
	*bytes = atomic_load_explicit(&k->stat_bytes, memory_order_relaxed);
}

static int no_memory(struct vm_error *err)
{
	return vm_fail(err, -ENOMEM, "out of memory while packing a checkpoint");
}

static int put(struct checkpoints *k, struct db *db, enum db_table table, uint64_t number, struct vm_error *err)
{
	uint8_t key[SEQ_KEY_BYTES];
	struct db_put one = { .table = table,
		              .append = true,
		              .key = key,
		              .key_len = sizeof(key),
		              .value = k->value.data,
		              .value_len = k->value.len };

	seq_key(key, number);
	atomic_fetch_add(&k->stat_bytes, (k->value.len + DB_PAGE) / DB_PAGE * DB_PAGE);
	return db_commit(db, &one, 1, err);
}

static int flush_pack(struct checkpoints *k, struct db *db, struct codec *codec, struct vm_error *err)
{
	uint64_t first = k->next_content - k->packed;

	if (!k->packed)
		return 0;
	k->value.len = 0;
	if (codec_pack_pages(codec, first, k->pack, k->packed, &k->value))
		return no_memory(err);
	atomic_fetch_add(&k->stat_pages, k->packed);
	k->packed = 0;
	return put(k, db, DB_PACKS, first, err);
}

static bool list_room(struct checkpoints *k)
{
	size_t room = k->list_room ? 2 * k->list_room : 4096;
	uint64_t *page;
	int64_t *content;

	if (k->listed < k->list_room)
		return true;
	page = realloc(k->page, room * sizeof(*page));
	if (page)
		k->page = page;
	content = realloc(k->content, room * sizeof(*content));
	if (content)
		k->content = content;
	if (!page || !content)
		return false;
	k->list_room = room;
	return true;
}

static void list_add(struct checkpoints *k, uint64_t page, uint32_t content)
{
	k->page[k->listed] = page;
	k->content[k->listed++] = content;
}

static int store_page(struct checkpoints *k, struct db *db, struct codec *codec, uint64_t page, struct vm_error *err)
{
	uint8_t *bytes = k->pack + (size_t)k->packed * PAGE_BYTES;
	bool is_new = false;
	uint32_t content = 0;

	if (!list_room(k) || !held_fetch(k->held, page, bytes))
		return no_memory(err);
	if (!all_zero(bytes, PAGE_BYTES)) {
		content = content_of(k, bytes, &is_new);
		if (!content)
			return no_memory(err);
	}
	list_add(k, page, content);
	k->packed += is_new;
	return k->packed == PACK_PAGES_MAX ? flush_pack(k, db, codec, err) : 0;
}

static int store_list(struct checkpoints *k, struct db *db, struct codec *codec, struct vm_error *err)
{
	struct taken *t = &k->taken;
	struct resume r = { .icount = t->icount,
		            .state = t->state,
		            .state_len = t->state_len,
		            .progress = t->progress,
		            .progress_len = t->progress_len,
		            .devices = t->devices,
		            .devices_len = t->devices_len,
		            .page = k->page,
		            .content = k->content,
		            .pages = k->listed };
	int rc = flush_pack(k, db, codec, err);

	if (rc)
		return rc;
	k->value.len = 0;
	if (codec_pack_resume(codec, t->seq, &r, &k->value))
		return no_memory(err);
	k->listed = 0;
	atomic_fetch_add(&k->stat_count, t->seq != 0);
	return put(k, db, DB_RESUME, t->seq, err);
}

int checkpoints_store(struct checkpoints *k, struct db *db, struct codec *codec, uint64_t events, bool *more,
                      struct vm_error *err)
{
	size_t end;
	int rc = 0;

	*more = false;
	if (!atomic_load(&k->storing) || (k->stored == k->taken.count && k->taken.seq > events))
		return 0;
	*more = true;
	end = k->taken.count - k->stored > PAGES_A_TURN ? k->stored + PAGES_A_TURN : k->taken.count;
	while (!rc && k->stored < end)
		rc = store_page(k, db, codec, k->taken.page[k->stored++], err);
	if (rc || k->stored < k->taken.count || k->taken.seq > events)
		return rc;
	rc = store_list(k, db, codec, err);
	k->stored = 0;
	atomic_store(&k->storing, false);
	return rc;
}

/* Contents of checkpoint 0 are numbered as they lie in it: from the first on, twins included. */
bool checkpoints_know(struct checkpoints *k, const uint8_t *page)
{
	bool is_new;

	if (!know(k, page, &is_new))
		return false;
	k->next_content++;
	return true;
}

void checkpoints_begin(struct checkpoints *k)
{
	k->last_icount = vm_moment(k->vm).icount;
	take_state(&k->taken, k->vm, 0, k->last_icount);
	atomic_store(&k->storing, true);
}
