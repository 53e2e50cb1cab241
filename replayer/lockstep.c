/*
 * lockstep.c - see lockstep.h.
 *
 * Once around:
 *
 *     first runs a stretch ----------> events (queue)
 *     the second's copies of the pages that the first wrote are kept: now they are what memory was
 *     second runs to the same moment <-- replay_input, fed by the queue
 *     registers and written pages equal?  -> forget the queue, remember this state as agreed
 *                                         -> else: both back to what was agreed, both fed by the queue, a block at a time
 *
 * Invariants
 *  1. Between stretches both VMs are in the state `agreed`, and the queue is empty.
 *  2. At a difference, what a page was when both last agreed is in `before` if the first wrote it, else in the first's memory.
 */
#include "replayer/lockstep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replayer/input.h"
#include "vmm/cpu/vcpu.h"
#include "vmm/debug.h"
#include "vmm/snapshot.h"

struct queued {
	struct event ev;
	uint8_t *blob; /* NULL when it has none */
};

/* What the first VM told since both agreed, and how far one reader of it has come. */
struct queue {
	struct queued *item;
	size_t count, room;
	uint64_t passed; /* events forgotten */
	bool failed;     /* out of memory: the VM was stopped */
};

struct reader {
	struct queue *queue;
	size_t at;
	struct event now; /* the queue's may move */
};

struct state {
	uint8_t registers[SNAPSHOT_MAX], progress[PROGRESS_MAX];
	size_t registers_len, progress_len;
};

/* Pages written by one VM since both agreed, ascending. */
struct pages {
	uint64_t *page;
	size_t count;
};

/* What pages were when both last agreed. */
struct undo {
	uint64_t *page;
	uint8_t *bytes; /* 4096 each */
	size_t count;
};

/* One of the two while it is fed by the queue. */
struct fed {
	struct vm *vm;
	struct reader reader;
	struct replay_input *input;
	struct vm_input plug;
	struct vm_observer observer;
};

struct lockstep {
	struct lockstep_options options;
	struct vm *first;
	struct vm_input plug;
	struct vm_observer told; /* of the first VM, by its owner */
	struct vm_observer observer;
	struct queue queue;
	struct fed second;
	struct state states[2], *agreed, *now; /* the pointers are exchanged */
	struct pages written[2];
	uint8_t *before; /* contents of written[0] before the stretch */
	size_t before_room;
	uint64_t compared;
	struct lockstep_difference difference;
};

enum engine_kind lockstep_other(enum engine_kind engine)
{
	return engine == ENGINE_INTERP ? ENGINE_TRANSLATE : ENGINE_INTERP;
}

/* ---- what the first VM tells ---------------------------------------------------------------------------------- */

static bool queue_put(struct queue *q, const struct event *ev)
{
	struct queued *item = q->item;

	if (q->count == q->room) {
		q->room = q->room ? q->room * 2 : 256;
		item = realloc(item, q->room * sizeof(*item));
		if (!item)
			return false;
		q->item = item;
	}
	item[q->count] = (struct queued){ .ev = *ev };
	if (ev->blob_len) {
		item[q->count].blob = malloc(ev->blob_len);
		if (!item[q->count].blob)
			return false;
		memcpy(item[q->count].blob, ev->blob, ev->blob_len);
	}
	item[q->count].ev.blob = item[q->count].blob;
	q->count++;
	return true;
}

static void queue_forget(struct queue *q)
{
	for (size_t i = 0; i < q->count; i++)
		free(q->item[i].blob);
	q->passed += q->count;
	q->count = 0;
}

static bool on_event(void *self, const struct event *ev)
{
	struct lockstep *l = self;
	bool go_on = !l->told.event || l->told.event(l->told.self, ev);

	if (!queue_put(&l->queue, ev))
		l->queue.failed = true;
	return go_on && !l->queue.failed;
}

static void on_cost(void *self, const struct event_cost *cost)
{
	struct lockstep *l = self;

	l->told.cost(l->told.self, cost);
}

static void on_guest(void *self, bool runs)
{
	struct lockstep *l = self;

	l->told.guest(l->told.self, runs);
}

/* ---- the queue as a source of a replay ------------------------------------------------------------------------ */

static int reader_peek(void *self, const struct event **ev, struct vm_error *err)
{
	struct reader *r = self;

	(void)err;
	if (r->at >= r->queue->count)
		return 0;
	r->now = r->queue->item[r->at].ev;
	*ev = &r->now;
	return 1;
}

