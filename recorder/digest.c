/*
 * digest.c - see digest.h. An event is 48 bytes and its blob; they are gathered so that the hash is fed kilobytes at
 * a time.
 */
#include "recorder/digest.h"

#include <stdlib.h>
#include <string.h>
#include <xxh_x86dispatch.h>

#define EVENT_BYTES 48
#define GATHER (64 * EVENT_BYTES)

struct digest {
	XXH3_state_t *state;
	size_t len;
	uint8_t gather[GATHER];
};

struct digest *digest_create(void)
{
	struct digest *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->state = XXH3_createState();
	if (!d->state) {
		free(d);
		return NULL;
	}
	XXH3_64bits_reset(d->state);
	return d;
}

void digest_destroy(struct digest *d)
{
	if (!d)
		return;
	XXH3_freeState(d->state);
	free(d);
}

static void flush(struct digest *d)
{
	XXH3_64bits_update(d->state, d->gather, d->len);
	d->len = 0;
}

static void put_number(struct digest *d, uint64_t v)
{
	XXH3_64bits_update(d->state, &v, sizeof(v));
}

static void put_bytes(struct digest *d, const void *data, size_t len)
{
	put_number(d, len);
	XXH3_64bits_update(d->state, data, len);
}

void digest_header(struct digest *d, const struct trace_meta *meta)
{
	const struct vm_config *c = &meta->config;
	uint32_t i;

	put_number(d, c->memory);
	put_number(d, c->model);
	put_number(d, c->policy);
	put_number(d, c->ns_per_insn);
	put_number(d, c->ns_per_fault);
	put_number(d, c->checkpoint_interval);
	put_number(d, c->limit);
	put_bytes(d, meta->cpu_model, strlen(meta->cpu_model));
	put_bytes(d, meta->command_line, strlen(meta->command_line));
	put_number(d, meta->file_count);
	for (i = 0; i < meta->file_count; i++) {
		put_bytes(d, meta->files[i].role, strlen(meta->files[i].role));
		put_number(d, meta->files[i].bytes);
		put_number(d, meta->files[i].hash);
	}
}

void digest_state(struct digest *d, const uint8_t *state, size_t state_len)
{
	put_bytes(d, state, state_len);
}

void digest_page(struct digest *d, uint64_t number, const uint8_t *page)
{
	put_number(d, number);
	XXH3_64bits_update(d->state, page, DIGEST_PAGE_BYTES);
}

void digest_event(struct digest *d, const struct event *ev)
{
	uint8_t *p = d->gather + d->len;

	memcpy(p, &ev->icount, 8);
	memcpy(p + 8, &ev->rip, 8);
	memcpy(p + 16, &ev->addr, 8);
	memcpy(p + 24, &ev->value, 8);
	memcpy(p + 32, &ev->error, 4);
	memcpy(p + 36, &ev->op, 2);
	p[38] = ev->kind;
	p[39] = ev->vcpl;
	p[40] = ev->rcpl;
	p[41] = ev->size;
	p[42] = ev->flags;
	p[43] = 0;
	memcpy(p + 44, &ev->blob_len, 4);
	d->len += EVENT_BYTES;
	if (d->len == GATHER || ev->blob_len)
		flush(d);
	if (ev->blob_len)
		XXH3_64bits_update(d->state, ev->blob, ev->blob_len);
}

uint64_t digest_value(struct digest *d)
{
	flush(d);
	return XXH3_64bits_digest(d->state);
}
