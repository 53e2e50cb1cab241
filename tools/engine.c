/*
 * engine.c - see engine.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/engine.h"
#include "tools/options.h"
#include "tools/tool.h"

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

int tool_check_engine(const char *text)
{
	enum engine_kind kind;

	if (text && !find(text, &kind))
		return tool_error(TOOL_USAGE, "--engine %s: must be one of " ENGINE_WORDS, text);
	return OPTIONS_GO;
}

/* The variable is for tests: this host as one that lacks BMI2. */
static bool supported(enum engine_kind engine)
{
	return vm_engine_supported(engine) && !(engine == ENGINE_TRANSLATE && getenv("RINGSIDE_WITHOUT_BMI2"));
}

enum engine_kind tool_engine(const char *text, enum engine_kind otherwise)
{
	enum engine_kind kind = otherwise;

	if (text)
		find(text, &kind);
	if (supported(kind))
		return kind;
	tool_error(0, "engine: the translator needs a processor with BMI2: guest code is interpreted");
	return ENGINE_INTERP;
}
