/*
 * checkpoints.c - see checkpoints.h.
 *
 * Invariants
 *  1. owed[page] is set when the page was written since the last checkpoint taken and that is not (or no longer) known
 *     to the VM's own books.
 *  2. Parts are stored in the order they were taken. A part's pages belong to the checkpoint of the next part that is
 *     `last`; that part waits until all events before its checkpoint are committed.
 *  3. Contents get their numbers in the order they are stored, without a gap; a pack is committed before or with the
 *     first list that refers to it.
 */
#include "recorder/checkpoints.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/bug.h"
#include "vmm/snapshot.h"

#define PART_PAGES 256    /* 1 MiB: stored before the ring of events is full again */
#define PARTS_MAX 64      /* on their way at most */
#define BYTES_A_PAGE 1500 /* a guess, until there are figures */
#define DB_PAGE 4096u
#define DEAR_PART 32   /* of what is allowed in all: a price above that is high */
#define STRETCH_MAX 2  /* spacings to wait in addition */
#define EVENT_WORK 400 /* instructions that replay in the time that an event takes */
#define CONTENT_ROOM_FIRST (1u << 14)

struct part {
	struct part *next;
	bool last;
	uint64_t seq, icount;
	uint8_t state[SNAPSHOT_MAX], progress[PROGRESS_MAX];
	size_t state_len, progress_len, devices_len;
	uint8_t *devices; /* VM_INPUT_STATE_MAX */
	size_t count;
	uint64_t page[PART_PAGES];
	uint8_t *bytes; /* PART_PAGES * PAGE_BYTES */
};

/* Contents by hash: open addressing, a power of two of slots, at most half full. */
struct known {
	uint8_t hash[RUN_HASH_BYTES];
	uint32_t content; /* 0: empty slot */
};

struct checkpoints {
	/* vCPU's thread */
	struct vm *vm;
	unsigned percent;
	uint64_t floor;
	uint64_t spacing;
	uint64_t last_icount, last_seq;
	bool dead;      /* memory ran out in the middle of a checkpoint: there will be no other */
	uint64_t pages; /* of RAM */
	uint8_t *owed;
	uint64_t *written;

	/* shared */
	pthread_mutex_t lock;
	pthread_cond_t room;
	struct part *head, **tail, *spare;
	unsigned parts; /* taken and not yet stored */
	bool fresh;
	bool given_up;
	_Atomic uint64_t stat_count, stat_bytes, stat_pages;