static void reader_pass(void *self)
{
	struct reader *r = self;

	r->at++;
}

static uint64_t reader_seq(void *self)
{
	const struct reader *r = self;

	return r->queue->passed + r->at;
}

static bool comes_from_outside(enum event_kind kind)
{
	return kind == EV_INTERRUPT || kind == EV_DMA || kind == EV_INPUT || kind == EV_MARKER || kind == EV_END;
}

static uint64_t reader_async_icount(void *self)
{
	const struct reader *r = self;

	for (size_t i = r->at; i < r->queue->count; i++) {
		if (comes_from_outside((enum event_kind)r->queue->item[i].ev.kind))
			return r->queue->item[i].ev.icount;
	}
	return UINT64_MAX;
}

/* From now on the VM takes its input from the queue's beginning, and must tell what is in it. */
static int feed(struct fed *f, struct vm *vm, struct queue *queue, struct vm_error *err)
{
	const struct replay_source source = { .self = &f->reader,
		                              .peek = reader_peek,
		                              .pass = reader_pass,
		                              .seq = reader_seq,
		                              .async_icount = reader_async_icount,
		                              .grows = true };
	const struct replay_input_options options = { .clock = vm_clock(vm), .tsc_offset = &vm_vcpu(vm)->tsc_offset };
	int rc;

	f->vm = vm;
	f->reader = (struct reader){ .queue = queue };
	rc = replay_input_create_on(&f->input, &source, &options, err);
	if (rc)
		return rc;
	replay_input_plugs(f->input, &f->plug, &f->observer);
	vm_plug(vm, &f->plug, &f->observer);
	return 0;
}

/* ---- state ----------------------------------------------------------------------------------------------------- */

static void save(struct state *s, struct vm *vm)
{
	s->registers_len = vm_snapshot_save(vm, s->registers);
	s->progress_len = vm_progress_save(vm, s->progress);
}

static int put_back(struct vm *vm, const struct state *s, struct vm_error *err)
{
	int rc = vm_snapshot_load_kept(vm, s->registers, s->registers_len, err);

	return rc ? rc : vm_progress_load(vm, s->progress, s->progress_len, err);
}

/* Leaves the first's state in `now`. */
static bool same_registers(struct lockstep *l)
{
	struct state other;

	save(l->now, l->first);
	other.registers_len = vm_snapshot_save(l->second.vm, other.registers);
	return l->now->registers_len == other.registers_len &&
	       !memcmp(l->now->registers, other.registers, other.registers_len);
}

static void agree(struct lockstep *l)
{
	struct state *old = l->agreed;

	l->agreed = l->now;
	l->now = old;
	l->compared++;
}

static bool same_page(const struct lockstep *l, uint64_t page)
{
	return !memcmp(vm_ram(l->first) + (page << PAGE_SHIFT), vm_ram(l->second.vm) + (page << PAGE_SHIFT), PAGE_SIZE);
}

static bool same_pages(const struct lockstep *l, const struct pages *p)
{
	for (size_t i = 0; i < p->count; i++) {
		if (!same_page(l, p->page[i]))
			return false;
	}
	return true;
}

static bool holds(const struct pages *p, uint64_t page)
{
	size_t low = 0, high = p->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (p->page[middle] < page)
			low = middle + 1;
		else
			high = middle;
	}
	return low < p->count && p->page[low] == page;
}

static void describe_memory(struct lockstep *l)
{
	const struct pages *w = l->written;

	for (size_t i = 0; i < w[0].count; i++)
		state_diff_page(&l->difference.state, l->first, l->second.vm, w[0].page[i]);
	for (size_t i = 0; i < w[1].count; i++) {
		if (!holds(&w[0], w[1].page[i]))
			state_diff_page(&l->difference.state, l->first, l->second.vm, w[1].page[i]);
	}
}

