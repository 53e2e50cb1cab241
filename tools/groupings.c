/*
 * groupings.c - see groupings.h.
 */
#include <string.h>

#include "tools/groupings.h"
#include "tools/options.h"
#include "tools/tool.h"

static int bad_list(const char *list)
{
	return tool_error(TOOL_USAGE, "--by %s: must be a list of %s", list, profile_by_names);
}

static bool have(const enum profile_by by[BY_MAX], size_t count, int wanted)
{
	for (size_t i = 0; i < count; i++)
		if ((int)by[i] == wanted)
			return true;
	return false;
}

int tool_parse_by(const char *list, enum profile_by by[BY_MAX], size_t *count)
{
	char copy[256], *save, *word;

	*count = 0;
	if (!strcmp(list, "all")) {
		while (*count < BY_CALLER) { /* what every trace has */
			by[*count] = (enum profile_by) * count;
			++*count;
		}
		return OPTIONS_GO;
	}
	if (strlen(list) >= sizeof(copy))
		return bad_list(list);
	strcpy(copy, list);
	for (word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		int found = profile_by_find(word);

		if (found < 0 || have(by, *count, found))
			return bad_list(list);
		by[(*count)++] = (enum profile_by)found;
	}
	return *count ? OPTIONS_GO : bad_list(list);
}
