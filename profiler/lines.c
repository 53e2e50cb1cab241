/*
 * lines.c - see lines.h. The bytes are a guest's: any value, any length, no end.
 */
#include "profiler/lines.h"

#include <ctype.h>
#include <errno.h>
#include <regex.h>
#include <stdlib.h>

struct lines {
	regex_t regex;
	char line[LINE_MAX_KEPT + 1];
	size_t len;
};

int lines_open(struct lines **out, const char *pattern, struct vm_error *err)
{
	struct lines *l = calloc(1, sizeof(*l));
	char why[128];
	int rc;

	*out = NULL;
	if (!l)
		return vm_fail(err, -ENOMEM, "out of memory");
	rc = regcomp(&l->regex, pattern, REG_EXTENDED | REG_NOSUB);
	if (rc) {
		regerror(rc, &l->regex, why, sizeof(why));
		free(l);
		return vm_fail(err, -EINVAL, "'%s': %s", pattern, why);
	}
	*out = l;
	return 0;
}

void lines_close(struct lines *l)
{
	if (!l)
		return;
	regfree(&l->regex);
	free(l);
}

bool lines_match(const struct lines *l, const char *text)
{
	return !regexec(&l->regex, text, 0, NULL, 0);
}

const char *lines_put(struct lines *l, uint8_t byte)
{
	if (byte != '\n') {
		if (l->len < LINE_MAX_KEPT && isascii(byte) && isprint(byte))
			l->line[l->len++] = (char)byte;
		return NULL;
	}
	l->line[l->len] = 0;
	l->len = 0;
	return lines_match(l, l->line) ? l->line : NULL;
}