/* Both at the same moment, what they wrote is in `written`, the first has told so many of the queue's events. True: they agree. */
static bool compare(struct lockstep *l, size_t events)
{
	struct lockstep_difference *d = &l->difference;
	const struct replay_divergence *told = replay_input_divergence(l->second.input);

	if (!told->diverged && l->second.reader.at == events && same_registers(l) && same_pages(l, &l->written[0]) &&
	    same_pages(l, &l->written[1])) {
		agree(l);
		return true;
	}
	d->found = true;
	d->to = vm_vcpu(l->first)->icount;
	d->event[0] = 0;
	d->state = (struct state_diff){ .count = 0 };
	if (told->diverged)
		snprintf(d->event, sizeof(d->event), "%s", told->what);
	else if (l->second.reader.at != events)
		snprintf(d->event, sizeof(d->event), "%zu events of the first did not happen in the second",
		         events - l->second.reader.at);
	state_diff_registers(&d->state, l->first, l->second.vm);
	describe_memory(l);
	return false;
}

/* What the first's pages were, as long as the second has not run. */
static int keep_before(struct lockstep *l, struct vm_error *err)
{
	const struct pages *p = &l->written[0];
	uint8_t *room = l->before;

	if (p->count > l->before_room) {
		room = realloc(room, p->count * PAGE_SIZE);
		if (!room)
			return vm_fail(err, -ENOMEM, "lockstep: out of memory");
		l->before = room;
		l->before_room = p->count;
	}
	for (size_t i = 0; i < p->count; i++)
		memcpy(room + i * PAGE_SIZE, vm_ram(l->second.vm) + (p->page[i] << PAGE_SHIFT), PAGE_SIZE);
	return 0;
}

/* ---- one stretch ------------------------------------------------------------------------------------------------ */

/* The second VM goes where the first is. One that ended by itself must end by itself again. */
static int follow(struct lockstep *l, const struct vm_stop *stop, struct vm_error *err)
{
	bool by_itself = stop->reason == STOP_TRIPLE_FAULT || stop->reason == STOP_GUEST_ERROR;
	struct vm_moment goal = vm_moment(l->first);
	struct vm_stop end;

	if (by_itself)
		goal = (struct vm_moment){ UINT64_MAX, 0 };
	return vm_run_to(l->second.vm, &goal, &end, err);
}

static int run_first(struct lockstep *l, uint64_t until, struct vm_stop *stop, struct vm_error *err)
{
	uint64_t now = vm_vcpu(l->first)->icount, every = l->options.every;

	if (!every)
		return vm_run_block(l->first, until, stop, err);
	return vm_run(l->first, until - now > every ? now + every : until, stop, err);
}

static void forget_queue(struct lockstep *l)
{
	queue_forget(&l->queue);
	l->second.reader.at = 0;
}

/* 1: both agree; 0: they differ; or a negative errno. */
static int stretch(struct lockstep *l, uint64_t until, struct vm_stop *stop, struct vm_error *err)
{
	int rc;

	l->difference.from = vm_vcpu(l->first)->icount;
	l->difference.space = vm_vcpu(l->first)->cr3;
	rc = run_first(l, until, stop, err);
	if (rc)
		return rc;
	if (l->queue.failed)
		return vm_fail(err, -ENOMEM, "lockstep: out of memory");
	l->written[0].count = vm_take_compared(l->first, l->written[0].page);
	rc = keep_before(l, err);
	rc = rc ? rc : follow(l, stop, err);
	if (rc)
		return rc;
	l->written[1].count = vm_take_compared(l->second.vm, l->written[1].page);
	if (!compare(l, l->queue.count))
		return 0;
	forget_queue(l);
	return 1;
}

/* ---- where the difference is ------------------------------------------------------------------------------------ */

static void undo_add(struct undo *u, uint64_t page, const uint8_t *bytes)
{
	u->page[u->count] = page;
	memcpy(u->bytes + u->count * PAGE_SIZE, bytes, PAGE_SIZE);
	u->count++;
}

static int undo_make(struct undo *u, const struct lockstep *l, struct vm_error *err)
{
	const struct pages *w = l->written;
	size_t room = w[0].count + w[1].count + 1;

	*u = (struct undo){ .page = calloc(room, sizeof(*u->page)), .bytes = calloc(room, PAGE_SIZE) };
	if (!u->page || !u->bytes)
		return vm_fail(err, -ENOMEM, "lockstep: out of memory");
	for (size_t i = 0; i < w[0].count; i++)
		undo_add(u, w[0].page[i], l->before + i * PAGE_SIZE);
	for (size_t i = 0; i < w[1].count; i++) {
		if (!holds(&w[0], w[1].page[i]))
			undo_add(u, w[1].page[i], vm_ram(l->first) + (w[1].page[i] << PAGE_SHIFT));
	}
	return 0;
}

