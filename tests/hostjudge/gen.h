/*
 * gen.h - makes test cases for the judge. A case is a function of (seed, index) and nothing else, so a report of the two is enough to see it again.
 */
#ifndef RINGSIDE_TESTS_HOSTJUDGE_GEN_H
#define RINGSIDE_TESTS_HOSTJUDGE_GEN_H

#include "tests/hostjudge/case.h"
#include "vmm/decode/insn.h"

#define GEN_MODE (MODE_CS32 | MODE_SS32 | MODE_USER | MODE_CATCH_ANY)

enum gen_class {
	GEN_INTEGER,
	GEN_CONTROL,
	GEN_STRING,
	GEN_PRIVILEGED,
	GEN_X87,
	GEN_MMX,
	GEN_SSE,
	GEN_SSE_FLOAT,
	GEN_UNDEFINED, /* a LOCK prefix where none may be */
	GEN_SEQUENCE, /* a small program: register-only instructions of any class, loads and stores, forward branches, perhaps all in a loop */
	GEN_CLASSES
};
extern const char *const gen_class_names[GEN_CLASSES];

struct gen;

/* only: an op's name, or NULL for all. NULL when out of memory or no instruction has that name. */
struct gen *gen_create(const char *only);
void gen_only_sequences(struct gen *g);
void gen_free(struct gen *g);
unsigned gen_entries(const struct gen *g); /* instruction forms it draws from */
/* Fills k->in, code, len and branches; *in is the decoded instruction, OP_NONE for a sequence. */
enum gen_class gen_case(const struct gen *g, uint64_t seed, uint64_t index, struct hj_case *k, struct insn *in);

#endif