	/* packing thread */
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

static void part_free(struct part *p)
{
	if (!p)
		return;
	free(p->devices);
	free(p->bytes);
	free(p);
}

static void parts_free(struct part *p)
{
	struct part *next;

	for (; p; p = next) {
		next = p->next;
		part_free(p);
	}
}

void checkpoints_destroy(struct checkpoints *k)
{
	if (!k)
		return;
	parts_free(k->head);
	parts_free(k->spare);
	free(k->owed);
	free(k->written);
	free(k->known);
	free(k->page);
	free(k->content);
	free(k->pack);
	bytes_free(&k->value);
	pthread_cond_destroy(&k->room);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

int checkpoints_create(struct checkpoints **out, struct vm *vm, int budget, uint64_t spacing)
{
	struct checkpoints *k = calloc(1, sizeof(*k));

	*out = NULL;
	if (!k)
		return -ENOMEM;
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->room, NULL);
	k->vm = vm;
	k->percent = budget ? (unsigned)budget : TRACE_CHECKPOINT_PERCENT;
	k->spacing = spacing ? spacing : TRACE_CHECKPOINT_SPACING;
	k->floor = budget ? TRACE_CHECKPOINT_LEAST : TRACE_CHECKPOINT_FLOOR;
	k->tail = &k->head;
	k->pages = vm_ram_size(vm) / PAGE_BYTES;
	k->owed = calloc(k->pages, 1);
	k->written = malloc(k->pages * sizeof(*k->written));
	k->known_room = CONTENT_ROOM_FIRST;
	k->known = calloc(k->known_room, sizeof(*k->known));
	k->pack = malloc((size_t)PACK_PAGES_MAX * PAGE_BYTES);
	k->next_content = 1;
	if (k->owed && k->written && k->known && k->pack) {
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

/* The number of these contents; *is_new when it is their first. 0 when memory, or numbers, are out. */
static uint32_t content_of(struct checkpoints *k, const uint8_t *bytes, bool *is_new)
{
	uint8_t hash[RUN_HASH_BYTES];
	struct known *slot;

	if ((k->known_count + 1) * 2 > k->known_room && !known_grow(k))
		return 0;
	run_hash(bytes, 1, hash);
	slot = known_slot(k->known, k->known_room, hash);
	*is_new = !slot->content;
	if (*is_new) {
		if (k->next_content > PAGE_CONTENT_MAX)
			return 0;
		memcpy(slot->hash, hash, sizeof(hash));
		slot->content = (uint32_t)k->next_content++;
		k->known_count++;
	}
	return slot->content;
}

static bool is_zero(const uint8_t *page)
{
	static const uint8_t zero[PAGE_BYTES];

	return !memcmp(page, zero, PAGE_BYTES);
}

/* ---- the vCPU's thread -------------------------------------------------------------------------------------- */

static uint64_t count_owed(struct checkpoints *k)
{
	size_t n = vm_take_written(k->vm, k->written), i;
	uint64_t page, owed = 0;

	for (i = 0; i < n; i++)
		k->owed[k->written[i]] = 1;
	for (page = 0; page < k->pages; page++)
		owed += k->owed[page];
	return owed;
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

static struct part *part_new(void)
{
	struct part *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->devices = malloc(VM_INPUT_STATE_MAX);
	p->bytes = malloc((size_t)PART_PAGES * PAGE_BYTES);
	if (p->devices && p->bytes)
		return p;
	part_free(p);
	return NULL;
}

/* An empty part, when there is room for one on the way; NULL: no memory, or nobody stores any more. */
static struct part *part_get(struct checkpoints *k)
{
	struct part *p = NULL;

	pthread_mutex_lock(&k->lock);
	while (k->parts >= PARTS_MAX && !k->given_up)
		pthread_cond_wait(&k->room, &k->lock);
	if (!k->given_up) {
		p = k->spare;
		if (p)
			k->spare = p->next;
		k->parts++;
	}
	pthread_mutex_unlock(&k->lock);
	if (p || k->given_up)
		return p;
	p = part_new();
	if (p)
		return p;
	pthread_mutex_lock(&k->lock);
	k->parts--;
	pthread_mutex_unlock(&k->lock);
	return NULL;
}

static void part_hand_over(struct checkpoints *k, struct part *p)
{
	p->next = NULL;
	pthread_mutex_lock(&k->lock);
	*k->tail = p;
	k->tail = &p->next;
	k->fresh = true;
	pthread_mutex_unlock(&k->lock);
}

static void fill_state(struct part *p, struct vm *vm, uint64_t seq, uint64_t icount)
{
	p->last = true;
	p->seq = seq;
	p->icount = icount;
	p->state_len = vm_snapshot_save(vm, p->state);
	p->progress_len = vm_progress_save(vm, p->progress);
	p->devices_len = vm_devices_save(vm, p->devices, VM_INPUT_STATE_MAX);
}

/* From page *at on; what is copied is not owed any more. */
static void fill_pages(struct checkpoints *k, struct part *p, uint64_t *at)
{
	const uint8_t *ram = vm_ram(k->vm);

	p->count = 0;
	for (; *at < k->pages && p->count < PART_PAGES; (*at)++) {
		if (!k->owed[*at])
			continue;
		k->owed[*at] = 0;
		memcpy(p->bytes + p->count * PAGE_BYTES, ram + *at * PAGE_BYTES, PAGE_BYTES);
		p->page[p->count++] = *at;
	}
}

bool checkpoints_take(struct checkpoints *k, uint64_t seq, uint64_t icount, uint64_t trace_bytes)
{
	uint64_t work = icount - k->last_icount + (seq - k->last_seq) * EVENT_WORK, owed, at = 0;
	struct part *p;

	if (k->dead || work < k->spacing)
		return false;
	owed = count_owed(k);
	if (!affordable(k, owed, work, trace_bytes))
		return false;
	k->last_icount = icount;
	k->last_seq = seq;
	do {
		p = part_get(k);
		if (!p) {
			k->dead = true;
			return true;
		}
		fill_pages(k, p, &at);
		p->last = false;
		owed -= p->count;
		if (!owed)
			fill_state(p, k->vm, seq, icount);
		part_hand_over(k, p);
	} while (owed);
	return true;
}

/* ---- the packing thread ------------------------------------------------------------------------------------- */

bool checkpoints_waiting(struct checkpoints *k)
{
	bool fresh;

	pthread_mutex_lock(&k->lock);
	fresh = k->fresh;
	pthread_mutex_unlock(&k->lock);
	return fresh;
}

void checkpoints_give_up(struct checkpoints *k)
{
	pthread_mutex_lock(&k->lock);
	k->given_up = true;
	pthread_cond_broadcast(&k->room);
	pthread_mutex_unlock(&k->lock);
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

static int store_page(struct checkpoints *k, struct db *db, struct codec *codec, uint64_t page, const uint8_t *bytes,
                      struct vm_error *err)
{
	bool is_new = false;
	uint32_t content = 0;

	if (!list_room(k))
		return no_memory(err);
	if (!is_zero(bytes)) {
		content = content_of(k, bytes, &is_new);
		if (!content)
			return no_memory(err);
	}
	list_add(k, page, content);
	if (!is_new)
		return 0;
	memcpy(k->pack + (size_t)k->packed++ * PAGE_BYTES, bytes, PAGE_BYTES);
	return k->packed == PACK_PAGES_MAX ? flush_pack(k, db, codec, err) : 0;
}

static int store_list(struct checkpoints *k, struct db *db, struct codec *codec, const struct part *p,
                      struct vm_error *err)
{
	struct resume r = { .icount = p->icount,
		            .state = (uint8_t *)(uintptr_t)p->state,
		            .state_len = p->state_len,
		            .progress = (uint8_t *)(uintptr_t)p->progress,
		            .progress_len = p->progress_len,
		            .devices = p->devices,
		            .devices_len = p->devices_len,
		            .page = k->page,
		            .content = k->content,
		            .pages = k->listed };
	int rc = flush_pack(k, db, codec, err);

	if (rc)
		return rc;
	k->value.len = 0;
	if (codec_pack_resume(codec, p->seq, &r, &k->value))
		return no_memory(err);
	k->listed = 0;
	atomic_fetch_add(&k->stat_count, p->seq != 0);
	return put(k, db, DB_RESUME, p->seq, err);
}

/* The first part, unless it has to wait for events. */
static struct part *part_next(struct checkpoints *k, uint64_t events)
{
	struct part *p;

	pthread_mutex_lock(&k->lock);
	p = k->head;
	k->fresh = false;
	if (p && p->last && p->seq > events)
		p = NULL;
	if (p) {
		k->head = p->next;
		if (!k->head)
			k->tail = &k->head;
	}
	pthread_mutex_unlock(&k->lock);
	return p;
}

static void part_give_back(struct checkpoints *k, struct part *p)
{
	pthread_mutex_lock(&k->lock);
	p->next = k->spare;
	k->spare = p;
	k->parts--;
	pthread_cond_signal(&k->room);
	pthread_mutex_unlock(&k->lock);
}

int checkpoints_store(struct checkpoints *k, struct db *db, struct codec *codec, uint64_t events, bool *more,
                      struct vm_error *err)
{
	struct part *p = part_next(k, events);
	int rc = 0;

	*more = p;
	if (!p)
		return 0;
	for (size_t i = 0; !rc && i < p->count; i++)
		rc = store_page(k, db, codec, p->page[i], p->bytes + i * PAGE_BYTES, err);
	if (!rc && p->last)
		rc = store_list(k, db, codec, p, err);
	part_give_back(k, p);
	return rc;
}

/* Contents of checkpoint 0 are numbered as they lie in it: from the first on, twins included. */
static bool know_first(struct checkpoints *k, struct vm *vm, const struct checkpoint *first)
{
	for (size_t i = 0; i < first->runs; i++) {
		for (uint32_t j = 0; j < first->run[i].count; j++, k->next_content++) {
			uint8_t hash[RUN_HASH_BYTES];
			struct known *slot;

			if ((k->known_count + 1) * 2 > k->known_room && !known_grow(k))
				return false;
			run_hash(vm_ram(vm) + (first->run[i].first + j) * PAGE_BYTES, 1, hash);
			slot = known_slot(k->known, k->known_room, hash);
			if (slot->content)
				continue;
			memcpy(slot->hash, hash, sizeof(hash));
			slot->content = (uint32_t)k->next_content;
			k->known_count++;
		}
	}
	return true;
}

int checkpoints_begin(struct checkpoints *k, struct vm *vm, const struct checkpoint *first, struct db *db,
                      struct codec *codec, struct vm_error *err)
{
	struct part *p;
	int rc;

	if (!know_first(k, vm, first))
		return no_memory(err);
	p = part_new();
	if (!p)
		return no_memory(err);
	vm_take_written(vm, k->written); /* all of it is in checkpoint 0 */
	fill_state(p, vm, 0, first->icount);
	k->last_icount = first->icount;
	rc = store_list(k, db, codec, p, err);
	part_free(p);
	return rc;
}