static int rewind_one(struct vm *vm, const struct undo *u, const struct state *s, uint64_t *scratch, struct vm_error *err)
{
	for (size_t i = 0; i < u->count; i++)
		vm_write_page(vm, u->page[i], u->bytes + i * PAGE_SIZE);
	vm_take_compared(vm, scratch);
	return put_back(vm, s, err);
}

static int rewind_both(struct lockstep *l, const struct undo *u, const struct state *start, struct vm_error *err)
{
	int rc = rewind_one(l->first, u, start, l->written[0].page, err);

	return rc ? rc : rewind_one(l->second.vm, u, start, l->written[1].page, err);
}

static void disassemble(struct lockstep_difference *d, struct vm *vm, uint64_t insns)
{
	const struct vcpu *c = vm_vcpu(vm);
	unsigned mode = c->seg[SEG_CS].attr & SEG_DB && !vcpu_real_mode(c) ? MODE_CS32 | MODE_SS32 : 0;
	uint64_t rip = c->rip;

	for (d->insns = 0; d->insns < insns && d->insns < LOCKSTEP_INSNS_MAX; d->insns++) {
		struct lockstep_insn *out = &d->insn[d->insns];
		uint8_t bytes[15];
		struct insn in;
		unsigned n = 0;
		uint64_t gpa;

		while (n < sizeof(bytes) && !mmu_peek(&c->mmu, (uint32_t)(c->seg[SEG_CS].base + rip + n), &gpa))
			ram_read(c->mmu.ram, gpa, &bytes[n++], 1);
		if (!n || !insn_decode(&in, bytes, n, mode, 0))
			return;
		out->rip = rip;
		insn_format(out->text, sizeof(out->text), bytes, n, mode, rip);
		rip = (uint32_t)(rip + in.len);
	}
}

/* One block of both. 1: they agree; 0: they differ; or a negative errno. */
static int run_block(struct lockstep *l, const struct fed *first, uint64_t until, struct vm_stop *stop,
                     struct vm_error *err)
{
	struct lockstep_difference *d = &l->difference;
	int rc;

	d->from = vm_vcpu(l->first)->icount;
	d->space = vm_vcpu(l->first)->cr3;
	rc = vm_run_block(l->first, until > d->from ? until : d->from + 1, stop, err);
	if (rc)
		return rc;
	disassemble(d, l->second.vm, vm_vcpu(l->first)->icount - d->from);
	rc = follow(l, stop, err);
	if (rc)
		return rc;
	l->written[0].count = vm_take_compared(l->first, l->written[0].page);
	l->written[1].count = vm_take_compared(l->second.vm, l->written[1].page);
	return compare(l, first->reader.at);
}

/* A block at a time to `goal`, both fed by the queue. 1: they differ again, and the difference says where; 0: they do not. */
static int run_blocks(struct lockstep *l, struct vm_moment goal, struct vm_error *err)
{
	struct fed first = { .vm = l->first };
	struct vm_stop stop = { .reason = STOP_NONE };
	int rc;

	replay_input_destroy(l->second.input);
	l->second.input = NULL;
	rc = feed(&l->second, l->second.vm, &l->queue, err);
	rc = rc ? rc : feed(&first, l->first, &l->queue, err);
	rc = rc ? rc : 1;
	while (rc > 0 && stop.reason == STOP_NONE && vm_moment_compare(vm_moment(l->first), goal) < 0)
		rc = run_block(l, &first, goal.icount, &stop, err);
	replay_input_destroy(first.input);
	return rc < 0 ? rc : !rc;
}

static int locate(struct lockstep *l, struct vm_error *err)
{
	static const unsigned block_sizes[] = { 1, LOCKSTEP_INSNS_MAX };
	const struct lockstep_difference seen = l->difference;
	const struct state start = *l->agreed;
	const struct vm_moment goal = vm_moment(l->first);
	struct undo undo;
	int rc = undo_make(&undo, l, err);

	for (unsigned i = 0; i < sizeof(block_sizes) / sizeof(*block_sizes) && !rc; i++) {
		rc = rewind_both(l, &undo, &start, err);
		if (rc)
			break;
		vm_set_blocks(l->first, block_sizes[i]);
		vm_set_blocks(l->second.vm, block_sizes[i]);
		rc = run_blocks(l, goal, err);
	}
	free(undo.page);
	free(undo.bytes);
	if (!rc)
		l->difference = seen;
	l->difference.located = rc > 0;
	return rc < 0 ? rc : 0;
}

