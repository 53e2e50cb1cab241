/*
 * engine.c - see engine.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/engine.h"
#include "tools/options.h"
#include "tools/tool.h"

#define COMPARE_EVERY 1000
#define COMPARE_LEAST 100 /* shorter stretches are cut blocks, and those are interpreted */
#define LOCKSTEP "lockstep"

static bool find(const char *text, enum engine_kind *out)
{
	static const enum engine_kind kinds[] = { ENGINE_TRANSLATE, ENGINE_INTERP };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strcmp(text, vm_engine_name(kinds[i])))
			continue;
		*out = kinds[i];
		return true;
	}
	return false;
}

static bool in_lockstep(const struct engine_options *o)
{
	return o->engine && !strcmp(o->engine, LOCKSTEP);
}

/* 0 for each block. */
static bool parse_every(const char *text, uint64_t *every)
{
	*every = text ? 0 : COMPARE_EVERY;
	return !text || !strcmp(text, "block") || (tool_parse_count(text, every) && *every >= COMPARE_LEAST);
}

int tool_check_engine(const struct engine_options *o)
{
	enum engine_kind kind;
	uint64_t number;

	if (o->engine && !in_lockstep(o) && !find(o->engine, &kind))
		return tool_error(TOOL_USAGE, "--engine %s: must be one of " ENGINE_WORDS, o->engine);
	if (!parse_every(o->every, &number))
		return tool_error(TOOL_USAGE,
		                  "--compare-every %s: must be a number of instructions from 100 on, or block", o->every);
	if ((o->every || o->plant) && !in_lockstep(o))
		return tool_error(TOOL_USAGE, "--compare-every: goes with --engine lockstep");
	if (o->plant && (!tool_parse_size(o->plant, &number) || number > UINT32_MAX))
		return tool_error(TOOL_USAGE, "--plant-mistake %s: must be an address", o->plant);
	return OPTIONS_GO;
}

/* The variable is for tests: this host as one that lacks BMI2. */
static bool supported(enum engine_kind engine)
{
	return vm_engine_supported(engine) && !(engine == ENGINE_TRANSLATE && getenv("RINGSIDE_WITHOUT_BMI2"));
}

enum engine_kind tool_engine(const struct engine_options *o, enum engine_kind otherwise)
{
	enum engine_kind kind = in_lockstep(o) ? ENGINE_TRANSLATE : otherwise;

	if (o->engine)
		find(o->engine, &kind);
	if (supported(kind))
		return kind;
	tool_error(0, "engine: the translator needs a processor with BMI2: guest code is interpreted");
	return ENGINE_INTERP;
}

bool tool_lockstep(const struct engine_options *o, struct lockstep_options *out)
{
	uint64_t plant = 0;

	*out = (struct lockstep_options){ .plants = o->plant };
	if (!in_lockstep(o))
		return false;
	parse_every(o->every, &out->every);
	if (o->plant)
		tool_parse_size(o->plant, &plant);
	out->plant = (uint32_t)plant;
	return true;
}

static void tell_insns(const struct lockstep_difference *d)
{
	fprintf(stderr, d->insns == 1 ? "  instruction (cr3 0x%" PRIx64 "):\n" : "  block (cr3 0x%" PRIx64 "):\n",
	        d->space);
	for (unsigned i = 0; i < d->insns; i++)
		fprintf(stderr, "    0x%08" PRIx64 "  %s\n", d->insn[i].rip, d->insn[i].text);
}

void tool_tell_difference(const struct lockstep_difference *d, enum engine_kind first)
{
	const char *a = vm_engine_name(first), *b = vm_engine_name(lockstep_other(first));

	tool_error(0, LOCKSTEP ": %s and %s agree at icount %" PRIu64 " and differ at %" PRIu64, a, b, d->from, d->to);
	if (d->located)
		tell_insns(d);
	else
		fprintf(stderr, "  not seen again when run a block at a time: it takes a longer stretch\n");
	if (*d->event)
		fprintf(stderr, "  event: %s\n", d->event);
	if (d->state.count)
		fprintf(stderr, "  %-20s %18s %18s\n", "field", a, b);
	for (unsigned i = 0; i < d->state.count; i++)
		fprintf(stderr, "  %-20s %#18" PRIx64 " %#18" PRIx64 "\n", d->state.field[i].name,
		        d->state.field[i].first, d->state.field[i].second);
	if (d->state.more)
		fprintf(stderr, "  and more\n");
}