/* ---- face -------------------------------------------------------------------------------------------------------- */

int lockstep_run(struct lockstep *l, uint64_t until, struct vm_stop *stop, struct vm_error *err)
{
	int rc = 1;

	*stop = (struct vm_stop){ .reason = STOP_NONE };
	while (rc > 0 && stop->reason == STOP_NONE && vm_vcpu(l->first)->icount < until)
		rc = stretch(l, until, stop, err);
	if (rc)
		return rc < 0 ? rc : 0;
	*stop = (struct vm_stop){ .reason = STOP_OBSERVER };
	snprintf(stop->message, sizeof(stop->message), "the two engines differ");
	return locate(l, err);
}

const struct lockstep_difference *lockstep_difference(const struct lockstep *l)
{
	return &l->difference;
}

uint64_t lockstep_comparisons(const struct lockstep *l)
{
	return l->compared;
}

/* The second VM: everything the first is. */
static int clone(struct lockstep *l, struct vm_error *err)
{
	struct vm_config config = *vm_config(l->first);
	const uint8_t *ram = vm_ram(l->first);
	uint64_t pages = vm_ram_size(l->first) >> PAGE_SHIFT, *used;
	struct vm *vm;
	size_t count;
	int rc;

	config.engine = lockstep_other(config.engine);
	config.trap = TRAP_CALL;
	rc = vm_create(&vm, &config, err);
	if (rc)
		return rc;
	l->second.vm = vm;
	used = malloc(pages * sizeof(*used));
	if (!used)
		return vm_fail(err, -ENOMEM, "lockstep: out of memory");
	count = vm_used_pages(l->first, used);
	for (size_t k = 0; k < count; k++)
		vm_write_page(vm, used[k], ram + (used[k] << PAGE_SHIFT));
	free(used);
	save(l->agreed, l->first);
	rc = vm_snapshot_load(vm, l->agreed->registers, l->agreed->registers_len, err);
	return rc ? rc : vm_progress_load(vm, l->agreed->progress, l->agreed->progress_len, err);
}

static int set_up(struct lockstep *l, struct vm_error *err)
{
	uint64_t pages = vm_ram_size(l->first) >> PAGE_SHIFT;
	int rc;

	for (unsigned i = 0; i < 2; i++) {
		l->written[i].page = calloc(pages, sizeof(uint64_t));
		if (!l->written[i].page)
			return vm_fail(err, -ENOMEM, "lockstep: out of memory");
	}
	rc = clone(l, err);
	rc = rc ? rc : feed(&l->second, l->second.vm, &l->queue, err);
	if (rc)
		return rc;
	vm_take_compared(l->first, l->written[0].page);
	vm_take_compared(l->second.vm, l->written[1].page);
	if (l->options.plants)
		vm_leave_out(vm_config(l->first)->engine == ENGINE_TRANSLATE ? l->first : l->second.vm, l->options.plant);
	vm_plug(l->first, &l->plug, &l->observer);
	return 0;
}

int lockstep_create(struct lockstep **out, struct vm *vm, const struct vm_input *input,
                    const struct vm_observer *observer, const struct lockstep_options *options, struct vm_error *err)
{
	struct lockstep *l = calloc(1, sizeof(*l));
	int rc;

	*out = NULL;
	if (!l)
		return vm_fail(err, -ENOMEM, "lockstep: out of memory");
	l->options = *options;
	l->agreed = &l->states[0];
	l->now = &l->states[1];
	l->first = vm;
	l->plug = *input;
	l->told = observer ? *observer : (struct vm_observer){ .self = NULL };
	l->observer = (struct vm_observer){ .self = l,
		                            .event = on_event,
		                            .cost = l->told.cost ? on_cost : NULL,
		                            .guest = l->told.guest ? on_guest : NULL };
	rc = set_up(l, err);
	if (rc) {
		lockstep_destroy(l);
		return rc;
	}
	*out = l;
	return 0;
}

void lockstep_destroy(struct lockstep *l)
{
	if (!l)
		return;
	replay_input_destroy(l->second.input);
	vm_destroy(l->second.vm);
	queue_forget(&l->queue);
	free(l->queue.item);
	free(l->written[0].page);
	free(l->written[1].page);
	free(l->before);
	free(l);
}
